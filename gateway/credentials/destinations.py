"""Decides where the gateway itself may connect to for keys and answers about tokens. Opens nothing.

A URL of an issuer is https, or http on this machine, and spelled in the one way that every parser
reads alike. An address is public, unless the operator listed the networks that an issuer is in; what is
public follows IANA's registries, not the name of a method of a library.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias, final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable

Network: TypeAlias = IPv4Network | IPv6Network
Address: TypeAlias = IPv4Address | IPv6Address

MAX_URL_CHARACTERS: Final = 2048
HOST: Final = re.compile(r"(?=.{1,253}\Z)(?!-)[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*\.?\Z")
# inet_aton reads `127.1`, `0x7f.1` and `2130706433` as addresses: a name never ends in a number
# (URL Standard, "ends in a number checker"; RFC 1123, section 2.1)
NUMERIC: Final = re.compile(r"(?:.*\.)?(?:[0-9]+|0[xX][0-9A-Fa-f]*)\.?\Z")
# nothing before, between or behind host and port, where parsers differ
AUTHORITY: Final = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[1-9][0-9]{0,4})?\Z")
PORTS: Final = {"https": 443, "http": 80}

LOOPBACK: Final[tuple[Network, ...]] = (IPv4Network("127.0.0.0/8"), IPv6Network("::1/128"))
NAT64: Final = IPv6Network("64:ff9b::/96")
HANDED_OUT: Final = IPv6Network("2000::/3")  # all of IPv6 that IANA gives to registries: the rest is nobody's

SPECIAL: Final[tuple[tuple[Network, str], ...]] = (
    # IANA IPv4 Special-Purpose Address Registry
    (IPv4Network("0.0.0.0/8"), "this network, RFC 791"),
    (IPv4Network("10.0.0.0/8"), "private, RFC 1918"),
    (IPv4Network("100.64.0.0/10"), "shared by carriers' NAT, RFC 6598"),
    (IPv4Network("127.0.0.0/8"), "loopback, RFC 1122"),
    (IPv4Network("169.254.0.0/16"), "link local, cloud metadata, RFC 3927"),
    (IPv4Network("172.16.0.0/12"), "private, RFC 1918"),
    (IPv4Network("192.0.0.0/24"), "protocol assignments, RFC 6890"),
    (IPv4Network("192.0.2.0/24"), "documentation, RFC 5737"),
    (IPv4Network("192.31.196.0/24"), "AS112, RFC 7535"),
    (IPv4Network("192.52.193.0/24"), "AMT, RFC 7450"),
    (IPv4Network("192.88.99.0/24"), "6to4 relays, RFC 7526"),
    (IPv4Network("192.168.0.0/16"), "private, RFC 1918"),
    (IPv4Network("192.175.48.0/24"), "AS112, RFC 7534"),
    (IPv4Network("198.18.0.0/15"), "benchmarks, RFC 2544"),
    (IPv4Network("198.51.100.0/24"), "documentation, RFC 5737"),
    (IPv4Network("203.0.113.0/24"), "documentation, RFC 5737"),
    (IPv4Network("224.0.0.0/4"), "multicast, RFC 5771"),
    (IPv4Network("240.0.0.0/4"), "reserved, RFC 1112; limited broadcast, RFC 919"),
    # IANA IPv6 Special-Purpose Address Registry; what lies outside of 2000::/3 is named for readers
    (IPv6Network("::/96"), "unspecified, loopback, IPv4-compatible, RFC 4291"),
    (IPv6Network("::ffff:0:0/96"), "IPv4-mapped, RFC 4291"),
    (IPv6Network("::ffff:0:0:0/96"), "IPv4-translated, RFC 2765"),
    (IPv6Network("64:ff9b::/96"), "NAT64, RFC 6052"),
    (IPv6Network("64:ff9b:1::/48"), "local NAT64, RFC 8215"),
    (IPv6Network("100::/64"), "discard, RFC 6666"),
    (IPv6Network("100:0:0:1::/64"), "dummy prefix, RFC 9780"),
    (IPv6Network("2001::/23"), "protocol assignments (Teredo, ORCHID, ...), RFC 2928"),
    (IPv6Network("2001:db8::/32"), "documentation, RFC 3849"),
    (IPv6Network("2002::/16"), "6to4, RFC 3056"),
    (IPv6Network("2620:4f:8000::/48"), "AS112, RFC 7534"),
    (IPv6Network("3fff::/20"), "documentation, RFC 9637"),
    (IPv6Network("5f00::/16"), "segment routing, RFC 9602"),
    (IPv6Network("fc00::/7"), "unique local, RFC 4193"),
    (IPv6Network("fe80::/10"), "link local, RFC 4291"),
    (IPv6Network("fec0::/10"), "site local, RFC 3879"),
    (IPv6Network("ff00::/8"), "multicast, RFC 4291"),
)

NEVER: Final[tuple[tuple[Network, str], ...]] = (
    # no listed network makes these right: nobody's issuer is there
    (IPv4Network("0.0.0.0/8"), "connects to this machine on Linux, RFC 791"),
    (IPv4Network("169.254.169.254/32"), "metadata of most clouds"),
    (IPv4Network("169.254.170.0/24"), "credentials of containers at AWS"),
    (IPv4Network("100.100.100.200/32"), "metadata of Alibaba Cloud"),
    (IPv4Network("224.0.0.0/4"), "multicast, RFC 5771"),
    (IPv4Network("255.255.255.255/32"), "limited broadcast, RFC 919"),
    (IPv6Network("::/128"), "unspecified: connects to this machine, RFC 4291"),
    (IPv6Network("::ffff:0:0/96"), "IPv4-mapped: another spelling, which no network would match, RFC 4291"),
    (IPv6Network("fd00:ec2::254/128"), "metadata of AWS"),
    (IPv6Network("ff00::/8"), "multicast, RFC 4291"),
)


class DestinationError(ValueError):
    """A URL that nothing is fetched from; the text repeats nothing of it."""


@final
class Destination(NamedTuple):
    """Where a URL leads.

    Args:
        url: As written.
        scheme: "https" or "http".
        host: Lower case, without brackets.
        port: Explicit or the scheme's.
        address: The host, if it is an address.
    """

    url: str
    scheme: str
    host: str
    port: int
    address: Address | None

    @property
    def origin(self) -> tuple[str, str, int]:
        """Scheme, host and port (RFC 6454)."""
        return self.scheme, self.host, self.port


def parse_url(url: str) -> Destination:
    """Take a URL apart that something is to be fetched from.

    Args:
        url: From the configuration, or from a document of an issuer.

    Raises:
        DestinationError: Not https (http: not on a loopback address); credentials or a fragment in it; no
            host, or one that is an odd spelling of an address; characters that no URL has.
    """
    if len(url) > MAX_URL_CHARACTERS:
        raise DestinationError(f"the URL is longer than {MAX_URL_CHARACTERS} characters")
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        raise DestinationError("the URL has characters that no URL has")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError as malformed:
        raise DestinationError("the URL cannot be read") from malformed
    if "@" in parts.netloc or "#" in url:
        raise DestinationError("the URL carries credentials or a fragment")
    address = address_of(host)
    if not AUTHORITY.match(parts.netloc) or (address is None and not HOST.match(host)):
        raise DestinationError("the URL names no host")
    if address is None and NUMERIC.match(host):
        raise DestinationError("the URL's host is an odd spelling of an address")
    is_local = host == "localhost" or (address is not None and any(address in each for each in LOOPBACK))
    if parts.scheme != "https" and not (parts.scheme == "http" and is_local):
        raise DestinationError("the URL must be https, or http on a loopback address")
    return Destination(url, parts.scheme, host, port or PORTS[parts.scheme], address)


def address_of(host: str) -> Address | None:
    """Return the address that a host is, or None if it is a name. Asks no resolver."""
    try:
        return ip_address(host)
    except ValueError:
        return None


def is_public(address: Address) -> bool:
    """Tell whether an address is one that the Internet routes to somebody."""
    if isinstance(address, IPv6Address) and address not in HANDED_OUT:
        return False
    return not any(address in network for network, _ in SPECIAL)


@final
class Reach:
    """The addresses that one client may connect to.

    Args:
        networks: The only networks, listed by the operator; none: public addresses.
    """

    __slots__ = ("_networks",)

    def __init__(self, networks: Iterable[Network] = ()) -> None:
        self._networks = tuple(networks)

    def permits(self, host: str, address: str | int) -> bool:
        """Tell whether a host may be connected to at an address.

        `localhost` and loopback addresses, written out, lead to this machine and nowhere else, so that
        plain http never leaves it.

        Args:
            host: From the URL.
            address: What the host resolved to, or what is connected.
        """
        try:
            found = ip_address(address)
        except ValueError:
            return False
        host = host.lower()
        literal = address_of(host)
        if host == "localhost" or (literal is not None and any(literal in each for each in LOOPBACK)):
            return any(found in each for each in LOOPBACK)
        if any(found in network for network, _ in NEVER):
            return False
        if not self._networks:
            return is_public(found)
        if not any(found in network for network in self._networks):
            return False
        if isinstance(found, IPv6Address) and found in NAT64:
            # a listed NAT64 prefix leads to the Internet, not around to what stands behind it, where it
            # must not lead anyway (RFC 6052, section 3.1)
            return is_public(IPv4Address(int(found) & 0xFFFF_FFFF))
        return True

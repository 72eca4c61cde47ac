"""`destinations`: which URLs and which addresses the gateway may fetch from."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from gateway.credentials.destinations import DestinationError, Reach, is_public, parse_url

PUBLIC = ("8.8.8.8", "1.1.1.1", "100.128.0.1", "172.32.0.1", "198.20.0.1", "2600::1", "2a00:1450::1")
SPECIAL = (
    "0.0.0.1",
    "10.1.2.3",
    "100.64.0.1",
    "100.127.255.255",
    "127.0.0.1",
    "169.254.169.254",
    "172.16.0.1",
    "192.0.0.8",
    "192.0.2.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.19.255.255",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:8.8.8.8",
    "::ffff:127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::808:808",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:db8::1",
    "2002:7f00:1::1",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fec0::1",
    "ff02::1",
    "4000::1",
)


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_reached(address: str) -> None:
    """What the Internet routes needs no configuration."""
    assert Reach().permits("idp.example", address)


@pytest.mark.parametrize("address", SPECIAL)
def test_special_addresses_are_not(address: str) -> None:
    """A public name leads to no address that IANA set apart, whatever its spelling or transition."""
    assert not Reach().permits("idp.example", address)


@given(st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)))
def test_public_is_no_wider_than_the_library(address: IPv4Address | IPv6Address) -> None:
    """Nothing that Python's `ipaddress` holds for private is public here."""
    assert address.is_global or not is_public(address)


def test_listed_networks_are_the_only_ones() -> None:
    """A list replaces the rule: an internal issuer is not at a public address."""
    reach = Reach([ip_network("10.0.0.0/8"), ip_network("fd00::/8")])

    assert reach.permits("idp.internal", "10.1.2.3")
    assert reach.permits("idp.internal", "fd12::1")
    assert not reach.permits("idp.internal", "8.8.8.8")
    assert not reach.permits("idp.internal", "192.168.0.1")
    assert not reach.permits("idp.internal", "::ffff:10.1.2.3")


@pytest.mark.parametrize(
    "address",
    ["0.0.0.1", "169.254.169.254", "169.254.170.2", "100.100.100.200", "224.0.0.1", "255.255.255.255"],
)
def test_no_list_reaches_metadata_services(address: str) -> None:
    """However wide the list: credentials of the machine, multicast and `0.0.0.0` stay out of reach."""
    assert not Reach([ip_network("0.0.0.0/0")]).permits("idp.internal", address)
    assert not Reach([ip_network("::/0")]).permits("idp.internal", f"::ffff:{address}")


def test_nat64_leads_to_the_internet_only() -> None:
    """A listed NAT64 prefix does not smuggle in the private addresses that it can spell."""
    reach = Reach([ip_network("64:ff9b::/96")])

    assert reach.permits("idp.example", "64:ff9b::808:808")
    assert not reach.permits("idp.example", "64:ff9b::a00:1")
    assert not reach.permits("idp.example", "64:ff9b::a9fe:a9fe")


@pytest.mark.parametrize("host", ["localhost", "LocalHost", "127.0.0.1", "127.0.0.53", "::1"])
def test_this_machine_is_reached_by_its_own_names(host: str) -> None:
    """Loopback, written out, leads to loopback and nowhere else, whatever is listed."""
    for reach in (Reach(), Reach([ip_network("10.0.0.0/8")])):
        assert reach.permits(host, "127.0.0.1")
        assert reach.permits(host, "::1")
        assert not reach.permits(host, "10.0.0.1")
        assert not reach.permits(host, "8.8.8.8")


def test_no_address_is_no_permission() -> None:
    """What cannot be read as an address is refused."""
    assert not Reach().permits("idp.example", "/run/socket")


@pytest.mark.parametrize(
    "url",
    [
        "https://idp.example/jwks",
        "https://idp.example:8443/jwks?p=policy",
        "https://10.0.0.1/jwks",
        "http://127.0.0.1:1/j",
        "http://[::1]/j",
        "http://localhost/j",
    ],
)
def test_good_urls(url: str) -> None:
    """Https anywhere, http on this machine."""
    found = parse_url(url)

    assert url == found.url
    assert found.address in {None, *map(ip_address, ("10.0.0.1", "127.0.0.1", "::1"))}


def test_an_origin_has_its_port() -> None:
    """Default ports are written out, names are in lower case."""
    assert ("https", "idp.example", 443) == parse_url("https://IDP.example/x").origin
    assert ("http", "::1", 80) == parse_url("http://[::1]/x").origin
    assert ("https", "idp.example", 8443) == parse_url("https://idp.example:8443").origin


WORDS = (
    "https://",
    "http://",
    "localhost",
    "idp.example",
    "127.0.0.1",
    "[::1]",
    "10.0.0.1",
    "evil",
    "1",
    "0x7f",
)
PIECES = st.sampled_from((*WORDS, *":/@?#[].%\\;,&=-_ \t\n\x00\u3002\u2460"))


@given(st.lists(PIECES, max_size=8).map("".join))
def test_the_client_reads_a_url_as_the_check_does(url: str) -> None:
    """What passes the check leads to the same scheme, host and port when aiohttp's parser reads it."""
    for text in (url, f"https://{url}", f"http://localhost{url}"):
        try:
            found = parse_url(text)
        except DestinationError:
            continue
        read = URL(text, encoded=True)

        assert found.origin == (read.scheme, (read.raw_host or "").lower(), read.port)


@pytest.mark.parametrize(
    "url",
    [
        "http://idp.example/jwks",
        "http://10.0.0.1/j",
        "http://localhost.example/",
        "file:///etc/passwd",
        "ftp://127.0.0.1/",
        "https://u:p@idp.example/",
        "https://u@idp.example/",
        "https://@idp.example/",
        "https:///x",
        "jwks",
        "https://idp.example/#f",
        "https://idp.example/#",
        "https://idp.example:0/",
        "https://idp.example:99999/",
        "https://idp.example:x/",
        "https://idp.example:/",
        "https://idp.example:0443/",
        "https://[::1]evil.example/",
        "https://evil.example[::1]/",
        "https://[idp.example]/",
        "https://[127.0.0.1]/",
        "https://idp example/",
        "https://idp.example/\r\nx",
        "https://idp.example\\@evil.example/",
        "https://[::1/",
        "https://[fe80::1%25eth0]/",
        "https://-x.example/",
        "https://" + "a" * 2048,
        # spellings of addresses that a resolver takes for an address, and a reader for a name
        "https://2130706433/",
        "https://0x7f000001/",
        "https://0x7f.1/",
        "https://127.1/",
        "https://0177.0.0.1/",
        "https://127.0.0.1./",
        "https://1.2.3.4.5/",
        "https://idp.example.0x/",
        "https://127。0。0。1/",
        "https://idp。example/",
        "https://①②⑦.0.0.1/",
        "https://idp.example/a b",
        "https://idp.example/a\\b",
        "https://idp.example/\u00e9",
        "https://idp.example/" + "a" * 2029,
    ],
)
def test_bad_urls(url: str) -> None:
    """No plain http over a network, no files, no credentials, no spelling that two parsers read apart."""
    with pytest.raises(DestinationError, match="URL"):
        parse_url(url)

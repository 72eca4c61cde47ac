"""Servers that the gateway asks: they can be reached, and what is said about reaching them has an effect.

Resolves no name: what a name leads to is checked when it is connected to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.config.addresses import address_of
from gateway.config.checks.findings import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path as FilePath

    from gateway.config.addresses import IpNetwork, Url
    from gateway.config.source import Path


def check_networks(
    listed: Path, networks: Sequence[IpNetwork], urls: Mapping[Path, Url | None]
) -> Iterator[Finding]:
    """Check that written addresses lie in the listed networks or, without any, are public.

    Args:
        listed: The setting with the networks.
        networks: What it says.
        urls: All that is asked under it, by place; None: not given, or discovered.
    """
    if networks and all(url is None or url.is_local for url in urls.values()):
        message = "`networks` has no effect: nothing is fetched from another machine"
        yield Finding(listed, message, "remove it", tuple(urls), is_key=True)
    for place, url in urls.items():
        address = None if url is None or url.is_local else address_of(url.host)
        if address is None:
            continue
        if networks and not any(address in network for network in networks):
            message = f"{address} is in none of `networks`"
            yield Finding(place, message, f"add `{address}` to them", (listed,))
        elif not networks and not address.is_global:
            message = f"{address} is no public address, and no `networks` are listed"
            mend = f"add `networks: [{address}/{address.max_prefixlen}]`, or the network that it is in"
            yield Finding(place, message, mend, (listed,))


def check_authorities(
    path: Path, file: FilePath | None, urls: Mapping[Path, Url | None]
) -> Iterator[Finding]:
    """Check that authorities of servers have a certificate to verify.

    Args:
        path: The setting with the authorities.
        file: What it says.
        urls: All that is asked under them, by place.
    """
    if file is not None and not any(url is not None and url.scheme == "https" for url in urls.values()):
        message = f"`{path[-1]}` has no effect: nothing is fetched by `https://`"
        yield Finding(path, message, "remove it", tuple(urls), is_key=True)

"""Holds sources back that ask for too much before anybody knows who they are. Asks no store.

A source is an address or, beside it, the certificate of a connection. What it does is counted by the generic
cell rate algorithm (ITU-T I.371, annex A): one number per source. The table is bounded; sources for which it
has no room share one account, so that a flood from many addresses is not remembered less well than from one.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, Final, final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.core.identity import Peer

CAPACITY: Final = 65_536  # sources that are remembered, 150 bytes each
SITE: Final = 64  # bits of an IPv6 address that one site has at its disposal (RFC 4291, section 2.5.4)
OTHERS: Final = ""  # stands for all sources for which there is no room


@final
class Flood:
    """So many in a time from one source.

    Args:
        count: How many, all of which may come at once.
        seconds: In which time.
        capacity: Most sources that are remembered.
    """

    __slots__ = ("_arrivals", "_capacity", "_interval", "_seconds")

    def __init__(self, count: int, seconds: float, capacity: int = CAPACITY) -> None:
        self._interval = seconds / count
        self._seconds = seconds
        self._capacity = capacity
        self._arrivals: dict[str, float] = {}  # theoretical arrival time; none that lies in the past matters

    def __len__(self) -> int:
        """Return how many sources are remembered."""
        return len(self._arrivals)

    def wait(self, source: str, now: float) -> float:
        """Return for how many seconds one more would be too much; 0.0: it would not be."""
        arrivals = self._arrivals
        arrival = arrivals.get(source)
        if arrival is None:
            arrival = arrivals.get(OTHERS, 0.0) if len(arrivals) >= self._capacity else 0.0
        return max(arrival + self._interval - self._seconds - now, 0.0)

    def count(self, source: str, now: float) -> None:
        """Count one more."""
        arrivals = self._arrivals
        if source not in arrivals and len(arrivals) >= self._capacity:
            self._sweep(now)
            if len(arrivals) >= self._capacity:
                source = OTHERS
        # what comes all the same while it is too much does not make the wait longer
        arrivals[source] = min(max(arrivals.get(source, 0.0), now) + self._interval, now + self._seconds)

    def _sweep(self, now: float) -> None:
        for source in [each for each, arrival in self._arrivals.items() if arrival <= now]:
            del self._arrivals[source]


@final
class Floodgate:
    """Decides on connections and requests by where they come from.

    Args:
        addresses: Connections and requests of one address; None: not bounded.
        certificates: Requests under one certificate; None: not bounded.
        failures: Of one certificate, or of one address without: requests that prove nothing, and bytes
            that are no request; None: not bounded.
    """

    __slots__ = ("_addresses", "_certificates", "_failures", "refused")

    def __init__(
        self, addresses: Flood | None = None, certificates: Flood | None = None, failures: Flood | None = None
    ) -> None:
        self._addresses = addresses
        self._certificates = certificates
        self._failures = failures
        self.refused = 0

    def admit(self, peer: Peer, now: float, *, is_request: bool) -> float:
        """Count a connection or a request, unless it is too much.

        Returns:
            Seconds after which trying again can help; 0.0: it may go on.
        """
        certificate = peer.certificate
        wanted: list[tuple[Flood, str]] = []
        if self._addresses is not None:
            wanted.append((self._addresses, source_of(peer.address)))
        if certificate is not None and is_request and self._certificates is not None:
            wanted.append((self._certificates, certificate.fingerprint))
        longest = _longest(wanted, now)
        if self._failures is not None:
            longest = max(longest, self._failures.wait(_culprit(peer), now))
        if longest:
            self.refused += 1
            return longest
        for flood, source in wanted:
            flood.count(source, now)
        return 0.0

    def fail(self, peer: Peer, now: float) -> None:
        """Count a request that proved nothing."""
        if self._failures is not None:
            self._failures.count(_culprit(peer), now)


def _longest(wanted: Iterable[tuple[Flood, str]], now: float) -> float:
    return max([flood.wait(source, now) for flood, source in wanted], default=0.0)


def _culprit(peer: Peer) -> str:
    return source_of(peer.address) if peer.certificate is None else peer.certificate.fingerprint


def source_of(address: str) -> str:
    """Return what stands for an address: itself, or the /64 that an IPv6 address is in."""
    if ":" not in address:
        return address
    ip = ip_address(address.partition("%")[0])
    mapped = getattr(ip, "ipv4_mapped", None)
    if mapped is not None:
        return str(mapped)
    return str(int(ip) >> (128 - SITE))

"""Remembers which chains were believed, and looks again when the trust has changed. Bounded.

The signatures of a chain are verified once; who may vouch, revocation and dates are looked at each time.
That is quick enough to check every open connection in the very turn of the event loop in which the
trust is swapped.
Refusals are not kept: what is refused now may be good with the next list.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final, final

from gateway.core.refusal import Refusal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.core.identity import PeerCertificate
    from gateway.core.ports import Clock
    from gateway.credentials.trust import Judged, Trust

MAX_REMEMBERED: Final = 10_000


@final
class Chains:
    """Judges the chains that clients send.

    Args:
        trust: Whom to believe.
        clock: Time.
        capacity: How many results are kept; beyond, all are forgotten and verified again.
    """

    __slots__ = ("_capacity", "_clock", "_judged", "trust")

    def __init__(self, trust: Trust, clock: Clock, capacity: int = MAX_REMEMBERED) -> None:
        self.trust = trust
        """Replaced whole; whoever does so looks at the open connections in the same turn."""
        self._clock = clock
        self._capacity = capacity
        self._judged: dict[bytes, Judged] = {}

    def verify(self, chain: Sequence[bytes]) -> PeerCertificate | Refusal:
        """Judge a chain, now.

        Args:
            chain: DER certificates as the client sent them, its own first.

        Returns:
            What its certificate proves, or why it proves nothing.
        """
        now = self._clock.wall()
        digest = hashlib.sha256()
        for der in chain:
            digest.update(len(der).to_bytes(4, "big") + der)
        key = digest.digest()
        known = self._judged.get(key)
        if known is not None:
            if self.trust.still(known, now) is None:
                return known.certificate
            del self._judged[key]
        found = self.trust.judge(chain, now)
        if isinstance(found, Refusal):
            return found
        if len(self._judged) >= self._capacity:
            self._judged.clear()
        self._judged[key] = found
        return found.certificate

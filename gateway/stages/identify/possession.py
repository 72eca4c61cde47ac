"""Decides whether a request proves possession of its token's key, each proof once (RFC 9449).

The token has been verified by then, and says which key. Every request brings a new proof, so nothing
that is decided here is ever remembered: only the reading of keys is. A store that cannot say whether a
proof was used before refuses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from gateway.core.ports import StoreUnavailable
from gateway.core.refusal import Reason, Refusal, Refused, Source
from gateway.stages.identify.bearer import named
from gateway.stages.identify.proof import ProofRules, check_proof
from gateway.stages.identify.proof_key import ProofKeys

if TYPE_CHECKING:
    from gateway.core.call import Call
    from gateway.core.identity import Identity
    from gateway.core.ports import Once
    from gateway.stages.identify.proof_key import KeyParser

__all__ = ["Possession", "ProofRules"]

CLOCK_SPREAD: Final = 5.0  # seconds by which the clocks of a fleet may be apart

MISSING: Final = Refusal(Reason.PROOF_MISSING, "The request has no DPoP field with a proof of possession.")
REPLAYED: Final = Refusal(Reason.PROOF_REPLAYED)
UNAVAILABLE: Final = Refusal(
    Reason.STORE_UNAVAILABLE,
    "Whether the proof was used before cannot be told at the moment.",
    source=Source.GATEWAY,
    retry_after=1.0,
)


@final
class NotConnected:
    """Stands where the store will be, once it is open. Nobody knows anything until then."""

    async def claim(self, name: bytes, seconds: float, /) -> bool:
        """Refuse to say."""
        del name, seconds
        raise StoreUnavailable


@final
class Possession:
    """Checks proofs of possession; part of the frozen runtime. Only what it remembers changes.

    Args:
        rules: What a proof must be.
        parse_key: Reads public keys, strong ones alone.
        once: Tells whether a proof was used before; the whole fleet's. Until it is given, all are refused.
        capacity: How many keys are remembered at least.
    """

    __slots__ = ("keys", "once", "rules")

    def __init__(
        self, rules: ProofRules, parse_key: KeyParser, *, once: Once | None = None, capacity: int = 20_000
    ) -> None:
        self.rules = rules
        self.keys = ProofKeys(rules.algorithms, parse_key, capacity)
        self.once: Once = NotConnected() if once is None else once  # an empty one may be false

    async def check(self, call: Call, token_digest: bytes, thumbprint: str, now: float) -> None:
        """Verify and use up the proof of one request.

        Args:
            call: The request.
            token_digest: SHA-256 of its access token.
            thumbprint: Of the key that this token, verified, is bound to.
            now: Seconds since the epoch.

        Raises:
            Refused: One of the `PROOF_*` reasons, or `STORE_UNAVAILABLE`.
        """
        rules = self.rules
        value = call.headers.get(b"dpop")
        proof = (
            MISSING
            if value is None
            else check_proof(value, call, token_digest, thumbprint, rules, self.keys, now)
        )
        if isinstance(proof, Refusal):
            raise Refused(named(proof, token_digest))
        seconds = proof.issued + rules.max_age + CLOCK_SPREAD - now  # until every gateway finds it stale
        try:
            is_first = await self.once.claim(proof.name, seconds)
        except StoreUnavailable:
            raise Refused(UNAVAILABLE) from None
        if not is_first:
            raise Refused(named(REPLAYED, token_digest))

    def nonce(self, identity: Identity, now: float) -> str | None:
        """Return the nonce for the identity's next proof, or None where none is demanded of it."""
        nonces = self.rules.nonces
        thumbprint = identity.proof_key
        return None if nonces is None or thumbprint is None else nonces.make(thumbprint, now)

"""Revocations and identities for the tests of what keeps them."""

from __future__ import annotations

from gateway.core.identity import Identity
from gateway.core.revocation import Revocation, Target

NOW = 1_800_000_000.0
ADA = Identity(
    key="https://idp.example.org|ada",
    issuer="https://idp.example.org",
    subject="ada",
    methods=("jwt", "mtls"),
    roles=frozenset(),
    expires=NOW + 300,
    client_id="notebook",
    spiffe_id="spiffe://example.org/user/ada",
    certificate="fingerprint",
    token="0123456789abcdef",
    token_id="jti-1",
    issued=NOW - 10,
    proof_key="thumbprint",
    session="sid-1",
    signing_key="kid-1",
    key_id="key-1",
    claims={"email": "Ada@Example.org", "level": 3},
)
BOB = Identity("https://idp.example.org|bob", "https://idp.example.org", "bob", ("jwt",), frozenset(), NOW)


class ManualClock:
    """Both clocks, moved by tests alone."""

    def __init__(self) -> None:
        self.now = NOW
        self.ticks = 100.0

    def wall(self) -> float:
        return self.now

    def tick(self) -> float:
        return self.ticks


def revoke(
    id: str = "r-1", value: str = ADA.key, target: Target = Target.SUBJECT, **more: float
) -> Revocation:
    """Make a revocation."""
    return Revocation(id, target, value, NOW, reason="test", source="test", **more)  # type: ignore[arg-type]  # dates alone

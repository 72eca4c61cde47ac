"""A transmitter with a real key, and a sink that keeps what it is given."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from gateway.core.ports import StoreUnavailable
from gateway.shared_signals.receiver import Receiver, Transmitter
from gateway.shared_signals.subjects import Voice
from tests.unit.stages.identify.parts import ISSUER, NOW, FixedClock, HeldKeys, signer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gateway.core.revocation import Revocation

AUDIENCE = "https://gateway.example.org/signals"
TRANSMITTER = "https://ssf.example.org"
OTHER = "https://second.example.org"
CAEP = "https://schemas.openid.net/secevent/caep/event-type/"
RISC = "https://schemas.openid.net/secevent/risc/event-type/"
SSF = "https://schemas.openid.net/secevent/ssf/event-type/"
ALICE = {"format": "iss_sub", "iss": ISSUER, "sub": "alice"}
MEMORY = 3660.0


@final
class Sink:
    """Keeps revocations by id, as the real one does; fails when told to."""

    def __init__(self) -> None:
        self.held: dict[str, Revocation] = {}
        self.lifted: list[tuple[tuple[str, ...], float]] = []
        self.is_away = False

    async def add(self, revocations: Sequence[Revocation], /) -> None:
        if self.is_away:
            raise StoreUnavailable
        for one in revocations:
            self.held.setdefault(one.id, one)

    async def lift(self, ids: Sequence[str], before: float, /) -> None:
        self.lifted.append((tuple(ids), before))
        for id_ in ids:
            if id_ in self.held and self.held[id_].at <= before:
                del self.held[id_]


@final
class World:
    """One receiver, its sink, its clock and what it reported."""

    def __init__(self) -> None:
        self.sink = Sink()
        self.clock = FixedClock()
        self.keys = HeldKeys(signer())
        self.said: list[tuple[str, Mapping[str, object]]] = []
        self.transmitter = Transmitter(
            issuer=TRANSMITTER,
            audience=AUDIENCE,
            keys=self.keys,
            algorithms=frozenset({"ES256"}),
            voice=Voice((ISSUER, OTHER)),
            memory=MEMORY,
        )
        self.receiver = Receiver(
            self.transmitter, self.sink, self.clock, lambda event, facts: self.said.append((event, facts))
        )


def claims(
    kind: str = CAEP + "session-revoked", event: object = None, **changed: object
) -> dict[str, object]:
    """A good token's claims, with changes; a change to None leaves the claim out."""
    found = {
        "iss": TRANSMITTER,
        "aud": AUDIENCE,
        "iat": int(NOW),
        "jti": "event-1",
        "sub_id": ALICE,
        "events": {kind: {} if event is None else event},
    } | changed
    return {name: value for name, value in found.items() if value is not None}


def signed(payload: Mapping[str, object] | bytes, **header: object) -> bytes:
    """Sign a token with the transmitter's key."""
    one = signer()
    return one.sign(payload, {"typ": "secevent+jwt", "alg": "ES256", "kid": one.kid} | header)

"""Takes security event tokens of one transmitter: verified to the letter, then applied. START READING HERE.

A token that fails any check changes nothing, and the transmitter is told which kind of check (RFC 8935,
section 2.4). One that passes is durable before it is acknowledged. The same event taken twice does the
same once: revocations are named by the event that made them, and a lift never ends a younger lock.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Final, NamedTuple, final

from gateway.core.refusal import Refusal, Refused
from gateway.core.revocation import Revocation, Target
from gateway.shared_signals.events import Effect, effect_of, short_name
from gateway.shared_signals.subjects import Voice, read_subject
from gateway.stages.identify.bearer import find_key
from gateway.stages.identify.claims import MAX_DATE
from gateway.stages.identify.compact import split
from gateway.stages.identify.document import parse
from gateway.stages.identify.issuer import media_type
from gateway.stages.identify.jwt import MEANING_CHANGERS
from gateway.stages.identify.signature import check_signature

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gateway.core.ports import Clock, KeySet
    from gateway.core.revoking import RevocationSink

TYPE: Final = "secevent+jwt"
MAX_EVENTS: Final = 8  # CAEP interoperability profile: one per token; drafts had a few
MAX_JTI_CHARACTERS: Final = 512
SKEW: Final = 60.0  # seconds


@final
class Rejected(Exception):
    """A token that is not taken.

    Args:
        code: Error code of RFC 8935, section 2.4.
        why: For the log: which check; never the token's content.
    """

    def __init__(self, code: str, why: str) -> None:
        super().__init__(code)
        self.code = code
        self.why = why


@final
@dataclass(frozen=True, slots=True)
class Transmitter:
    """Who may send events, and how far they are believed.

    Args:
        issuer: `iss`, compared octet by octet.
        audience: `aud` that means this gateway.
        keys: Its public keys.
        algorithms: Accepted `alg` values; asymmetric only.
        voice: For whose subjects it speaks.
        memory: Seconds for which what an event voids could still be presented: the longest lifetime of
            a token of those issuers.
    """

    issuer: str
    audience: str
    keys: KeySet
    algorithms: frozenset[str]
    voice: Voice
    memory: float


class _Event(NamedTuple):
    kind: str
    members: Mapping[str, object]


@final
class Receiver:
    """Takes the tokens of one transmitter.

    Args:
        transmitter: Who it is.
        sink: Where revocations go.
        clock: Time.
        report: Told of each event: a name and facts for the log.
    """

    __slots__ = ("_clock", "_report", "_sink", "heard_at", "taken", "transmitter")

    def __init__(
        self,
        transmitter: Transmitter,
        sink: RevocationSink,
        clock: Clock,
        report: Callable[[str, Mapping[str, object]], None],
    ) -> None:
        self.transmitter = transmitter
        self._sink = sink
        self._clock = clock
        self._report = report
        self.heard_at = clock.tick()
        self.taken = 0

    async def take(self, token: bytes) -> str:
        """Verify one token and apply its events.

        Args:
            token: A security event token; attacker-controlled.

        Returns:
            Its `jti`.

        Raises:
            Rejected: It is not taken; nothing was changed.
            StoreUnavailable: Its revocations could not be made durable: to be sent again.
        """
        claims = await self._verified(token)
        name = _jti(claims)
        events = _events(claims)
        happened = self._time(claims)
        for event in events:
            await self._apply(event, claims, name, happened)
        self.heard_at = self._clock.tick()
        self.taken += 1
        return name

    async def _verified(self, token: bytes) -> dict[str, object]:
        """Return the claims of a genuine token of this transmitter (RFC 8417; RFC 8725, section 3.11)."""
        transmitter = self.transmitter
        parts = split(token)
        if isinstance(parts, Refusal):
            raise Rejected("invalid_request", "compact form")
        header, claims = parse(parts.header), parse(parts.payload)
        if isinstance(header, Refusal) or isinstance(claims, Refusal):
            raise Rejected("invalid_request", "JSON")
        kind, algorithm, kid = header.get("typ"), header.get("alg"), header.get("kid")
        if not isinstance(kind, str) or media_type(kind) != TYPE or not MEANING_CHANGERS.isdisjoint(header):
            raise Rejected("invalid_request", "type")
        if claims.get("iss") != transmitter.issuer:
            raise Rejected("invalid_issuer", "issuer")
        if not isinstance(algorithm, str) or algorithm not in transmitter.algorithms:
            raise Rejected("invalid_key", "algorithm")
        if kid is not None and not isinstance(kid, str):
            raise Rejected("invalid_key", "key id")
        try:
            key = await find_key(transmitter.keys, kid, algorithm)
        except Refused:
            raise Rejected("invalid_key", "unknown key") from None
        if check_signature(algorithm, key, parts.signed, parts.signature) is not None:
            raise Rejected("invalid_key", "signature")
        self._check_claims(claims)
        return claims

    def _check_claims(self, claims: Mapping[str, object]) -> None:
        audience = claims.get("aud")
        listed = audience if isinstance(audience, list) else [audience]
        if self.transmitter.audience not in listed:
            raise Rejected("invalid_audience", "audience")
        # SSF 1.0, section 4.1: a token with these could be taken for one that lets somebody in
        if "exp" in claims or "sub" in claims:
            raise Rejected("invalid_request", "claims of an access token")
        issued = claims.get("iat")
        if type(issued) is not int or not 0 <= issued <= self._clock.wall() + SKEW:
            raise Rejected("invalid_request", "iat")

    def _time(self, claims: Mapping[str, object]) -> float:
        """Return when it happened: `toe`, or else `iat`; never later than now."""
        told = claims.get("toe", claims.get("iat"))
        return _date(told, self._clock.wall())

    async def _apply(self, event: _Event, claims: Mapping[str, object], name: str, happened: float) -> None:
        effect = effect_of(event.kind, event.members)
        happened = _date(event.members.get("event_timestamp"), happened)
        word = short_name(event.kind)
        issuer = self.transmitter.issuer
        if effect in {Effect.NONE, Effect.VERIFICATION, Effect.STREAM}:
            self._report("signal-" + effect.value, {"transmitter": issuer, "kind": word})
            return
        subject = claims.get("sub_id", event.members.get("subject"))
        targets = read_subject(subject, self.transmitter.voice)
        if not targets:
            self._report("signal-unmatched", {"transmitter": issuer, "kind": word})
            return
        if effect is Effect.LIFT:
            await self._sink.lift([self._lock_id(*target) for target in targets], happened)
        else:
            is_lock = effect is Effect.LOCK
            await self._sink.add(
                [
                    Revocation(
                        id=self._lock_id(*target) if is_lock else _id(issuer, name, event.kind, *target),
                        target=target[0],
                        value=target[1],
                        at=happened,
                        issued_before=None if is_lock else happened,
                        expires=None if is_lock else happened + self.transmitter.memory,
                        reason=word,
                        source=issuer,
                    )
                    for target in targets
                ]
            )
        self._report("signal-applied", {"transmitter": issuer, "kind": word, "effect": effect.value})

    def _lock_id(self, target: Target, value: str) -> str:
        """Name a lock by whom it locks, so that the same transmitter can lift it."""
        return _id(self.transmitter.issuer, "lock", "", target, value)


def _id(issuer: str, name: str, kind: str, target: Target, value: str) -> str:
    text = f"{issuer}\0{name}\0{kind}\0{target.value}\0{value}"
    return sha256(text.encode()).hexdigest()[:32]


def _jti(claims: Mapping[str, object]) -> str:
    name = claims.get("jti")
    if not isinstance(name, str) or not 0 < len(name) <= MAX_JTI_CHARACTERS or not name.isprintable():
        raise Rejected("invalid_request", "jti")
    return name


def _events(claims: Mapping[str, object]) -> list[_Event]:
    events = claims.get("events")
    if not isinstance(events, dict) or not 0 < len(events) <= MAX_EVENTS:
        raise Rejected("invalid_request", "events")
    if not all(isinstance(members, dict) for members in events.values()):
        raise Rejected("invalid_request", "events")
    return [_Event(kind, members) for kind, members in events.items()]


def _date(value: object, latest: float) -> float:
    """Return a date of the event; `latest` where there is none, or one that has not come yet."""
    if type(value) is int and 0 <= value <= MAX_DATE:
        return min(float(value), latest)
    return latest

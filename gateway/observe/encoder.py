"""Turns a finished exchange into its record's bytes: the last thing that every request pays for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

import msgspec

from gateway.observe.record import HARMLESS, NOBODY, Micros, Record, Who
from gateway.observe.redact import MAX_TEXT, clip, mend, neutralise
from gateway.observe.served import ServedEncoder

if TYPE_CHECKING:
    from gateway.core.exchange import Exchange
    from gateway.core.identity import Identity
    from gateway.core.refusal import Refusal

MILLION: Final = 1_000_000
MAX_IDENTITIES: Final = 4096  # encoded identities kept, about 0.5 KB each


@final
class RecordEncoder:
    """Encodes exchanges. One per process; not thread-safe."""

    __slots__ = ("_encode", "_people", "_served")

    def __init__(self) -> None:
        self._encode = msgspec.json.Encoder(order="deterministic").encode
        self._people: dict[int, tuple[Identity, msgspec.Raw, bytes]] = {}
        self._served = ServedEncoder()

    def __call__(self, ex: Exchange) -> bytes:
        """Return the record as JSON without line ends, safe to print.

        Args:
            ex: A finished exchange; client-controlled in parts.
        """
        identity = ex.identity
        if identity is not None:
            served = self._served.encode(ex, self._person(identity)[2])
            if served is not None:
                return served
        record = self._record(ex)
        try:
            return neutralise(self._encode(record))
        except UnicodeEncodeError:  # a lone surrogate in client-controlled text
            _mend(record)
            return neutralise(self._encode(record))

    def time(self, started: float) -> str:
        """Write a wall clock time as RFC 3339 with milliseconds."""
        return self._served.time(started).decode()

    def _record(self, ex: Exchange) -> Record:
        call, route, permit, prompt, risk, identity = (
            ex.call,
            ex.route,
            ex.permit,
            ex.prompt,
            ex.risk,
            ex.identity,
        )
        usage, certificate = ex.usage, ex.peer.certificate
        is_risky = risk is not None and risk.score > 0
        record = Record(
            self.time(ex.started),
            ex.id,
            ex.outcome._value_,  # Enum.value is a Python call
            ex.status,
            None,
            None,
            None if call is None else call.method,
            None if call is None else clip(call.path),
            None if route is None else route.name,
            None if permit is None else permit.rule,
            None if prompt is None or prompt.model is None else clip(prompt.model),
            prompt is not None and prompt.stream,
            NOBODY if identity is None else self._person(identity)[1],
            ex.peer.address,
            None if certificate is None else certificate.fingerprint,
            ex.peer.tls,
            round(risk.score, 4) if is_risky and risk is not None else HARMLESS,
            risk.signals if is_risky and risk is not None else (),
            None,
            (),
            ex.ledger is not None and ex.ledger.is_local,
            ex.endpoint,
            ex.assertion,
            ex.bytes_in,
            ex.bytes_out,
            usage.input_tokens,
            usage.output_tokens,
            usage.events,
            _micros(ex),
            ex.runtime_version,
        )
        if ex.refusal is not None:
            _explain(record, ex.refusal, ex.fault)
        return record

    def _person(self, identity: Identity) -> tuple[Identity, msgspec.Raw, bytes]:
        """Encode an identity, once as long as the same object comes again (verifications are cached).

        Returns:
            It, its encoding, and the same made safe to print.
        """
        people = self._people
        known = people.get(id(identity))
        if known is not None and known[0] is identity:
            return known
        if len(people) >= MAX_IDENTITIES:
            people.clear()
        who = _who(identity)
        try:
            encoded = self._encode(who)
        except UnicodeEncodeError:  # a lone surrogate in a claim
            encoded = self._encode(mend(msgspec.to_builtins(who)))
        known = (identity, msgspec.Raw(encoded), neutralise(encoded))
        people[id(identity)] = known  # the identity is held, so that its id cannot be given to another
        return known


def _explain(record: Record, refusal: Refusal, fault: str | None) -> None:
    """Add why an exchange was refused or broken off."""
    record.reason = refusal.reason.value
    record.source = refusal.source.value
    record.rule = refusal.rule if refusal.rule is not None else record.rule
    record.note = clip(refusal.note or refusal.detail, 2 * MAX_TEXT)
    record.limits = refusal.limits
    if refusal.limits:
        record.limit = refusal.rule
    record.fault = fault


def _mend(record: Record) -> None:
    for name in record.__struct_fields__:
        value = getattr(record, name)
        if isinstance(value, str):
            setattr(record, name, mend(value))


def _who(identity: Identity) -> Who:
    return Who(
        clip(identity.key),
        clip(identity.issuer),
        clip(identity.subject),
        identity.methods,
        identity.roles,
        identity.certificate,
        identity.token,
        None if identity.token_id is None else clip(identity.token_id),
        None if identity.client_id is None else clip(identity.client_id),
        identity.key_id,
    )


def _micros(ex: Exchange) -> Micros:
    """Split the time of an exchange over its stages, as far as it came."""
    began = ex.began_at
    if ex.answered_at:  # the usual case: it came all the way
        return Micros(
            int((ex.ended_at - began) * MILLION),
            int((ex.identified_at - began) * MILLION),
            int((ex.entered_at - ex.identified_at) * MILLION),
            int((ex.admitted_at - ex.entered_at) * MILLION),
            int((ex.inspected_at - ex.admitted_at) * MILLION),
            int((ex.forwarded_at - ex.inspected_at) * MILLION),
            int((ex.answered_at - ex.forwarded_at) * MILLION),
            int((ex.ended_at - ex.answered_at) * MILLION),
        )
    micros = Micros(int((ex.ended_at - began) * MILLION))
    if not ex.identified_at:
        return micros
    micros.identify = int((ex.identified_at - began) * MILLION)
    if not ex.entered_at:
        return micros
    micros.enter = int((ex.entered_at - ex.identified_at) * MILLION)
    if not ex.admitted_at:
        return micros
    micros.limit = int((ex.admitted_at - ex.entered_at) * MILLION)
    if not ex.inspected_at:
        return micros
    micros.inspect = int((ex.inspected_at - ex.admitted_at) * MILLION)
    if not ex.forwarded_at:
        return micros
    micros.decide = int((ex.forwarded_at - ex.inspected_at) * MILLION)
    return micros

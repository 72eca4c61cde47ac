"""Bugs of ours, vanished clients and cancelled lines: fail closed, one record, nothing held."""

from __future__ import annotations

import asyncio
from dataclasses import fields
from typing import TYPE_CHECKING

import msgspec
import pytest

from gateway.core.exchange import Outcome
from gateway.core.identity import Peer
from gateway.core.ports import ClientGone
from gateway.core.refusal import Reason
from gateway.credentials.development import DevelopmentIssuer
from gateway.credentials.signing import Signer, generate_key
from gateway.runtime import Runtime
from gateway.stages.identify import Identification, Issuer
from tests.doubles.line import Headers, Line

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gateway.core.exchange import Exchange

SECRET = "sk-canary-in-an-exception"

# Where each stage can break, and how a test makes it.
STAGES: dict[str, Callable[[Line, BaseException], None]] = {
    "identify": lambda line, fault: setattr(line.headers, "fails", fault),
    "enter": lambda line, fault: setattr(line.policy, "fails_early", fault),
    "limit": lambda line, fault: setattr(line.store, "fails", fault),
    "body": lambda line, fault: setattr(line.body, "fails", fault),
    "inspect": lambda line, fault: setattr(line.inspector, "fails", fault),
    "counters": lambda line, fault: setattr(line.counters, "fails", fault),
    "score": lambda line, fault: setattr(line.detector, "fails", fault),
    "authorize": lambda line, fault: setattr(line.policy, "fails", fault),
    "prepare": lambda line, fault: setattr(line.onward, "fails", fault),
    "open": lambda line, fault: setattr(line.backends, "fails", fault),
    "meter": lambda line, fault: setattr(line.meter, "fails", fault),
    "relay": lambda line, fault: setattr(line.reply, "fails", fault),
    "relayed": lambda line, fault: setattr(line.reply, "fails_later", fault),
}
AWAITED = ("identify", "limit", "body", "open", "relay", "relayed")
ADMITTED = tuple(STAGES)[3:]
SENT = ("open", "meter", "relay", "relayed")


@pytest.mark.parametrize("stage", [stage for stage in STAGES if stage != "relayed"])
def test_an_unexpected_exception_is_an_internal_error(stage: str) -> None:
    """500, without its text and with the connection closed; its class on the record; reported once."""
    line = Line()
    STAGES[stage](line, RuntimeError(SECRET))
    ex = line.run()
    problem = msgspec.json.decode(line.reply.body)

    assert (500, 500, "internal", True) == (
        line.reply.status,
        problem["status"],
        problem["error"]["code"],
        line.reply.is_closing,
    )
    assert SECRET.encode() not in line.reply.body + line.reply.headers
    assert ("RuntimeError", Outcome.REFUSED, 500) == (ex.fault, ex.outcome, ex.status)
    assert ex.refusal is not None
    assert Reason.INTERNAL is ex.refusal.reason
    assert [(ex, SECRET)] == [(one, str(fault)) for one, fault in line.reports]
    assert [] == line.store.held
    assert (1 if stage in ADMITTED else 0) == len(line.store.settled)
    assert (stage in SENT) is bool(line.backends.asked)
    assert (1 if stage in {"meter", "relay"} else 0) == line.backends.answer.closed


def test_an_unexpected_exception_after_the_first_byte() -> None:
    """There is no status left: the answer breaks off, and nothing of the exception is in it."""
    line = Line()
    line.reply.fails_later = RuntimeError(SECRET)
    ex = line.run()

    assert b"" == line.reply.aborted
    assert (Outcome.FAILED, "RuntimeError", 200) == (ex.outcome, ex.fault, ex.status)
    assert 1 == line.backends.answer.closed


@pytest.mark.parametrize("gone", [ClientGone, asyncio.CancelledError])
@pytest.mark.parametrize("stage", AWAITED)
def test_a_line_that_is_thrown_out(stage: str, gone: type[BaseException]) -> None:
    """Nothing is written to nobody; the backend is let go; what was taken is given back; one record."""
    line = Line()
    STAGES[stage](line, gone())
    with pytest.raises(gone):
        asyncio.run(line.gateway.handle(line.call(), line.reply))
    ex = line.record()

    assert (Outcome.CLIENT_GONE if gone is ClientGone else Outcome.FAILED) is ex.outcome
    assert "reply.send" not in line.events
    assert "reply.abort" not in line.events
    assert [] == line.store.held
    assert (1 if stage in ADMITTED else 0) == len(line.store.settled)
    assert (1 if stage in {"relay", "relayed"} else 0) == line.backends.answer.closed
    assert [] == line.reports
    assert ([] if stage == "identify" else [ex]) == line.counters.outcomes


class SlowKeys:
    """Keys that are being fetched when the client leaves."""

    is_usable = False
    generation = 0

    def find(self, kid: str | None, algorithm: str, /) -> object | None:
        """Know none."""
        return None

    async def refresh(self) -> bool:
        """Never come back."""
        raise ClientGone


def test_a_client_that_leaves_during_a_key_fetch(tmp_path: Path) -> None:
    """The one wait of `identify` is no exception: recorded, with nobody identified."""
    line = Line()
    name = "https://idp.example.org"
    issuer = DevelopmentIssuer(
        tmp_path, Signer(generate_key("ES256"), "ES256"), name, "model-gateway", line.clock
    )
    token = f"Bearer {issuer.mint()}".encode()
    line.headers = Headers({b"authorization": token}, line.events)
    trusted = Issuer(name, SlowKeys(), "model-gateway", frozenset({"ES256"}))
    old = line.gateway.runtime
    known = {each.name: getattr(old, each.name) for each in fields(Runtime)}
    line.gateway.runtime = Runtime(**(known | {"identification": Identification([trusted])}))
    with pytest.raises(ClientGone):
        asyncio.run(line.gateway.handle(line.call(), line.reply))
    ex: Exchange = line.record()

    assert (Outcome.CLIENT_GONE, None, 0) == (ex.outcome, ex.identity, ex.status)
    assert ["identify", "record"] == line.events


def test_an_unhealthy_record_stops_everything() -> None:
    """Where nothing can be written down nothing happens: no credential is looked at, no counter moved."""
    line = Line()
    line.recorder.is_healthy = False
    line.peer = Peer("10.0.0.9", 1)
    ex = line.run()

    assert ["reply.send", "record"] == line.events
    assert (503, None, Reason.RECORD_UNAVAILABLE) == (
        line.reply.status,
        ex.identity,
        None if ex.refusal is None else ex.refusal.reason,
    )
    assert b"Retry-After: " in line.reply.headers

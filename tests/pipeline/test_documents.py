"""What the gateway says of itself: to everybody, before anybody is known, and never without a record."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from gateway.core.call import Call
from gateway.core.exchange import Exchange, Outcome
from gateway.core.refusal import Reason
from gateway.core.route import WELL_KNOWN_METADATA
from gateway.runtime import Document
from tests.doubles.line import ID, PEER, STRANGER, Line

DOCUMENT = Document(b"Content-Type: application/json\r\n", b'{"resource":"https://gateway.example.org"}')


def asked(line: Line, method: str = "GET", path: str = WELL_KNOWN_METADATA) -> Exchange:
    """Let a line with one document take a request."""
    line.gateway.runtime = replace(line.runtime(), documents={WELL_KNOWN_METADATA: DOCUMENT})
    call = Call(ID, method, path, "", line.headers, line.peer, line.body)  # type: ignore[arg-type]  # as in `Line.call`
    asyncio.run(line.gateway.handle(call, line.reply))
    return line.record()


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("peer", [PEER, STRANGER])
@pytest.mark.parametrize("authorization", [None, b"Bearer nonsense", b"Basic eA=="])
def test_everybody_reads_it(method: str, peer: object, authorization: bytes | None) -> None:
    """Nobody is identified for it, whatever they show; there is exactly one record, without an identity."""
    line = Line()
    line.peer = peer  # type: ignore[assignment]
    line.headers.fields = {} if authorization is None else {b"authorization": authorization}
    ex = asked(line, method)

    assert ["reply.send", "record"] == line.events
    assert (200, DOCUMENT.headers, DOCUMENT.body) == (line.reply.status, line.reply.headers, line.reply.body)
    assert (Outcome.SERVED, 200, len(DOCUMENT.body)) == (ex.outcome, ex.status, ex.bytes_out)
    assert (None, None, None) == (ex.identity, ex.route, ex.refusal)
    assert {} == line.gateway.running


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", WELL_KNOWN_METADATA),
        ("OPTIONS", WELL_KNOWN_METADATA),
        ("GET", WELL_KNOWN_METADATA + "/"),
        ("GET", WELL_KNOWN_METADATA + "/v1"),
        ("GET", "/.well-known/openid-configuration"),
    ],
)
def test_everything_else_goes_the_way_of_all_requests(method: str, path: str) -> None:
    """Strangers are asked for a credential, callers are told that this is not allowed."""
    for peer, reason in ((STRANGER, Reason.CREDENTIAL_MISSING), (PEER, Reason.ROUTE_UNKNOWN)):
        line = Line()
        line.peer = peer
        ex = asked(line, method, path)

        assert ex.refusal is not None
        assert reason is ex.refusal.reason


def test_nothing_is_said_that_can_not_be_written_down() -> None:
    """Without a working record there is no answer, not even this one."""
    line = Line()
    line.recorder.is_healthy = False
    ex = asked(line)

    assert ex.refusal is not None
    assert (Reason.RECORD_UNAVAILABLE, 503) == (ex.refusal.reason, line.reply.status)

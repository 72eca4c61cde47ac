"""Revocations in one whole process: through the operators' listener to the end of what runs."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from structlog.testing import capture_logs

from gateway.app.process import Process
from gateway.app.revocations import _report, journal_path, make_keeper
from gateway.cli import main
from gateway.core.ports import StoreUnavailable
from gateway.core.revocation import NOTHING_REVOKED, Revocation, Target
from gateway.observe.chain import Kind, parse
from gateway.state.local_revocations import LocalRevocations
from gateway.state.replicated import ReplicatedRevocations
from gateway.state.revocation_journal import RevocationsBroken
from tests.unit.app.settings import CLOCK, FULL
from tests.unit.app.test_process import ask, json, model, records, running, simple

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from gateway.observe.log import LogSink
    from tests.unit.app.settings import Directory

STREAM = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"9\r\ndata: a\n\n\r\n"
)
ME = "anonymous|127.0.0.1"


async def admin(process: Process, method: str, path: str, body: object | None = None) -> tuple[int, Any]:
    """Ask the operators' listener."""
    reader, writer = await asyncio.open_connection(*process.addresses["admin"].rsplit(":", 1))
    data = b"" if body is None else msgspec.json.encode(body)
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n"
    writer.write(head.encode() + b"Content-Length: %d\r\n\r\n%b" % (len(data), data))
    answer = await reader.read()
    writer.close()
    return int(answer.split()[1]), json(answer)


@asynccontextmanager
async def streaming(process: Process) -> AsyncIterator[asyncio.StreamReader]:
    """One stream that has begun."""
    reader, writer = await asyncio.open_connection(*process.addresses["listen"].rsplit(":", 1))
    writer.write(b"GET /model HTTP/1.1\r\nHost: x\r\n\r\n")
    await reader.readuntil(b"data: a\n\n\r\n")
    yield reader
    writer.close()


async def until(condition: Callable[[], object]) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


def actions(directory: Directory) -> list[dict[str, Any]]:
    """Return the actions of a log that is closed."""
    lines = [
        parse(line)
        for line in (directory.path / "audit/gateway.jsonl").read_bytes().splitlines(keepends=True)
    ]
    return [msgspec.json.decode(line.payload) for line in lines if line.kind is Kind.ACTION]


async def test_from_the_operator_to_the_end_of_a_stream(directory: Directory, sink: LogSink) -> None:
    """It ends with an event that says so; the next request is refused; lifted, the caller is back."""
    async with model(STREAM) as port:
        with capture_logs() as lines:
            async with running(directory, sink, simple(port)) as process, streaming(process) as stream:
                _, seen = await admin(process, "GET", "/v1/running")
                status, made = await admin(
                    process, "POST", "/v1/revocations", {"target": "subject", "value": ME, "reason": "drill"}
                )
                rest = await asyncio.wait_for(stream.read(), 5)
                refused = await ask(process.addresses["listen"])
                _, held = await admin(process, "GET", "/v1/revocations")
                metrics = (await ask(process.addresses["admin"], "/metrics")).decode()
                lifted, _ = await admin(process, "DELETE", f"/v1/revocations/{made['id']}")
                async with streaming(process):
                    pass
    [cut, no, *_] = records(directory)
    [revoked, lift] = actions(directory)

    assert (1, ME) == (seen["running"], seen["exchanges"][0]["identity"])
    assert (201, 1, True, 200) == (status, made["cut"], made["stored"], lifted)
    assert b"event: error\ndata: " in rest
    assert not rest.endswith(b"0\r\n\r\n")
    assert refused.startswith(b"HTTP/1.1 401 ")
    assert [made["id"]] == [row["id"] for row in held["revocations"]]
    assert ("failed", "revoked", f"revocation {made['id']} of subject: drill") == (
        cut["outcome"],
        cut["reason"],
        cut["note"],
    )
    assert ("refused", "revoked") == (no["outcome"], no["reason"])
    assert ("revoked", made["id"], ME, "drill", 1) == tuple(
        revoked[name] for name in ("action", "revocation", "value", "reason", "cut")
    )
    assert ("lifted", made["id"]) == (lift["action"], lift["revocation"])
    assert revoked["by"].startswith("operator without token, from 127.0.0.1")
    assert {"operators-unproven", "revoked", "lifted"} <= {line["event"] for line in lines}
    for gauge in ("revocations 1", "revocations_current 1", "cut_revoked_total 1", "cut_policy_total 0"):
        assert f"\ngateway_{gauge}\n" in metrics


async def test_a_restart_forgets_nothing(directory: Directory, sink: LogSink) -> None:
    """The journal lies beside the audit log; a damaged one does not start, and says what to do."""
    async with running(directory, sink, simple()) as process:
        await admin(process, "POST", "/v1/revocations", {"target": "subject", "value": ME, "lock": True})
    async with running(directory, sink, simple()) as process:
        refused = await ask(process.addresses["listen"])
    journal = directory.path / "audit/gateway.revocations"
    journal.write_bytes(journal.read_bytes().replace(b"anonymous", b"anonymouz"))
    with pytest.raises(RevocationsBroken, match=r"line 1 of .* is damaged"):
        await Process(directory.compile(simple()), CLOCK, sink).run()

    assert refused.startswith(b"HTTP/1.1 401 ")


def test_a_damaged_journal_is_said(directory: Directory, capsys: pytest.CaptureFixture[str]) -> None:
    """By the command, with an exit code of its own kind."""
    file = directory.write("gateway.yaml", simple().encode())
    (directory.path / "audit").mkdir()
    (directory.path / "audit/gateway.revocations").write_bytes(b"nonsense\n")
    code = main(["run", "--config", str(file)])

    assert 2 == code
    assert "revocations cannot be trusted to be complete: line 1" in capsys.readouterr().err


async def test_what_runs_is_never_the_stand_in(directory: Directory, sink: LogSink) -> None:
    """Identification asks the index that is kept, in memory and in a fleet; and it believes nobody before."""
    for more in ("", 'state: {url: "redis://127.0.0.1:9/0"}'):
        compilation = directory.compile(simple(more=more))
        keeper = make_keeper(compilation, CLOCK)

        assert isinstance(keeper, ReplicatedRevocations if more else LocalRevocations)
        assert compilation.identification.revocations is compilation.revocations is keeper.index
        assert compilation.revocations is not NOTHING_REVOKED
        assert not compilation.revocations.is_current
    async with running(directory, sink, simple()) as process:
        assert process._compilation.revocations.is_current


def test_what_the_store_does_is_said() -> None:
    """Lost and doubtful with what to do about it, back without."""
    said = (
        ("lost", "timeout"),
        ("back", ""),
        ("foreign", ""),
        ("unkept", ""),
        ("inline", ""),
        ("out-of-memory", ""),
    )
    with capture_logs() as lines:
        for event, why in said:
            _report(event, why)

    assert [
        ("state-lost", "error", "timeout"),
        ("state-back", "info", None),
        ("revocations-doubtful", "error", "foreign"),
        ("revocations-doubtful", "error", "unkept"),
        ("state-scripts-inline", "warning", None),
        ("state-full", "error", "out-of-memory"),
    ] == [(line["event"], line["log_level"], line.get("why")) for line in lines]
    assert [True, False, True, True, True, True] == ["mend" in line for line in lines]


def test_where_the_journal_lies(directory: Directory) -> None:
    """Beside the audit log, or where it was put."""
    own = FULL + "revocations: {journal: own/journal}\n"

    assert directory.path / "audit/gateway.revocations" == journal_path(directory.compile(FULL).settings)
    assert directory.path / "own/journal" == journal_path(directory.compile(own).settings)


def test_a_secret_that_can_not_be_used(directory: Directory) -> None:
    """Is found by the compilation."""
    text = simple(more='state: {url: "redis://127.0.0.1:9/0"}\nrevocations: {secret: "env:GATEWAY_NOWHERE"}')
    [(_, message)] = directory.findings(text)
    directory.write("short", b"fifteen letters")
    [(_, too_short)] = directory.findings(text.replace("env:GATEWAY_NOWHERE", "file:short"))

    assert "the environment variable GATEWAY_NOWHERE is not set" in message
    assert "fewer than 16" in too_short


async def test_while_revocations_are_not_current(directory: Directory, sink: LogSink) -> None:
    """Nothing goes on: streams end, requests are refused, it is not ready and says so; then it is again."""
    async with model(STREAM) as port:
        with capture_logs() as lines:
            async with running(directory, sink, simple(port)) as process, streaming(process) as stream:
                index = process._compilation.revocations
                index.left_out = 1
                rest = await asyncio.wait_for(stream.read(), 5)
                refused = await ask(process.addresses["listen"])
                ready, _ = await admin(process, "GET", "/readyz")
                index.left_out = 0
                async with streaming(process):
                    pass
                await until(lambda: "revocations-current" in [line["event"] for line in lines])
    said = [line["event"] for line in lines]

    assert b"event: error" in rest
    assert refused.startswith(b"HTTP/1.1 503 ")
    assert 503 == ready
    assert "revocations-stale" in said
    assert {"revocations-stale"} == {record["reason"] for record in records(directory)[:2]}


async def test_what_ends_by_itself(directory: Directory, sink: LogSink) -> None:
    """A revocation with an end is gone after it, without anybody asking."""
    async with running(directory, sink, simple()) as process:
        expires = CLOCK.wall() + 0.2
        await admin(
            process, "POST", "/v1/revocations", {"target": "subject", "value": ME, "expires": expires}
        )
        before = await ask(process.addresses["listen"])
        await until(lambda: not len(process._compilation.revocations))
        after = await ask(process.addresses["listen"])

    assert before.startswith(b"HTTP/1.1 401 ")
    assert after.startswith(b"HTTP/1.1 502 ")


async def test_signals_from_elsewhere(directory: Directory, sink: LogSink) -> None:
    """They come through the same port and leave the same trace, under their own name."""
    from gateway.app.revoker import Revoker

    seen: list[Revoker] = []
    original = Revoker.__init__

    def init(self: Revoker, *parts: Any) -> None:
        original(self, *parts)
        seen.append(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Revoker, "__init__", init)
        async with running(directory, sink, simple()):
            [revoker] = seen
            row = Revocation("set-1", Target.SUBJECT, "a|b", CLOCK.wall(), source="https://idp.example.org")
            await revoker.add([row])
            await revoker.add([row])  # delivered twice
            revoker._keeper._journal.close()  # a disk that is gone
            with pytest.raises(StoreUnavailable):
                await revoker.add([Revocation("set-2", Target.SUBJECT, "a|c", CLOCK.wall(), source="x")])
            revoker._audit.is_healthy = False
            with pytest.raises(StoreUnavailable):
                await revoker.lift(["set-1", "unknown"], CLOCK.wall())
            still = [each.id for each in revoker.held()]
            revoker._audit.is_healthy = True

    assert ["set-1", "set-2"] == still
    assert [("set-1", "https://idp.example.org"), ("set-2", "x")] == [
        (action["revocation"], action["by"]) for action in actions(directory)
    ]

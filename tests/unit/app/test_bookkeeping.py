"""The supervisor's entries in the audit log."""

from __future__ import annotations

import asyncio
import errno
from typing import TYPE_CHECKING, Any

import msgspec
from structlog.testing import capture_logs

from gateway.app import bookkeeping as module
from gateway.app.bookkeeping import Bookkeeping
from gateway.observe.audit import AuditLog
from gateway.observe.chain import Kind, parse
from gateway.observe.ledger import Ledger
from gateway.observe.verify_log import verify_log
from tests.unit.app.settings import CLOCK
from tests.unit.app.test_process import simple

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tests.unit.app.settings import Directory


def chain(directory: Directory, number: int) -> Path:
    """Write one record into a worker's chain."""
    path = directory.path / f"audit/gateway.{number}.jsonl"
    path.parent.mkdir(exist_ok=True)
    log = AuditLog(path, clock=CLOCK)
    log.append(b'{"n":1}')
    assert log.close()
    return path


def said(directory: Directory) -> list[dict[str, Any]]:
    """Return the events of the supervisor's chain."""
    lines = (directory.path / "audit/gateway.jsonl").read_bytes().splitlines(keepends=True)
    return [msgspec.json.decode(line.payload) for line in map(parse, lines) if line.kind is Kind.EVENT]


async def test_chains_of_earlier_workers_are_stated(directory: Directory) -> None:
    """Also if fewer workers serve now; and again when one has gone on."""
    chain(directory, 1)
    chain(directory, 7)
    books = Bookkeeping(directory.compile(simple()), CLOCK)
    await books.begin(1)
    chain(directory, 1)
    await books.lost(1, "exit code 1", is_expected=False)
    await books.lost(1, "exit code 0", is_expected=True)
    await books.end()
    await books.close()
    events = said(directory)

    assert [
        "workers-started",
        "chains",
        "worker-lost",
        "chains",
        "workers-stopped",
        "chains",
    ] == [one["event"] for one in events]
    assert [("gateway.1.jsonl", 1), ("gateway.7.jsonl", 1)] == [
        (pin["file"], pin["seq"]) for pin in events[1]["chains"]
    ]
    assert [2, 1] == [pin["seq"] for pin in events[3]["chains"]]
    assert verify_log(directory.path / "audit/gateway.jsonl").is_intact


async def test_a_damaged_chain_is_said(directory: Directory) -> None:
    """It keeps nobody from writing about the others."""
    chain(directory, 1).write_bytes(b"damaged\n")
    chain(directory, 2)
    books = Bookkeeping(directory.compile(simple()), CLOCK)
    with capture_logs() as lines:
        await books.begin(2)
    await books.close()

    assert [("chain-unreadable", "gateway.1.jsonl")] == [(line["event"], line["file"]) for line in lines]
    assert ["gateway.2.jsonl"] == [pin["file"] for pin in said(directory)[1]["chains"]]


async def test_a_full_disk_is_said_and_tried_again(
    directory: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once, and once when it is over; nothing of what was noted is lost."""
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.01)
    books = Bookkeeping(directory.compile(simple()), CLOCK)
    stop = asyncio.Event()

    def full(_self: Ledger, _heads: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with capture_logs() as lines:
        with monkeypatch.context() as patch:
            patch.setattr(Ledger, "write", full)
            await books.begin(2)
            await books.lost(1, "exit code 1", is_expected=False)
            was_healthy = books.is_healthy
        keeping = asyncio.ensure_future(books.keep(list, stop))
        while not books.is_healthy:
            await asyncio.sleep(0.001)
        stop.set()
        await keeping
    await books.close()

    assert not was_healthy
    assert ["audit-lost", "audit-back"] == [line["event"] for line in lines]
    assert ["workers-started", "worker-lost"] == [one["event"] for one in said(directory)]

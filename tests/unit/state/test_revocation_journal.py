"""The journal: what was kept is there after a restart, and what was damaged does not start."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Self

import pytest

from gateway.core.ports import StoreUnavailable
from gateway.core.revocation import Lift, Revocation
from gateway.core.revoking import RevocationsFull
from gateway.state import revocation_journal
from gateway.state.local_revocations import LocalRevocations
from gateway.state.revocation_journal import RevocationJournal, RevocationsBroken
from gateway.state.revocations import RevocationIndex
from tests.unit.state.revoked import ADA, NOW, ManualClock, revoke

if TYPE_CHECKING:
    from pathlib import Path


class Worker:
    """One process: an index and its journal."""

    def __init__(self, path: Path, clock: ManualClock | None = None, capacity: int = 100) -> None:
        self.index = RevocationIndex(clock or ManualClock(), capacity=capacity)
        self.keeper = LocalRevocations(self.index, RevocationJournal(path, self.index.everything))

    async def __aenter__(self) -> Self:
        await self.keeper.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.keeper.stop()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the journal lies."""
    return tmp_path / "gateway.revocations"


async def test_a_restart_forgets_nothing(path: Path) -> None:
    """Revocations and lifts are there again, also after a second restart; the file is its owner's alone."""
    async with Worker(path) as worker:
        await worker.keeper.add([revoke("a"), revoke("b", "x", issued_before=NOW)])
        await worker.keeper.lift(Lift("b", NOW))
        everything = worker.index.everything()
    for _ in range(2):
        async with Worker(path) as worker:
            assert worker.index.is_current
            assert everything == worker.index.everything()
            assert worker.index.find(ADA) is not None

    assert 0o600 == path.stat().st_mode & 0o777


async def test_what_has_ended_is_not_kept(path: Path) -> None:
    """The file is rewritten at start with what still counts."""
    clock = ManualClock()
    async with Worker(path, clock) as worker:
        await worker.keeper.add([revoke("a", expires=NOW + 10)])
    clock.now += 11
    async with Worker(path, clock) as worker:
        assert [] == worker.index.everything()

    assert b"" == path.read_bytes()


async def test_nothing_is_current_before_it_was_read(path: Path) -> None:
    """Between construction and start nobody is believed."""
    worker = Worker(path)
    assert not worker.index.is_current
    async with worker:
        assert worker.index.is_current


@pytest.mark.parametrize("spoil", ["byte", "line", "order", "check", "garbage"])
async def test_a_damaged_journal_does_not_start(path: Path, spoil: str) -> None:
    """A changed byte, a removed or moved line: named by its number, with what to do."""
    async with Worker(path) as worker:
        for name in "abc":
            await worker.keeper.add([revoke(name)])
    lines = path.read_bytes().splitlines(keepends=True)
    spoiled = {
        "byte": [lines[0], lines[1].replace(b'"b"', b'"x"'), lines[2]],
        "line": [lines[0], lines[2]],
        "order": [lines[0], lines[2], lines[1]],
        "check": [lines[0], b"0" * 32 + lines[1][32:], lines[2]],
        "garbage": [lines[0], b"\xff\n", lines[2]],
    }
    path.write_bytes(b"".join(spoiled[spoil]))
    for _ in range(2):  # and it stays so
        with pytest.raises(RevocationsBroken, match=r"line 2 of .* is damaged.*Restore the file"):
            await Worker(path).keeper.start()


async def test_a_line_that_is_no_revocation_is_damage(path: Path) -> None:
    """Even if its check is right."""
    check, data = revocation_journal._lines(revocation_journal.GENESIS, [b'{"op":"add","id":""}'])
    path.write_bytes(data)
    with pytest.raises(RevocationsBroken, match="line 1"):
        await Worker(path).keeper.start()

    assert check


async def test_a_torn_end_is_dropped(path: Path) -> None:
    """A crash within a write leaves half a line, of which nobody was told that it was kept."""
    async with Worker(path) as worker:
        await worker.keeper.add([revoke("a")])
    with path.open("ab") as file:
        file.write(b"0123 {half")
    journal = RevocationJournal(path, list)
    held = journal.open()
    await journal.append([revoke("b")])
    journal.close()
    async with Worker(path) as worker:
        known = {change.id for change in worker.index.everything()}

    assert (10, ["a"]) == (journal.torn, [change.id for change in held])
    assert {"a", "b"} == known


async def test_one_process_has_it(path: Path) -> None:
    """A second one does not start, and says what to do."""
    async with Worker(path):
        with pytest.raises(RevocationsBroken, match="in use by another process; give each its own"):
            await Worker(path).keeper.start()


async def test_a_place_that_can_not_be_written(path: Path, tmp_path: Path) -> None:
    """Said at start."""
    with pytest.raises(RevocationsBroken, match="cannot be opened: No such file"):
        await Worker(tmp_path / "nowhere" / "journal").keeper.start()
    path.with_name(f"{path.name}.new").mkdir()
    with pytest.raises(RevocationsBroken, match="cannot be written"):
        await Worker(path).keeper.start()


async def test_a_full_disk(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The revocation holds, the caller hears that it is not kept, and the next one keeps both."""
    real, failing = os.fsync, True

    def fsync(descriptor: int) -> None:
        if failing:
            raise OSError(28, "No space left on device")
        real(descriptor)

    async with Worker(path) as worker:
        monkeypatch.setattr(revocation_journal.os, "fsync", fsync)
        with pytest.raises(StoreUnavailable):
            await worker.keeper.add([revoke("a")])
        with pytest.raises(StoreUnavailable):
            await worker.keeper.lift(Lift("a", NOW))
        assert worker.index.find(ADA) is not None
        assert b"" == path.read_bytes()
        failing = False
        await worker.keeper.add([revoke("a")])
    async with Worker(path) as worker:
        assert worker.index.find(ADA) is not None


async def test_all_or_none(path: Path) -> None:
    """One malformed, or one too many: nothing is added."""
    async with Worker(path, capacity=2) as worker:
        with pytest.raises(ValueError, match="value"):
            await worker.keeper.add([revoke("a"), revoke("b", "")])
        with pytest.raises(RevocationsFull):
            await worker.keeper.add([revoke(name) for name in "abc"])
        assert [] == worker.index.everything()
        assert worker.index.is_current


async def test_more_than_may_be_held_does_not_start(path: Path) -> None:
    """A smaller capacity than what is kept: nothing is left out in silence."""
    async with Worker(path) as worker:
        await worker.keeper.add([revoke(name) for name in "abc"])
    with pytest.raises(RevocationsBroken, match="capacity"):
        await Worker(path, capacity=2).keeper.start()


async def test_it_is_rewritten_when_it_has_grown(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What no longer counts does not stay for ever; the lift that is just written stays."""
    monkeypatch.setattr(revocation_journal, "SLACK", 4)
    clock = ManualClock()
    async with Worker(path, clock) as worker:
        await worker.keeper.add([revoke("stays")])
        await worker.keeper.add([revoke(f"r-{number}", expires=NOW + 1) for number in range(9)])
        clock.now += 2
        worker.index.end()
        await worker.keeper.lift(Lift("stays", NOW))
        lines = path.read_bytes().splitlines()
        everything = worker.index.everything()
    async with Worker(path, clock) as worker:
        again = worker.index.everything()

    assert 2 == len(lines)
    assert [Lift("stays", NOW)] == everything == again


async def test_calls_at_once_are_all_kept(path: Path) -> None:
    """Each returns when its own is on disk."""
    async with Worker(path) as worker, asyncio.TaskGroup() as group:
        for number in range(20):
            group.create_task(worker.keeper.add([revoke(f"r-{number}")]))
    journal = RevocationJournal(path, list)
    held = journal.open()
    await journal.append([])
    journal.close()

    assert {f"r-{number}" for number in range(20)} <= {change.id for change in held}
    assert all(isinstance(change, Revocation) for change in held)

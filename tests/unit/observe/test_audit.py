"""The audit log: what it promises about writing."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.observe import journal as journal_module
from gateway.observe.audit import AuditBroken, AuditLog, Signer
from gateway.observe.chain import MAX_LINE
from gateway.observe.journal import Journal
from gateway.observe.verify import verify
from tests.unit.observe.exchanges import ManualClock

if TYPE_CHECKING:
    from pathlib import Path

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
SIGNER = Signer(KEY, "audit-1")


def record(number: int) -> bytes:
    """Return a small record."""
    return b'{"id":"%d"}' % number


def opened(path: Path, **options: Any) -> AuditLog:
    """Open a log whose thread is not started: tests drive it."""
    options.setdefault("clock", ManualClock())
    return AuditLog(path, **options)


def filled(path: Path, count: int, **options: Any) -> AuditLog:
    """Write some records and close."""
    log = opened(path, **options)
    for number in range(count):
        log.append(record(number))
    assert log.close()
    return log


def payloads(path: Path) -> list[dict]:
    """Read all lines."""
    return [msgspec.json.decode(line) for line in path.read_bytes().splitlines()]


def test_records_are_chained_and_closed_by_a_checkpoint(tmp_path: Path) -> None:
    """Records, in order, then the signature over all of them."""
    path = tmp_path / "a.jsonl"
    filled(path, 3, signer=SIGNER)

    assert ["record", "record", "record", "checkpoint"] == [list(line)[2] for line in payloads(path)]
    assert [{"id": str(number)} for number in range(3)] == [line["record"] for line in payloads(path)[:3]]
    report = verify(path, KEY.public_key())
    assert (True, 4, 3, 1, 0) == (
        report.is_intact,
        report.lines,
        report.records,
        report.checkpoints,
        report.unsigned,
    )


def test_the_thread_writes_what_is_appended(tmp_path: Path) -> None:
    """With the thread running, closing waits for everything that was queued."""
    path = tmp_path / "a.jsonl"
    log = opened(path, sync_every=0.001)
    log.start()
    for number in range(500):
        log.append(record(number))

    assert log.close()
    assert (500, 0, 0, 500) == (log.written, log.backlog, log.lost, log.last)
    assert [{"id": str(number)} for number in range(500)] == [line["record"] for line in payloads(path)]


def test_only_the_owner_can_read_it(tmp_path: Path) -> None:
    """Mode 0600, also for a file that somebody had opened wider."""
    path = tmp_path / "a.jsonl"
    path.touch(0o644)
    filled(path, 1)

    assert 0o600 == stat.S_IMODE(path.stat().st_mode)


def test_a_restart_continues_the_chain(tmp_path: Path) -> None:
    """The second run begins where the first ended."""
    path = tmp_path / "a.jsonl"
    filled(path, 2, signer=SIGNER)
    filled(path, 2, signer=SIGNER)

    assert [1, 2, 3, 4, 5, 6] == [line["seq"] for line in payloads(path)]
    assert verify(path, KEY.public_key()).is_intact


def test_a_second_process_is_kept_out(tmp_path: Path) -> None:
    """Two writers would break the chain."""
    log = opened(tmp_path / "a.jsonl")
    with pytest.raises(AuditBroken, match="in use by another process"):
        opened(tmp_path / "a.jsonl")

    assert log.close()
    assert opened(tmp_path / "a.jsonl").close()


@pytest.mark.parametrize("torn", [b"{", b'{"seq":3,"prev":"00', b"\x00" * 5000])
def test_a_torn_line_is_set_aside_and_noted(tmp_path: Path, torn: bytes) -> None:
    """What a crash tore off is kept, and the chain says so."""
    path = tmp_path / "a.jsonl"
    filled(path, 2)
    size = path.stat().st_size
    with path.open("ab") as file:
        file.write(torn)
    filled(path, 1)

    kept = tmp_path / f"a.jsonl.torn-{size + len(torn)}"
    assert torn == kept.read_bytes()
    assert 0o600 == stat.S_IMODE(kept.stat().st_mode)
    assert {"event": "torn-line", "count": len(torn), "kept": kept.name} == payloads(path)[2]["event"]
    assert verify(path).is_intact


def test_a_log_that_is_nothing_but_a_torn_line_begins_anew(tmp_path: Path) -> None:
    """The very first write was torn."""
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"seq":1,')
    filled(path, 1)

    assert [1, 2] == [line["seq"] for line in payloads(path)]
    assert verify(path).is_intact


@pytest.mark.parametrize("ending", [b"{}\n", b"\n", b"x" * (MAX_LINE + 2)])
def test_a_damaged_end_is_not_continued(tmp_path: Path, ending: bytes) -> None:
    """Fail closed: nobody may build on a line that was tampered with."""
    path = tmp_path / "a.jsonl"
    filled(path, 2)
    content = path.read_bytes()
    with path.open("ab") as file:
        file.write(ending)
    with pytest.raises(AuditBroken, match="move"):
        opened(path)

    assert content + ending == path.read_bytes()


def test_a_directory_that_is_missing_is_named(tmp_path: Path) -> None:
    """Start-up refuses with the path."""
    with pytest.raises(AuditBroken, match="nowhere"):
        opened(tmp_path / "nowhere" / "a.jsonl")


def test_a_path_that_is_no_file_is_refused(tmp_path: Path) -> None:
    """A directory cannot be appended to."""
    (tmp_path / "a.jsonl").mkdir()
    with pytest.raises(AuditBroken, match="cannot be opened"):
        opened(tmp_path / "a.jsonl")


def test_full_files_are_set_aside_and_the_chain_goes_on(tmp_path: Path) -> None:
    """Named by their last line; verified as one; a restart in between changes nothing."""
    path = tmp_path / "a.jsonl"
    for _ in range(3):
        filled(path, 2, max_bytes=100)

    names = sorted(entry.name for entry in tmp_path.iterdir())
    assert ["a.jsonl", *(f"a.jsonl.{last:012d}" for last in (2, 4, 6)), "a.jsonl.lock"] == names
    assert b"" == path.read_bytes()
    report = verify(path)
    assert (True, 4, 6, 1, 6) == (report.is_intact, report.files, report.lines, report.first, report.last)


def test_a_rotation_that_fails_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lines are on disk; the log is unhealthy until the next file can be made."""
    seen: list[bool] = []
    path = tmp_path / "a.jsonl"
    log = opened(path, max_bytes=100, on_health=seen.append)
    log.append(record(1))
    with monkeypatch.context() as patch:
        patch.setattr(Journal, "rotate", _refuse)
        assert log._spool._drain()
    assert not log.is_healthy
    log.append(record(2))

    assert log.close()
    assert [False, True] == seen
    assert 2 == verify(path).records


def _refuse(*_args: object) -> int:
    raise OSError(28, "No space left on device")


def test_a_full_disk_makes_the_log_unhealthy(tmp_path: Path) -> None:
    """Nobody may be served then; nothing counts as written."""
    seen: list[bool] = []
    path = tmp_path / "a.jsonl"
    path.symlink_to("/dev/full")
    log = opened(path, on_health=seen.append)
    log.append(record(1))

    assert not log.close()
    assert (False, [False], 0, 1) == (log.is_healthy, seen, log.written, log.backlog)


def test_what_a_full_disk_held_up_is_written_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failed batch leaves no half line and is written whole when there is room."""
    path = tmp_path / "a.jsonl"
    seen: list[bool] = []
    log = opened(path, on_health=seen.append, signer=SIGNER)
    log.append(record(1))
    write = os.write
    with monkeypatch.context() as patch:

        def half(descriptor: int, data: memoryview) -> int:
            if len(data) < 50:
                raise OSError(28, "No space left on device")
            return write(descriptor, bytes(data[:40]))

        patch.setattr(journal_module.os, "write", half)
        assert not log._spool._drain()
        assert b"" == path.read_bytes()
        log.append(record(2))
    assert log.close()

    assert [False, True] == seen
    assert ["1", "2"] == [line["record"]["id"] for line in payloads(path)[:2]]
    assert verify(path, KEY.public_key()).is_intact


def test_a_half_line_that_could_not_be_cut_is_cut_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rest of a failed write never becomes part of the log."""
    path = tmp_path / "a.jsonl"
    log = opened(path)
    log.append(record(1))
    write = os.write
    with monkeypatch.context() as patch:
        patch.setattr(journal_module.os, "write", lambda fd, data: write(fd, bytes(data[:10])))
        patch.setattr(journal_module.os, "fsync", _refuse)
        patch.setattr(journal_module.os, "ftruncate", _refuse)
        assert not log._spool._drain()
        assert b"" != path.read_bytes()

    assert log.close()
    assert verify(path).is_intact


def test_a_backlog_is_bounded_and_its_losses_are_noted(tmp_path: Path) -> None:
    """Memory has a bound; the chain says how many records are missing."""
    path = tmp_path / "a.jsonl"
    log = opened(path, max_backlog=3)
    for number in range(5):
        log.append(record(number))

    assert (False, 2, 3) == (log.is_healthy, log.lost, log.backlog)
    assert log.close()
    assert log.is_healthy
    assert {"event": "records-lost", "count": 2} == payloads(path)[0]["event"]
    assert 3 == verify(path).records


def test_checkpoints_come_by_number_and_by_age(tmp_path: Path) -> None:
    """After so many lines, or so many seconds after the first unsigned one."""
    clock = ManualClock()
    path = tmp_path / "a.jsonl"
    log = opened(path, signer=SIGNER, checkpoint_lines=3, checkpoint_seconds=60.0, clock=clock)

    def write(count: int) -> None:
        for number in range(count):
            log.append(record(number))
        assert log._spool._drain()

    def kinds() -> str:
        return "".join(list(line)[2][0] for line in payloads(path))

    write(2)
    assert "rr" == kinds()
    write(1)
    assert "rrrc" == kinds()
    clock.ticks += 100
    write(0)
    assert "rrrc" == kinds()
    write(1)
    clock.ticks += 59
    write(0)
    assert "rrrcr" == kinds()
    clock.ticks += 1
    write(0)
    assert "rrrcrc" == kinds()
    assert log.close()
    assert "rrrcrc" == kinds()
    assert verify(path, KEY.public_key()).is_intact


def test_a_thread_that_hangs_keeps_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Closing says so and does not pull the descriptor away under a write."""
    log = opened(tmp_path / "a.jsonl")
    closed: list[bool] = []
    monkeypatch.setattr(Journal, "close", lambda self: closed.append(True))
    with monkeypatch.context() as patch:
        patch.setattr(type(log._spool), "close", lambda self: False)
        patch.setattr(type(log._spool), "is_running", True)
        assert not log.close()

    assert [] == closed

"""Several chains as one log: what is written, and what is found when somebody touched it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec
import pytest

from gateway.observe.audit import AuditLog, Signer
from gateway.observe.chain import ChainBroken, Head, Kind, parse
from gateway.observe.chains import end_of, worker_file, worker_files
from gateway.observe.journal import AuditBroken
from gateway.observe.ledger import Ledger
from gateway.observe.verify_log import verify_log
from tests.unit.observe.exchanges import ManualClock
from tests.unit.observe.test_audit import KEY

if TYPE_CHECKING:
    from pathlib import Path

PUBLIC = KEY.public_key()
SIGNER = Signer(KEY, "k")


def records(path: Path, count: int, *, signer: Signer | None = SIGNER) -> Head:
    """Append records to a chain; return where it ends."""
    log = AuditLog(path, clock=ManualClock(), signer=signer)
    for number in range(count):
        log.append(b'{"n":%d}' % number)
    assert log.close()
    return log.head


def state(path: Path, *, signer: Signer | None = SIGNER) -> None:
    """Write a statement over the chains that lie beside a log."""
    ledger = Ledger(path, clock=ManualClock(), signer=signer)
    ledger.write({file.name: end_of(file) for file in worker_files(path)})
    ledger.close()


def full(_descriptor: int, _data: object) -> int:
    """Stand for a full disk."""
    raise OSError(28, "No space left on device")


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log of two workers, stated twice."""
    path = tmp_path / "gateway.jsonl"
    for _ in range(2):
        for number in (1, 2):
            records(worker_file(path, number), 3)
        state(path)
    return path


def what(path: Path, *, is_pruned: bool = False, is_signed: bool = True) -> list[tuple[str, str]]:
    """Return file and sentence of everything that is wrong."""
    report = verify_log(path, PUBLIC if is_signed else None, is_pruned=is_pruned)
    return [(problem.file, problem.what) for problem in report.problems]


def test_all_chains_are_one_log(log: Path) -> None:
    """The configured file first, then each worker's; statements are counted."""
    report = verify_log(log, PUBLIC)

    assert report.is_intact
    assert ["gateway.jsonl", "gateway.1.jsonl", "gateway.2.jsonl"] == list(report.chains)
    assert [0, 6, 6] == [chain.records for chain in report.chains.values()]
    assert 2 == report.statements


def test_one_chain_is_a_log(tmp_path: Path) -> None:
    """Without workers nothing is different."""
    path = tmp_path / "gateway.jsonl"
    records(path, 2)
    report = verify_log(path, PUBLIC)

    assert (True, ["gateway.jsonl"], 0) == (report.is_intact, list(report.chains), report.statements)


@pytest.mark.parametrize("is_signed", [True, False])
def test_a_dropped_chain_is_missed(log: Path, *, is_signed: bool) -> None:
    """The statements name it, even if nobody has the key."""
    worker_file(log, 2).unlink()

    assert [("gateway.2.jsonl", "the file of this worker's chain is missing")] == what(
        log, is_signed=is_signed
    )


def test_a_chain_cut_at_a_checkpoint_is_missed(log: Path) -> None:
    """It is whole in itself, and shorter than was stated."""
    file = worker_file(log, 1)
    file.write_bytes(b"".join(file.read_bytes().splitlines(keepends=True)[:4]))

    assert [
        ("gateway.1.jsonl", "the chain ends at line number 4, but line number 8 was stated"),
    ] == what(log)


def test_exchanged_chains_are_found(log: Path) -> None:
    """Each is perfect, and stands under the other's name."""
    records(worker_file(log, 1), 1)
    one, other = worker_file(log, 1), worker_file(log, 2)
    held = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(held)
    state(log)
    other.write_bytes(one.read_bytes())

    assert {"the chain ends at line number 8, but line number 10 was stated"} == {
        sentence for _, sentence in what(log)
    }


def test_a_chain_begun_anew_is_found(log: Path) -> None:
    """A new chain of the same length has other hashes."""
    file = worker_file(log, 1)
    file.unlink()
    log_of_it = AuditLog(file, clock=ManualClock(), signer=SIGNER)
    for _ in range(7):
        log_of_it.append(b'{"n":9}')
    assert log_of_it.close()

    assert {("gateway.1.jsonl", "this is not the line that was stated for its number")} == set(what(log))


def test_a_changed_statement_breaks_its_own_chain(log: Path) -> None:
    """The configured file is a chain like the others."""
    log.write_bytes(log.read_bytes().replace(b'"seq":8}', b'"seq":4}').replace(b'"seq":8,', b'"seq":4,', 1))

    assert any(file == "gateway.jsonl" for file, _ in what(log))


def test_a_crashed_worker_is_vouched_for(tmp_path: Path) -> None:
    """It wrote no checkpoint of its own; the signed statement stands for it, an unsigned one does not."""
    path = tmp_path / "gateway.jsonl"
    records(worker_file(path, 1), 3, signer=None)
    state(path, signer=None)
    unsigned = what(path)
    state(path)
    records(worker_file(path, 1), 1, signer=None)
    state(path)

    assert [
        ("gateway.jsonl", "there is no checkpoint signed by this key"),
        ("gateway.1.jsonl", "there is no checkpoint signed by this key"),
    ] == unsigned
    assert [] == what(path)


def test_a_worker_may_have_had_nothing_to_do(log: Path) -> None:
    """An empty chain that nobody stated is no problem; an emptied one is."""
    worker_file(log, 3).touch()
    fine = what(log)
    worker_file(log, 2).write_bytes(b"")

    assert [] == fine
    assert [("gateway.2.jsonl", "the chain ends at line number 0, but line number 8 was stated")] == what(log)


def test_a_stranger_s_chain_is_found(log: Path) -> None:
    """A file that no worker wrote has no signature and no statement."""
    records(worker_file(log, 9), 2, signer=None)

    assert [("gateway.9.jsonl", "there is no checkpoint signed by this key")] == what(log)


def test_full_files_belong_to_their_chain(tmp_path: Path) -> None:
    """Set aside and pruned as those of one chain; a chain of which only full files are left is missing."""
    path = tmp_path / "gateway.jsonl"
    for _ in range(3):
        chain = AuditLog(worker_file(path, 1), clock=ManualClock(), signer=SIGNER, max_bytes=1)
        chain.append(b'{"n":1}')
        assert chain.close()
        state(path)
    whole = verify_log(path, PUBLIC)
    full = sorted(tmp_path.glob("gateway.1.jsonl.0*"))
    full[0].unlink()
    pruned = what(path, is_pruned=True)
    not_declared = what(path)
    worker_file(path, 1).unlink()

    assert whole.is_intact
    assert ([], True) == (pruned, bool(not_declared))
    assert end_of(worker_file(path, 1)).seq == whole.chains["gateway.1.jsonl"].last
    assert [("gateway.1.jsonl", "the file of this worker's chain is missing")] == what(path, is_pruned=True)


def test_where_a_dead_chain_ends(tmp_path: Path) -> None:
    """At its last whole line; torn bytes are none, a damaged line is said, no line is no end."""
    path = tmp_path / "gateway.1.jsonl"
    nothing = end_of(path)
    head = records(path, 2)
    with path.open("ab") as file:
        file.write(b'{"seq":4,"pr')
    torn = end_of(path)
    path.write_bytes(path.read_bytes().replace(b'"n":1', b'"n":2') + b"\n")

    assert (Head(), head) == (nothing, torn)
    with pytest.raises(ChainBroken):
        end_of(path)
    path.write_bytes(b"x" * 300_000)
    with pytest.raises(ChainBroken, match="does not end in a line"):
        end_of(path)


def test_a_ledger_says_what_happened(tmp_path: Path) -> None:
    """Notes and statement in one write, signed; nothing is written when there is nothing to say."""
    path = tmp_path / "gateway.jsonl"
    head = records(worker_file(path, 1), 1)
    ledger = Ledger(path, clock=ManualClock(), signer=SIGNER)
    ledger.write({})
    empty = path.read_bytes()
    ledger.note("worker-lost", worker=1, why="signal 9")
    due = [ledger.is_due({})]
    ledger.write({"gateway.1.jsonl": head, "gateway.2.jsonl": Head()})
    due += [ledger.is_due({"gateway.1.jsonl": head, "gateway.2.jsonl": Head()}), ledger.is_due({})]
    ledger.close()
    lines = [parse(line) for line in path.read_bytes().splitlines(keepends=True)]
    said = [msgspec.json.decode(line.payload) for line in lines]

    assert b"" == empty
    assert [True, False, True] == due
    assert [Kind.EVENT, Kind.EVENT, Kind.CHECKPOINT] == [line.kind for line in lines]
    assert ("worker-lost", 1, "signal 9") == (said[0]["event"], said[0]["worker"], said[0]["why"])
    assert [{"file": "gateway.1.jsonl", "seq": 2, "hash": head.hash.hex()}] == said[1]["chains"]


def test_a_ledger_is_a_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Locked, continued and set aside like one; what could not be written is written later."""
    path = tmp_path / "gateway.jsonl"
    records(path, 2)
    ledger = Ledger(path, clock=ManualClock(), max_bytes=1)
    with pytest.raises(AuditBroken, match="another process"):
        Ledger(path, clock=ManualClock())
    ledger.note("worker-lost", worker=1)
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(OSError, match="No space"):
            ledger.write({})
    ledger.write({})
    ledger.close()
    report = verify_log(path)

    assert (True, 4, 1) == (report.is_intact, report.chains[path.name].last, report.chains[path.name].events)
    assert b"" == path.read_bytes()


def test_names_of_chains(tmp_path: Path) -> None:
    """By number; other files beside a log are none of its chains."""
    path = tmp_path / "gateway.jsonl"
    for name in (
        "gateway.10.jsonl",
        "gateway.2.jsonl",
        "gateway.02.jsonl",
        "gateway.2.jsonl.lock",
        "gateway.2.jsonl.torn-7",
        "gateway.jsonl.000000000007",
        "gateway.3.jsonl.000000000007",
        "other.1.jsonl",
        "gateway.x.jsonl",
    ):
        (tmp_path / name).touch()

    assert ["gateway.2.jsonl", "gateway.3.jsonl", "gateway.10.jsonl"] == [
        file.name for file in worker_files(path)
    ]
    assert "log.4" == worker_file(tmp_path / "log", 4).name

"""Several chains as one log: what is written, and what is found when somebody touched it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from gateway.observe import verify_log as module
from gateway.observe.audit import AuditLog, Signer
from gateway.observe.chain import ChainBroken, Head, Kind, link, parse
from gateway.observe.chains import STARTED, end_of, worker_file, worker_files
from gateway.observe.journal import AuditBroken, full_files
from gateway.observe.ledger import Ledger
from gateway.observe.verify import verify
from gateway.observe.verify_log import verify_log
from tests.unit.observe.exchanges import ManualClock
from tests.unit.observe.test_audit import KEY

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.observe.verify import Report

PUBLIC = KEY.public_key()
SIGNER = Signer(KEY, "k")
NO_WORKERS = "this is a worker's chain, but the gateway's chain says nothing of workers"
LATE = "it ends long before the workers' chains: something was cut off, or this is another chain"


def records(path: Path, count: int, *, signer: Signer | None = SIGNER, **options: Any) -> Head:
    """Append records to a chain; return where it ends."""
    log = AuditLog(path, **{"clock": ManualClock(), "signer": signer} | options)
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
    """Without workers nothing is different; a worker's file that was never written to is no chain."""
    path = tmp_path / "gateway.jsonl"
    records(path, 2)
    worker_file(path, 1).touch()
    report = verify_log(path, PUBLIC)

    assert (True, 2, 0) == (report.is_intact, len(report.chains), report.statements)


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
        ("gateway.1.jsonl", NO_WORKERS),
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


def test_a_forged_statement_vouches_for_nothing(log: Path) -> None:
    """Who can write, but not sign, adds one: for a chain that never was, and over a signed one."""
    records(worker_file(log, 9), 2, signer=None)
    state(log, signer=None)
    invented = what(log)
    file = worker_file(log, 1)
    file.unlink()
    for _ in range(2):  # ends at lines 4 and 8, as what is stated and signed
        records(file, 4, signer=None)
        state(log, signer=None)

    assert [("gateway.9.jsonl", "there is no checkpoint signed by this key")] == invented
    assert {
        ("gateway.jsonl", "line number 4 of gateway.1.jsonl was stated before, as another line"),
        ("gateway.jsonl", "line number 8 of gateway.1.jsonl was stated before, as another line"),
        ("gateway.1.jsonl", "this is not the line that was stated for its number"),
        ("gateway.9.jsonl", "there is no checkpoint signed by this key"),
    } == set(what(log))


def test_an_added_statement_does_not_count(log: Path) -> None:
    """Nobody has signed it, so nobody can rely on it; a restart goes on behind it and signs."""
    state(log, signer=None)
    counts = [verify_log(log, PUBLIC).statements, verify_log(log).statements]
    state(log)

    assert [2, 3, 4] == [*counts, verify_log(log, PUBLIC).statements]


@pytest.mark.parametrize("name", ["", ".", "../gateway.1.jsonl", "/dev/null", "gateway.jsonl"])
def test_a_statement_opens_no_file(log: Path, name: str) -> None:
    """Whatever name it gives: only what lies there as a worker's chain is read."""
    ledger = Ledger(log, clock=ManualClock())
    ledger.write({name: Head(1)})
    ledger.close()

    assert [(name, "the file of this worker's chain is missing")] == what(log)


def test_a_statement_of_another_format_is_no_other_event(log: Path) -> None:
    """What it says is unknown, so nothing is proven."""
    ledger = Ledger(log, clock=ManualClock(), signer=SIGNER)
    ledger.note("chains", more=1)
    ledger.write({})
    ledger.close()

    assert [("gateway.jsonl", "this statement cannot be read")] == what(log)


def test_a_chain_that_begins_after_its_statement_is_found(log: Path) -> None:
    """Pruning takes the oldest lines, not those that were stated last: this is another chain's end, or forged."""
    file = worker_file(log, 1)
    file.unlink()
    head = records(file, 20, signer=None)
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(lines[10:]))
    state(log, signer=None)  # and a forged statement of it

    assert 20 == head.seq
    assert [
        ("gateway.1.jsonl", "the chain begins at line number 11, after the last that was stated")
    ] == what(log, is_pruned=True)


@pytest.fixture
def owned(tmp_path: Path) -> Path:
    """A log of two workers whose chains say whose they are, at ten past; they end at a quarter past."""
    path = tmp_path / "gateway.jsonl"
    for at in (600.0, 900.0):
        for number in (1, 2):
            records(worker_file(path, number), 3, clock=ManualClock(at), is_worker=True)
        ledger = Ledger(path, clock=ManualClock(at), signer=SIGNER)
        ledger.note(STARTED)
        ledger.write({file.name: end_of(file) for file in worker_files(path)})
        ledger.close()
    return path


def test_each_file_of_a_worker_says_whose_it_is(tmp_path: Path) -> None:
    """The first line and after every rotation, signed at once; so it is proven before anything is stated."""
    path = worker_file(tmp_path / "gateway.jsonl", 1)
    chain = AuditLog(path, clock=ManualClock(), signer=SIGNER, max_bytes=500, is_worker=True)
    for number in range(3):
        chain.append(b'{"n":%d}' % number)
        assert chain._write([chain._spool._lines.popleft()])
    firsts = [parse(file.read_bytes().splitlines(keepends=True)[0]) for file in full_files(path)]

    assert chain.close()
    assert 3 == len(firsts)
    assert {b'{"event":"worker","file":"gateway.1.jsonl"}'} == {line.payload for line in firsts}
    assert (0, True) == ((report := verify(path, PUBLIC)).unsigned, report.is_intact)


def test_a_worker_s_chain_is_no_gateway_s(owned: Path) -> None:
    """Put in its place it hides the statements, and with them the others."""
    fine = what(owned)
    owned.write_bytes(worker_file(owned, 1).read_bytes())
    beside = what(owned)
    for number in (1, 2):
        worker_file(owned, number).unlink()

    assert [] == fine
    is_worker = ("gateway.jsonl", "this is the chain of a worker, not the gateway's")
    assert [is_worker, is_worker, ("gateway.1.jsonl", NO_WORKERS), ("gateway.2.jsonl", NO_WORKERS)] == beside
    assert [is_worker, is_worker] == what(owned)


def test_exchanged_chains_that_nobody_stated_are_found(tmp_path: Path) -> None:
    """Each says whose it is."""
    path = tmp_path / "gateway.jsonl"
    ledger = Ledger(path, clock=ManualClock(), signer=SIGNER)
    ledger.note(STARTED)
    ledger.write({})
    ledger.close()
    for number in (1, 2):
        records(worker_file(path, number), 3, is_worker=True)
    fine = what(path)
    worker_file(path, 1).rename(tmp_path / "held")
    worker_file(path, 2).rename(worker_file(path, 1))
    (tmp_path / "held").rename(worker_file(path, 2))

    assert [] == fine
    other = "this is the chain of another worker"
    assert [("gateway.1.jsonl", other), ("gateway.2.jsonl", other)] == what(path)


@pytest.mark.parametrize("payload", [b'{"event":"worker"}', b'{"event":"worker","file":1}'])
def test_an_owner_that_is_none_is_another(owned: Path, payload: bytes) -> None:
    """Whatever an event of that name says, it must say whose chain it is."""
    file = worker_file(owned, 1)
    with file.open("ab") as chain:
        chain.write(link(end_of(file), Kind.EVENT, payload)[1])

    assert [("gateway.1.jsonl", "this is the chain of another worker")] == what(owned)


def test_a_start_that_nobody_signed_is_none(owned: Path) -> None:
    """Another chain of this gateway, with a forged word about workers: it does not hide what was stated."""
    owned.unlink()
    records(owned, 1, clock=ManualClock(900.0))
    ledger = Ledger(owned, clock=ManualClock(900.0))
    ledger.note(STARTED)
    ledger.write({})
    ledger.close()

    assert [("gateway.1.jsonl", NO_WORKERS), ("gateway.2.jsonl", NO_WORKERS)] == what(owned)


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        (Kind.EVENT, b"[]"),
        (Kind.EVENT, b'{"event":1}'),
        (Kind.RECORD, b'{"event":"worker","file":"gateway.9.jsonl"}'),
        (Kind.ACTION, b'{"event":"worker","file":"gateway.9.jsonl"}'),
    ],
)
def test_other_lines_say_nothing_about_chains(owned: Path, kind: Kind, payload: bytes) -> None:
    """Neither events that are none of ours, nor what a client or an operator may have a part in."""
    for file in (owned, worker_file(owned, 1)):
        with file.open("ab") as chain:
            chain.write(link(end_of(file), kind, payload)[1])

    assert [] == what(owned)


def test_a_gateway_s_chain_cut_at_a_checkpoint_is_found(owned: Path) -> None:
    """So that what was stated later is not looked up; but workers were heard long after it."""
    owned.write_bytes(b"".join(owned.read_bytes().splitlines(keepends=True)[:3]))
    at_five_minutes = what(owned)
    records(worker_file(owned, 2), 1, clock=ManualClock(901.0), is_worker=True)

    assert [] == at_five_minutes  # no more is promised: a statement may be as old
    assert [("gateway.jsonl", LATE)] == what(owned)
    assert [("gateway.jsonl", LATE)] == what(owned, is_signed=False)


def test_a_log_that_goes_on_while_it_is_read_is_intact(owned: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers' chains are long: by their end the supervisor has signed once more."""
    begun: list[Path] = []

    def read(path: Path, *args: Any, **options: Any) -> Report:
        if path == worker_file(owned, 1) and not begun:
            begun.append(path)
            records(path, 1, clock=ManualClock(1800.0), is_worker=True)
            ledger = Ledger(owned, clock=ManualClock(1810.0), signer=SIGNER)
            ledger.note("worker-lost", worker=1)
            ledger.write({})
            ledger.close()
        return verify(path, *args, **options)

    monkeypatch.setattr(module, "verify", read)

    assert [] == what(owned)
    assert begun


@pytest.mark.parametrize("time", ["yesterday", "2023-11-14T22:13:20", "9999-99-99T00:00:00Z", None])
def test_a_checkpoint_without_a_time_is_none(log: Path, time: str | None) -> None:
    """Without a key anybody can write one: it is judged, and raises nothing."""
    file = worker_file(log, 1)
    with file.open("ab") as chain:
        payload = msgspec.json.encode({"time": time, "key": "k", "signature": ""})
        chain.write(link(end_of(file), Kind.CHECKPOINT, payload)[1])

    assert [] == what(log, is_signed=False)
    assert [("gateway.1.jsonl", "the checkpoint is not signed by this key")] == what(log)


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

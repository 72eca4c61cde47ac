"""The audit log: what it promises about tampering."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from gateway.observe import verify as module
from gateway.observe.audit import Signer
from gateway.observe.chain import MAX_LINE, ChainBroken, Head, Kind, follow, link, parse, sign
from gateway.observe.journal import full_files
from gateway.observe.verify import verify
from tests.unit.observe.test_audit import KEY, filled

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SIGNER = Signer(KEY, "audit-1")
PUBLIC = KEY.public_key()


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """Eight lines: two checkpoints, and records around them."""
    path = tmp_path_factory.mktemp("audit") / "a.jsonl"
    filled(path, 3, signer=SIGNER)
    filled(path, 3, signer=SIGNER)
    return path.read_bytes().splitlines(keepends=True)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where the tampered log goes."""
    return tmp_path / "a.jsonl"


def check(path: Path, lines: list[bytes], **options: bool) -> list[tuple[int, str]]:
    """Write lines and return what verification finds."""
    path.write_bytes(b"".join(lines))
    return [(problem.line, problem.what) for problem in verify(path, PUBLIC, **options).problems or ()]


def test_an_untouched_log_is_intact(path: Path, log: list[bytes]) -> None:
    """The ground that the other tests stand on."""
    assert [] == check(path, log)


MOVED = "line number {} stands where {} must stand"


@pytest.mark.parametrize(
    ("tamper", "expected"),
    [
        (lambda x: [*x[:1], *x[2:]], [(2, MOVED.format(3, 2))]),
        (lambda x: x[1:], [(1, MOVED.format(2, 1))]),
        (
            lambda x: [x[0], x[2], x[1], *x[3:]],
            [(2, MOVED.format(3, 2)), (3, MOVED.format(2, 4)), (4, MOVED.format(4, 3))],
        ),
        (lambda x: [x[0], x[0], *x[1:]], [(2, MOVED.format(1, 2))]),
        (lambda x: [*x[:2], b"\n", *x[2:]], [(3, "this is not a line of an audit log")]),
        (lambda x: [*x[:2], b"{}\n", *x[2:]], [(3, "this is not a line of an audit log")]),
        (
            lambda x: [*x[:2], x[2].replace(b'"2"', b'"9"'), *x[3:]],
            [(3, "the content does not fit its hash")],
        ),
        (lambda x: [x[0][:-1] + b" \n", *x[1:]], [(1, "the content does not fit its hash")]),
    ],
    ids=["deleted", "first deleted", "swapped", "repeated", "empty", "other", "edited", "space"],
)
def test_tampering_is_found_where_it_is(
    path: Path,
    log: list[bytes],
    tamper: Callable[[list[bytes]], list[bytes]],
    expected: list[tuple[int, str]],
) -> None:
    """Each with the number of the line, and without its content."""
    assert expected == check(path, tamper(log))


@given(data=st.data())
def test_any_single_byte_edit_is_found(
    log: list[bytes], tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Whatever it is: the chain alone finds it, without a key. Without its end the last line is just cut off."""
    content = bytearray(b"".join(log))
    place = data.draw(st.integers(0, len(content) - 2))
    content[place] = data.draw(st.integers(0, 255).filter(lambda byte: byte != content[place]))
    path = tmp_path_factory.mktemp("edit") / "a.jsonl"
    path.write_bytes(content)

    assert not verify(path).is_intact


@given(data=st.data())
def test_any_removed_or_inserted_run_is_found(
    log: list[bytes], tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Runs of lines from the middle; only a tail can be cut, and only what no checkpoint covers."""
    start = data.draw(st.integers(0, len(log) - 2))
    stop = data.draw(st.integers(start + 1, len(log) - 1))
    path = tmp_path_factory.mktemp("cut") / "a.jsonl"
    path.write_bytes(b"".join(log[:start] + log[stop:]))

    assert not verify(path).is_intact


def forged(count: int, key: Ed25519PrivateKey | None = None) -> list[bytes]:
    """Write a log with a chain of its own, as somebody with the disk could."""
    head, lines = Head(), []
    for number in range(count):
        head, line = link(head, Kind.RECORD, b'{"id":"forged %d"}' % number)
        lines.append(line)
    if key is not None:
        head, line = link(head, Kind.CHECKPOINT, sign(head, "2026-01-01T00:00:00Z", key, "audit-1"))
        lines.append(line)
    return lines


def test_a_rewritten_log_has_no_checkpoint(path: Path) -> None:
    """The chain fits; the key says that it is not ours."""
    assert [(0, "there is no checkpoint signed by this key")] == check(path, forged(3))
    assert verify(path).is_intact


def test_a_checkpoint_of_another_key_is_found(path: Path) -> None:
    """Whoever signs needs our key."""
    expected = [
        (4, "the checkpoint is not signed by this key"),
        (0, "there is no checkpoint signed by this key"),
    ]

    assert expected == check(path, forged(3, Ed25519PrivateKey.generate()))


@pytest.mark.parametrize("payload", [b"{}", b"[]", b'{"time":"x","key":"k","signature":"*"}', b"{"])
def test_a_checkpoint_that_is_none_is_found(path: Path, payload: bytes) -> None:
    """Whatever its payload is, it is a problem, not an exception."""
    _, line = link(Head(), Kind.CHECKPOINT, payload)

    assert (1, "the checkpoint is not signed by this key") == check(path, [line])[0]


def test_old_signatures_cannot_be_replayed(path: Path, log: list[bytes]) -> None:
    """A checkpoint covers its place: moved to another chain it is worth nothing."""
    lines = forged(3)
    head = parse(lines[-1]).head
    _, line = link(head, Kind.CHECKPOINT, parse(log[3]).payload)

    assert (4, "the checkpoint is not signed by this key") == check(path, [*lines, line])[0]


def test_truncation_shows_as_unsigned_lines_or_a_smaller_number(path: Path, log: list[bytes]) -> None:
    """What the file alone cannot prove is reported as a number to compare."""
    path.write_bytes(b"".join(log[:6]))
    report = verify(path, PUBLIC)

    assert (True, 6, 2, 1) == (report.is_intact, report.last, report.unsigned, report.checkpoints)


def test_a_pruned_log_must_be_declared(path: Path, log: list[bytes]) -> None:
    """Deleting the oldest files is tampering unless the reader says otherwise."""
    assert [] != check(path, log[4:])
    assert [] == check(path, log[4:], is_pruned=True)


def test_an_empty_log_is_not_intact(path: Path) -> None:
    """Emptying the file is the simplest truncation."""
    path.touch()

    assert ["the log is empty"] == [problem.what for problem in verify(path).problems or ()]


def test_full_files_are_part_of_the_log(path: Path) -> None:
    """Deleting or editing one in the middle is found, by its name."""
    for _ in range(3):
        filled(path, 1, max_bytes=100)
    middle = path.with_name("a.jsonl.000000000002")
    middle.unlink()
    problem = (verify(path).problems or [])[0]

    assert ("a.jsonl.000000000003", 1, MOVED.format(3, 2)) == (problem.file, problem.line, problem.what)


def test_a_line_that_is_not_finished_is_none(path: Path, log: list[bytes]) -> None:
    """Being written, or torn by a crash, at the very end: said, not counted. Anywhere else it is damage."""
    path.write_bytes(b"".join(log)[:-1])
    report = verify(path, PUBLIC)
    path.rename(path.with_name("a.jsonl.000000000008"))
    path.touch()
    inside = [(problem.line, problem.what) for problem in verify(path, PUBLIC).problems or ()]
    path.write_bytes(b"".join(log) + b"x" * (MAX_LINE + 1))
    path.with_name("a.jsonl.000000000008").unlink()

    assert (True, 7, len(log[-1]) - 1) == (report.is_intact, report.last, report.torn)
    assert [(8, "the content does not fit its hash")] == inside
    assert [9] == [problem.line for problem in verify(path, PUBLIC).problems or ()]  # longer than any line


def test_a_log_that_is_set_aside_meanwhile_is_read_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file that was being written has become a full one, and another one was begun."""
    filled(path, 2, signer=SIGNER)

    def look(asked: Path) -> list[Path]:
        filled(path, 1, signer=SIGNER, max_bytes=1)
        return full_files(asked)

    monkeypatch.setattr(module, "full_files", look)
    report = verify(path, PUBLIC)

    assert (None, 5, 1) == (report.problems or None, report.lines, report.files)


def test_a_log_whose_next_file_is_not_yet_begun_is_read(
    path: Path, log: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its writer has renamed the full one just now. If nobody begins the next one, it is missing."""
    path.with_name("a.jsonl.000000000008").write_bytes(b"".join(log))
    with pytest.raises(FileNotFoundError):
        verify(path)
    monkeypatch.setattr(module.time, "sleep", lambda _: path.touch())

    assert (8, None) == ((report := verify(path)).lines, report.problems or None)


def test_the_number_of_problems_is_bounded(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is no log at all does not fill the terminal."""
    monkeypatch.setattr(module, "MAX_PROBLEMS", 3)
    path.write_bytes(b"x\n" * 1000)

    assert 3 == len(verify(path).problems or ())


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\n",
        b'{"seq":x,"prev":"',
        b'{"seq":' + b"9" * 30 + b',"prev":"',
        b'{"seq":1,"prev":"' + b"0" * 64 + b'","other":{}}',
    ],
)
def test_what_is_no_line_is_refused(line: bytes) -> None:
    """Every shape of garbage is `ChainBroken`, nothing else."""
    with pytest.raises(ChainBroken):
        parse(line)


def test_a_previous_hash_must_be_hexadecimal() -> None:
    """Sixty-four of something else."""
    _, line = link(Head(), Kind.RECORD, b"{}")
    with pytest.raises(ChainBroken, match="malformed"):
        parse(line.replace(b"0" * 64, b"z" * 64))


def test_a_line_of_another_chain_is_refused() -> None:
    """Right number, right hash, wrong ancestors."""
    first, _ = link(Head(), Kind.RECORD, b'{"a":1}')
    other, _ = link(Head(), Kind.RECORD, b'{"a":2}')
    _, line = link(other, Kind.RECORD, b"{}")
    with pytest.raises(ChainBroken, match="does not continue"):
        follow(first, line)


@given(st.binary(max_size=300))
def test_the_parser_is_total(line: bytes) -> None:
    """Random bytes raise `ChainBroken`."""
    with pytest.raises(ChainBroken):
        parse(line)

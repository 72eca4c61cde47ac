"""Proves that an audit log is what was written, or says where it is not.

Finds edited, deleted, inserted and moved lines by the hash chain alone. Who can rewrite the whole file
can also rewrite the chain: that, and a truncation before the last checkpoint that somebody has seen, is
found with the public key of the checkpoints. Lines after the last checkpoint are chained, not yet signed.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, final

import msgspec
from cryptography.exceptions import InvalidSignature

from gateway.observe.chain import (
    MAX_LINE,
    ChainBroken,
    Head,
    Kind,
    Line,
    Signature,
    follow,
    parse,
    signature_bytes,
    signed_bytes,
)
from gateway.observe.journal import full_files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import BinaryIO

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

MAX_PROBLEMS: Final = 100  # enough to know that a log is broken
SET_ASIDE: Final = 0.2  # seconds in which a writer has begun the next file


@final
@dataclass(frozen=True, slots=True)
class Problem:
    """One place where a log is not what was written.

    Args:
        file: Name of the file.
        line: Number of the line in it, from 1.
        what: What is wrong, never the line's content.
    """

    file: str
    line: int
    what: str


@final
@dataclass(slots=True)
class Report:
    """What a verification found.

    Args:
        files: Files read, oldest first.
        lines: Lines read.
        records: Lines that are records of exchanges.
        actions: Lines that say what an operator did.
        events: Lines in which the log speaks about itself (a crash, records lost).
        checkpoints: Checkpoints whose signature was verified; without a key, those that were seen.
        unsigned: Lines after the last checkpoint.
        first: Number of the first line.
        last: Number of the last line.
        torn: Bytes behind the last line end: a line that is being written, or was torn. It counts as none.
        problems: Everything that is wrong.
    """

    files: int = 0
    lines: int = 0
    records: int = 0
    actions: int = 0
    events: int = 0
    checkpoints: int = 0
    unsigned: int = 0
    first: int = 0
    last: int = 0
    torn: int = 0
    problems: list[Problem] | None = None

    @property
    def is_intact(self) -> bool:
        """True if nothing is wrong."""
        return not self.problems


def verify(
    path: Path,
    public_key: Ed25519PublicKey | None = None,
    *,
    is_pruned: bool = False,
    visit: Callable[[Line, str, int], None] | None = None,
    is_part: bool = False,
    is_vouched: bool = False,
) -> Report:
    """Verify one chain: the file given, and the full ones beside it. It may be being written.

    Args:
        path: The file being written; or any one file of a log.
        public_key: Key of the checkpoints; without it only the chain is verified.
        is_pruned: The oldest files were deleted on purpose: the chain may begin at any line.
        visit: Called with each line that fits, the name of its file, and its number there.
        is_part: One of several chains: nothing may have been written to it yet.
        is_vouched: Somebody else has signed where this chain ends: it needs no checkpoint of its own.

    Returns:
        The report; `is_intact` is the verdict.

    Raises:
        OSError: A file cannot be read.
    """
    problems: list[Problem] = []
    report = Report(problems=problems)
    head: Head | None = None if is_pruned else Head()
    for name, number, raw in _lines(path, report):
        report.lines += 1
        try:
            line = parse(raw) if head is None else follow(head, raw)
            if line.kind is Kind.CHECKPOINT and public_key is not None:
                _check_signature(_before(raw, line), line, public_key)
        except ChainBroken as error:
            problems.append(Problem(name, number, str(error)))
            if len(problems) >= MAX_PROBLEMS:
                break
            head = _resynchronise(raw)
            continue
        head = line.head
        _count(report, line)
        if visit is not None:
            visit(line, name, number)
    if is_part and not report.lines:
        return report
    if public_key is not None and not report.checkpoints and not is_vouched:
        problems.append(Problem(path.name, 0, "there is no checkpoint signed by this key"))
    if not report.lines:
        problems.append(Problem(path.name, 0, "the log is empty"))
    return report


def _lines(path: Path, report: Report) -> Iterator[tuple[str, int, bytes]]:
    """Read a chain, oldest file first; what has no line end at the very end is counted, and no line."""
    with _open(path) as current:  # opened before the others are looked up: it may become one of them
        for full in full_files(path):
            with full.open("rb") as file:
                if os.path.samestat(os.fstat(file.fileno()), os.fstat(current.fileno())):
                    break
                report.files += 1
                for number, raw in _read(file):
                    yield full.name, number, raw
        report.files += 1
        for number, raw in _read(current):
            if not raw.endswith(b"\n") and len(raw) <= MAX_LINE:
                report.torn = len(raw)
                return
            yield path.name, number, raw


def _open(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except FileNotFoundError:  # it may have been set aside this very moment, and the next one not begun
        time.sleep(SET_ASIDE)
        return path.open("rb")


def _read(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    number = 0
    while raw := file.readline(MAX_LINE + 1):
        number += 1
        yield number, raw


def _count(report: Report, line: Line) -> None:
    report.first = report.first or line.head.seq
    report.last = line.head.seq
    report.unsigned += 1
    if line.kind is Kind.RECORD:
        report.records += 1
    elif line.kind is Kind.ACTION:
        report.actions += 1
    elif line.kind is Kind.EVENT:
        report.events += 1
    else:
        report.checkpoints += 1
        report.unsigned = 0


def _resynchronise(raw: bytes) -> Head | None:
    """Go on after a broken line: from it if it is whole in itself, else from whatever comes next."""
    try:
        return parse(raw).head
    except ChainBroken:
        return None


def _before(raw: bytes, line: Line) -> Head:
    """Return the head that a line, already checked, continues."""
    start = raw.index(b'"prev":"') + len(b'"prev":"')
    return Head(line.head.seq - 1, bytes.fromhex(raw[start : start + 64].decode()))


def _check_signature(before: Head, line: Line, public_key: Ed25519PublicKey) -> None:
    """Verify a checkpoint.

    Raises:
        ChainBroken: The signature is not by this key over this chain.
    """
    try:
        signed = msgspec.json.decode(line.payload, type=Signature)
        public_key.verify(signature_bytes(signed.signature), signed_bytes(before, signed.time))
    except (msgspec.DecodeError, ValueError, InvalidSignature):
        raise ChainBroken("the checkpoint is not signed by this key") from None

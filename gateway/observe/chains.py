"""The chains of one log: the configured file, one more for each worker beside it, and what holds them.

With several workers each writes a chain of its own; the configured file is the supervisor's, which says
there again and again where every other chain ends, and signs it (a statement). Whoever drops a worker's
file, or its end, must forge the statement too. Decides how files are named and found; verifies nothing.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Final, final

import msgspec

from gateway.observe.chain import MAX_LINE, ChainBroken, Head, parse
from gateway.observe.journal import SEQ_DIGITS, full_files

if TYPE_CHECKING:
    from pathlib import Path

STATEMENT: Final = "chains"
STARTED: Final = "workers-started"
"""Event of a supervisor's chain: from here on there may be chains of workers."""
OWNER: Final = "worker"
"""Event of a worker's chain: whose it is."""


@final
class Pin(msgspec.Struct, forbid_unknown_fields=True):
    """Where one chain ended when it was looked at.

    Args:
        file: Name of its file, without the directory.
        seq: Number of its last line.
        hash: Hash of that line, hexadecimal.
    """

    file: str
    seq: int
    hash: str


@final
class Statement(msgspec.Struct, tag_field="event", tag=STATEMENT, forbid_unknown_fields=True):
    """Payload of the event that says where all chains end; a checkpoint follows and signs it.

    Args:
        time: UTC.
        chains: Every chain that has a line.
    """

    time: str
    chains: list[Pin]


@final
class Owner(msgspec.Struct, tag_field="event", tag=OWNER, forbid_unknown_fields=True):
    """Payload of the event with which every file of a worker's chain begins.

    Args:
        file: Name of the chain's file, without the directory.
    """

    file: str


def worker_file(path: Path, number: int) -> Path:
    """Return the file of one worker's chain: `gateway.2.jsonl` beside `gateway.jsonl`."""
    return path.with_name(f"{path.stem}.{number}{path.suffix}")


def worker_files(path: Path) -> list[Path]:
    """Return the files of all workers' chains that lie beside a log, by number.

    A chain whose current file is gone but whose full files are there is among them.
    """
    stem, suffix = re.escape(path.stem), re.escape(path.suffix)
    pattern = re.compile(rf"{stem}\.([1-9][0-9]{{0,3}}){suffix}(?:\.[0-9]{{{SEQ_DIGITS}}})?\Z")
    found = {int(match[1]) for entry in path.parent.iterdir() if (match := pattern.match(entry.name))}
    return [worker_file(path, number) for number in sorted(found)]


def end_of(path: Path) -> Head:
    """Return where a chain ends that nobody writes to any more; what a crash tore off is no line.

    Everything up to there is on disk when this returns.

    Raises:
        OSError: A file cannot be read.
        ChainBroken: The last line is damaged.
    """
    for file in (path, *reversed(full_files(path))):
        tail = _tail(file)
        whole = tail.rfind(b"\n") + 1
        if whole:
            return parse(tail[tail.rfind(b"\n", 0, whole - 1) + 1 : whole]).head
        if len(tail) > MAX_LINE:
            raise ChainBroken("it does not end in a line")
    return Head()


def _tail(path: Path) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:  # set aside as full, and the next one not begun
        return b""
    try:
        os.fsync(descriptor)
        size = os.fstat(descriptor).st_size
        return os.pread(descriptor, MAX_LINE + 1, max(0, size - MAX_LINE - 1))
    finally:
        os.close(descriptor)

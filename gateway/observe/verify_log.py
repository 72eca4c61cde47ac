"""Proves that a whole log is what was written: every chain of it, and that none is missing.

Each chain is verified as it stands alone; then every end that the supervisor stated for it must be found
in it, line by line. So a worker's file that was dropped, cut, swapped or begun anew shows, even if what is
left of it is a perfect chain. A statement that no checkpoint signs vouches for nothing, and workers cannot
have gone on long after the supervisor's last word: then its chain was cut, or it is not its chain. A log of
a gateway without workers is one chain.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final, final

from gateway.observe.chain import Kind
from gateway.observe.chains import worker_files
from gateway.observe.stated import Stated, owner_of, time_of
from gateway.observe.verify import Problem, Report, verify

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    from gateway.observe.chain import Line
    from gateway.observe.stated import Pins

SILENCE: Final = timedelta(minutes=5)
"""Longest that workers are heard without the supervisor, which signs a statement every minute of work."""


@final
@dataclass(slots=True)
class LogReport:
    """What a verification found.

    Args:
        chains: One report per chain, by the name of its file; the configured file first.
        statements: How often the ends of all chains were stated together; with a key, and signed.
        problems: Everything that is wrong, of all chains.
    """

    chains: dict[str, Report]
    statements: int = 0
    problems: list[Problem] = field(default_factory=list)

    @property
    def is_intact(self) -> bool:
        """True if nothing is wrong."""
        return not self.problems


def verify_log(
    path: Path, public_key: Ed25519PublicKey | None = None, *, is_pruned: bool = False
) -> LogReport:
    """Verify a log: the configured file, and the workers' files beside it. It may be being written.

    Args:
        path: The configured file.
        public_key: Key of the checkpoints; without it only the chains are verified.
        is_pruned: The oldest files were deleted on purpose: chains may begin at any line.

    Raises:
        OSError: A file cannot be read.
    """
    log = LogReport({})
    stated = Stated(log.problems)
    first = verify(path, public_key, is_pruned=is_pruned, visit=stated.take)
    log.chains[path.name] = first
    log.problems += first.problems or ()
    if public_key is None:
        stated.settle()
    log.statements = stated.statements
    newest: datetime | None = None  # of what workers signed
    found = {file.name: file for file in worker_files(path)}
    for name in sorted(found.keys() | stated.pins.keys(), key=lambda name: (len(name), name)):
        missing = Problem(name, 0, "the file of this worker's chain is missing")
        if name not in found:  # a name from a statement, which may be forged: it opens no file
            log.problems.append(missing)
            continue
        worker = _Worker(found[name], stated, log.problems)
        try:
            log.chains[name] = worker.verify(public_key, is_pruned=is_pruned)
        except FileNotFoundError:
            log.problems.append(missing)
        newest = max(filter(None, (newest, worker.signed_at)), default=None)
    if _is_late(newest, stated) and _is_late(newest, _again(path, public_key, is_pruned=is_pruned)):
        what = "it ends long before the workers' chains: something was cut off, or this is another chain"
        log.problems.append(Problem(path.name, 0, what))
    return log


@final
class _Worker:
    """One worker's chain, looked at against what was stated.

    Args:
        path: Its file.
        stated: What the supervisor said.
        problems: Where to say what is wrong.
    """

    def __init__(self, path: Path, stated: Stated, problems: list[Problem]) -> None:
        self.signed_at: datetime | None = None
        self._path = path
        self._pins: Pins = stated.pins.get(path.name, {})
        self._signed = stated.signed.get(path.name, 0)
        self._is_expected = stated.is_supervisor
        self._problems = problems

    def verify(self, public_key: Ed25519PublicKey | None, *, is_pruned: bool) -> Report:
        report = verify(
            self._path,
            public_key,
            is_pruned=is_pruned,
            visit=self._visit,
            is_part=True,
            is_vouched=bool(self._signed),
        )
        self._problems += report.problems or ()
        if report.lines and not self._is_expected:
            self._say("this is a worker's chain, but the gateway's chain says nothing of workers")
        last = max(self._pins, default=0)
        if report.last < last:
            self._say(f"the chain ends at line number {report.last}, but line number {last} was stated")
        elif report.first > self._signed > 0:  # pruned: what the statement is about is not there
            self._say(f"the chain begins at line number {report.first}, after the last that was stated")
        return report

    def _visit(self, line: Line, name: str, number: int) -> None:
        if line.kind is Kind.CHECKPOINT:
            self.signed_at = time_of(line)
        expected = self._pins.get(line.head.seq)
        if expected is not None and expected != line.head.hash.hex():
            self._problems.append(
                Problem(name, number, "this is not the line that was stated for its number")
            )
        if owner_of(line) not in {None, self._path.name}:
            self._problems.append(Problem(name, number, "this is the chain of another worker"))

    def _say(self, what: str) -> None:
        self._problems.append(Problem(self._path.name, 0, what))


def _is_late(newest: datetime | None, stated: Stated) -> bool:
    """Tell whether workers signed something long after the supervisor's last checkpoint."""
    return newest is not None and stated.signed_at is not None and newest - stated.signed_at > SILENCE


def _again(path: Path, public_key: Ed25519PublicKey | None, *, is_pruned: bool) -> Stated:
    """Read the supervisor's chain once more: it went on while the others, which may be long, were read."""
    stated = Stated([])
    verify(path, public_key, is_pruned=is_pruned, visit=stated.take)
    return stated

"""Proves that a whole log is what was written: every chain of it, and that none is missing.

Each chain is verified as it stands alone; then every end that the supervisor stated for it must be found
in it, line by line. So a worker's file that was dropped, cut, swapped or begun anew shows, even if what is
left of it is a perfect chain. A log of a gateway without workers is one chain, and verified as before.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, final

import msgspec

from gateway.observe.chain import Kind
from gateway.observe.chains import Statement, worker_files
from gateway.observe.verify import Problem, Report, verify

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    from gateway.observe.chain import Line

Pins = dict[int, str]  # hash, hexadecimal, by number of the line


@final
@dataclass(slots=True)
class LogReport:
    """What a verification found.

    Args:
        chains: One report per chain, by the name of its file; the configured file first.
        statements: How often the ends of all chains were stated together.
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
    """Verify a log: the configured file, and the workers' files beside it.

    Args:
        path: The configured file.
        public_key: Key of the checkpoints; without it only the chains are verified.
        is_pruned: The oldest files were deleted on purpose: chains may begin at any line.

    Raises:
        OSError: A file cannot be read.
    """
    log = LogReport({})
    stated: dict[str, Pins] = {}

    def collect(line: Line, _name: str, _number: int) -> None:
        if line.kind is Kind.EVENT and _take(line.payload, stated):
            log.statements += 1

    first = verify(path, public_key, is_pruned=is_pruned, visit=collect)
    log.chains[path.name] = first
    log.problems += first.problems or ()
    is_signed = public_key is None or first.checkpoints > 0
    found = {file.name: file for file in worker_files(path)}
    for name in sorted(found.keys() | stated.keys(), key=lambda name: (len(name), name)):
        pins = stated.get(name, {})
        if name not in found or not found[name].exists():
            log.problems.append(Problem(name, 0, "the file of this worker's chain is missing"))
            continue
        log.chains[name] = _verify_worker(found[name], public_key, pins, log, is_pruned, is_signed)
    return log


def _verify_worker(
    path: Path,
    public_key: Ed25519PublicKey | None,
    pins: Pins,
    log: LogReport,
    is_pruned: bool,  # noqa: FBT001 - handed on
    is_signed: bool,  # noqa: FBT001 - handed on
) -> Report:
    check = partial(_check, pins, log.problems)
    report = verify(
        path, public_key, is_pruned=is_pruned, visit=check, is_part=True, is_vouched=is_signed and bool(pins)
    )
    log.problems += report.problems or ()
    last = max(pins, default=0)
    if report.last < last:
        what = f"the chain ends at line number {report.last}, but line number {last} was stated"
        log.problems.append(Problem(path.name, 0, what))
    return report


def _check(pins: Pins, problems: list[Problem], line: Line, name: str, number: int) -> None:
    expected = pins.get(line.head.seq)
    if expected is not None and expected != line.head.hash.hex():
        problems.append(Problem(name, number, "this is not the line that was stated for its number"))


def _take(payload: bytes, stated: dict[str, Pins]) -> bool:
    try:
        statement = msgspec.json.decode(payload, type=Statement)
    except msgspec.DecodeError:
        return False  # another event; the chain vouches for it all the same
    for pin in statement.chains:
        stated.setdefault(pin.file, {})[pin.seq] = pin.hash
    return True

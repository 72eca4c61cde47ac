"""What a supervisor's chain says about the chains of workers, and how much of that is signed.

Whoever can write the file can add a statement at its end, so one counts only from the checkpoint on that
follows it, and the first that names a line counts for ever. Reads lines that are verified; judges no chain.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, final

import msgspec

from gateway.observe.chain import Kind, Signature
from gateway.observe.chains import OWNER, STARTED, STATEMENT, Owner, Statement
from gateway.observe.verify import Problem

if TYPE_CHECKING:
    from gateway.observe.chain import Line

Pins = dict[int, str]  # hash, hexadecimal, by number of the line


_TIME: Final = "%Y-%m-%dT%H:%M:%SZ"


class _Event(msgspec.Struct):
    """Any event; its name is all that they have in common."""

    event: str = ""


@final
class Stated:
    """Collects statements; `take` is called with every line of the configured file.

    Args:
        problems: Where to say what is wrong.
    """

    def __init__(self, problems: list[Problem]) -> None:
        self.pins: dict[str, Pins] = {}
        self.signed: dict[str, int] = {}
        """By file, the last line that a signed statement names."""
        self.statements = 0
        self.is_supervisor = False
        """It is signed that there are workers."""
        self.signed_at: datetime | None = None
        self._problems = problems
        self._waiting = 0
        self._names_workers = False

    def take(self, line: Line, name: str, number: int) -> None:
        """Take the next line.

        Args:
            line: Verified, the signature too if it is a checkpoint.
            name: Of its file.
            number: In that file.
        """
        if line.kind is Kind.CHECKPOINT:
            self.signed_at = time_of(line)
            self.settle()
            return
        event = event_of(line)
        if event == OWNER:
            self._problems.append(Problem(name, number, "this is the chain of a worker, not the gateway's"))
        elif event == STARTED:
            self._names_workers = True
        elif event == STATEMENT:
            self._names_workers = True
            self._waiting += 1
            self._pin(line, name, number)

    def settle(self) -> None:
        """Believe what was taken so far: a checkpoint has signed it, or nobody asks for signatures."""
        self.signed = {file: max(pins) for file, pins in self.pins.items()}
        self.statements += self._waiting
        self._waiting = 0
        self.is_supervisor = self._names_workers

    def _pin(self, line: Line, name: str, number: int) -> None:
        try:
            chains = msgspec.json.decode(line.payload, type=Statement).chains
        except msgspec.DecodeError:
            self._problems.append(Problem(name, number, "this statement cannot be read"))
            return
        for pin in chains:
            if self.pins.setdefault(pin.file, {}).setdefault(pin.seq, pin.hash) != pin.hash:
                what = f"line number {pin.seq} of {pin.file} was stated before, as another line"
                self._problems.append(Problem(name, number, what))


def event_of(line: Line) -> str:
    """Return the name of an event; empty for every other line."""
    if line.kind is not Kind.EVENT:
        return ""
    try:
        return msgspec.json.decode(line.payload, type=_Event).event
    except msgspec.DecodeError:
        return ""


def owner_of(line: Line) -> str | None:
    """Return the file of whose chain a line says it is, None if it says no such thing."""
    if event_of(line) != OWNER:
        return None
    try:
        return msgspec.json.decode(line.payload, type=Owner).file
    except msgspec.DecodeError:
        return ""


def time_of(checkpoint: Line) -> datetime | None:
    """Return when a checkpoint was signed, None if it does not say so."""
    try:
        time = msgspec.json.decode(checkpoint.payload, type=Signature).time
        return datetime.strptime(time, _TIME).replace(tzinfo=UTC)
    except (msgspec.DecodeError, ValueError):
        return None

"""What is wrong with a configuration, in a form that a person likes to read.

Every problem has a place, what stands there, what is wrong with it, and how to mend it. Nothing here
decides what is wrong.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, final

if TYPE_CHECKING:
    from collections.abc import Iterable


@final
@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, or worth a warning.

    Args:
        file: Path of the configuration, as it was given.
        line: Line, from 1; 0 if the problem has no place in the file.
        column: Column in characters, from 1; 0 if there is none.
        text: The offending text; secrets are blotted out.
        message: What is wrong: one sentence, without a full stop.
        mend: How to mend it: one sentence, without a full stop.
        source: The whole line, printable; secrets are blotted out.
    """

    file: str
    line: int
    column: int
    text: str
    message: str
    mend: str
    source: str = ""

    def __str__(self) -> str:
        """Return place, message, line with caret, and mend."""
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        rows = [f"{place}: {self.message}"]
        if self.source.strip():
            number = f"{self.line:>5}"
            width = max(1, min(len(self.text), len(self.source) - self.column + 1))
            rows.append(f"{number} | {self.source}")
            rows.append(f"{' ' * len(number)} | {' ' * (self.column - 1)}{'^' * width}")
        rows.append(f"      = mend: {self.mend}")
        return "\n".join(rows)


@final
class ConfigurationError(Exception):
    """A configuration that must not be run, with everything that is wrong with it.

    Args:
        problems: At least one.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda problem: (problem.line, problem.column)))
        super().__init__(self.problems)

    def __str__(self) -> str:
        """Return the report: one paragraph per problem, in the order of the file, then the count."""
        count = len(self.problems)
        total = "1 problem" if count == 1 else f"{count} problems"
        return "\n\n".join([*map(str, self.problems), f"{total}; nothing was started"])

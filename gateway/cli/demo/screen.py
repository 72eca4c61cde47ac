"""How the demo looks: a few styles where standard output is a terminal, plain text elsewhere."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final, TextIO, final

if TYPE_CHECKING:
    from collections.abc import Iterable

WIDTH: Final = 100
BOLD, DIM, RED, GREEN, CYAN = "1", "2", "31", "32", "36"
ASKED, WANTED, GOT = 46, 30, 44  # columns of the table


def printable(text: str) -> str:
    """Make text from a model or a server safe to show: no control characters but line ends."""
    return "".join(one if one.isprintable() or one == "\n" else "?" for one in text)


@final
class Screen:
    """Prints the demo.

    Args:
        out: Where to.
    """

    __slots__ = ("_has_colour", "_out")

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = sys.stdout if out is None else out
        self._has_colour = self._out.isatty()

    def style(self, text: str, *codes: str) -> str:
        """Wrap text in terminal codes, if there is a terminal."""
        return f"\x1b[{';'.join(codes)}m{text}\x1b[0m" if self._has_colour else text

    def write(self, text: str) -> None:
        """Write a piece of text as it comes, controls removed."""
        self._out.write(printable(text))
        self._out.flush()

    def line(self, text: str = "", *codes: str) -> None:
        """Write one line."""
        self._out.write((self.style(text, *codes) if codes else text) + "\n")
        self._out.flush()

    def title(self, text: str) -> None:
        """Begin a part."""
        self.line()
        self.line(f"── {text} ".ljust(WIDTH, "─"), BOLD, CYAN)

    def step(self, what: str, detail: str) -> None:
        """Say that something was made or started."""
        self.line(f"  {self.style('✓', GREEN)} {what:<26} {self.style(detail, DIM)}")

    def heads(self) -> None:
        """Write the table's head."""
        self.line(f"    {'what we tried':<{ASKED}}{'must be':<{WANTED}}what came back", DIM)

    def row(self, asked: str, wanted: str, got: str, *, is_right: bool) -> None:
        """Write one row of the table."""
        tick = self.style("✓", GREEN, BOLD) if is_right else self.style("✗", RED, BOLD)
        self.line(f"  {tick} {asked:<{ASKED}}{wanted:<{WANTED}}{printable(got)}")

    def commands(self, explained: Iterable[tuple[str, str]]) -> None:
        """Write commands to try, each under one line that says what it does; not indented, to be pasted."""
        for what, command in explained:
            self.line(f"# {what}", DIM)
            self.line(command)
            self.line()

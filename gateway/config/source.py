"""The text of one configuration file, and where things stand in it.

Turns places into problems. Secrets that were wrongly written into the file never leave it: the lines
that problems show have them blotted out.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple, final

from gateway.config.errors import Problem

Path = tuple[str | int, ...]

# YAML's line breaks, as the parser counts them
BREAKS: Final = re.compile("\r\n|[\r\n\x85\u2028\u2029]")
# a literal under a key that sounds like a secret, and passwords in URLs
SECRETS: Final = (
    re.compile(
        r"""(?i)\w*(?:pas+w|secret|credential|token(?!s\b))\w*["']?\s*:\s+"""
        r"""(?!["']?(?:file|env):|[\[{|>]|null\b|secret\s*:)("[^"]*"?|'[^']*'?|[^,}\s][^,}#]*)"""
    ),
    re.compile(r"://[^\s/@:]*:([^\s/@]+)@"),
)


class Mark(NamedTuple):
    """A stretch of one line.

    Args:
        line: From 1; 0 for no place.
        column: First character, from 1.
        end: One behind the last character.
    """

    line: int
    column: int
    end: int


NOWHERE: Final = Mark(0, 0, 0)


def blot(line: str) -> str:
    """Return a line with secrets and what cannot be printed replaced, at its old length.

    Args:
        line: One line of the file, which is not trusted to be harmless on a terminal.

    Returns:
        As many printable characters.
    """
    for pattern in SECRETS:
        for found in pattern.finditer(line):
            start, end = found.span(1)
            line = line[:start] + "*" * (end - start) + line[end:]
    return printable(line)


def printable(text: str) -> str:
    """Replace what a terminal could take for a command."""
    return "".join(character if character.isprintable() else " " for character in text)


@final
class Source:
    """One file's lines and the places of its keys and values.

    Args:
        file: Path as it was given.
        text: The whole text; "" if it could not be read.
    """

    __slots__ = ("file", "keys", "lines", "values")

    def __init__(self, file: str, text: str = "") -> None:
        self.file = file
        self.lines = BREAKS.split(text.removeprefix("\ufeff"))
        self.keys: dict[Path, Mark] = {}
        self.values: dict[Path, Mark] = {}

    def problem(self, mark: Mark, message: str, mend: str) -> Problem:
        """Return the problem that stands at a mark."""
        line = blot(self.lines[mark.line - 1]) if 0 < mark.line <= len(self.lines) else ""
        text = line[mark.column - 1 : mark.end - 1] if mark.line else ""
        return Problem(self.file, mark.line, mark.column, text, printable(message), printable(mend), line)

    def find(self, path: Path, *, is_key: bool = False) -> Mark:
        """Return where a path stands, or where its nearest ancestor does.

        Args:
            path: Keys and indices from the root.
            is_key: Point at the key itself rather than at its value.
        """
        preferred, other = (self.keys, self.values) if is_key else (self.values, self.keys)
        for length in range(len(path), 0, -1):
            part = path[:length]
            mark = preferred.get(part) or other.get(part)
            if mark is not None:
                return mark
        return self.values.get((), NOWHERE)

"""Model names in rules: literal names, and patterns in which `*` stands for any text without `/`.

Anchored, case-sensitive, without any other special character, and linear in the name's length:
the name comes from the client. No Unicode folding: two names that look alike are two names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_REMEMBERED: Final = 512  # names per set; then all are forgotten
MAX_NAME: Final = 256  # characters; a longer name is looked up every time: memory is not the client's


@final
class ModelSet:
    """A set of model names, as a rule gives it.

    Args:
        patterns: Literal names and patterns.
    """

    __slots__ = ("_globs", "_known", "_literals", "patterns")

    def __init__(self, patterns: Iterable[str]) -> None:
        self.patterns = tuple(patterns)
        self._literals = frozenset([p for p in self.patterns if "*" not in p])
        self._globs = tuple([_split(p) for p in self.patterns if "*" in p])
        self._known: dict[str, bool] = {}

    def __contains__(self, name: str) -> bool:
        if name in self._literals:
            return True
        if not self._globs:
            return False
        known = self._known.get(name)
        return self._look(name) if known is None else known

    def _look(self, name: str) -> bool:
        segments = name.split("/")
        found = any(_is_match(glob, segments) for glob in self._globs)
        if len(name) <= MAX_NAME:
            if len(self._known) >= MAX_REMEMBERED:
                self._known.clear()
            self._known[name] = found
        return found

    def covers(self, other: ModelSet) -> bool:
        """Tell whether every name in `other` is surely in this set; False if that is not plain."""
        return all(p in self.patterns or ("*" not in p and p in self) for p in other.patterns)


def _split(pattern: str) -> tuple[tuple[str, ...], ...]:
    """Split a pattern into segments, each into the texts between its stars."""
    return tuple(tuple(segment.split("*")) for segment in pattern.split("/"))


def _is_match(glob: tuple[tuple[str, ...], ...], segments: list[str]) -> bool:
    return len(glob) == len(segments) and all(
        _is_segment(parts, segment) for parts, segment in zip(glob, segments, strict=True)
    )


def _is_segment(parts: tuple[str, ...], segment: str) -> bool:
    """Match greedily from the left: with `*` as the only wildcard the first fit is as good as any."""
    first, last = parts[0], parts[-1]
    if len(parts) == 1:
        return segment == first
    if len(segment) < len(first) + len(last) or not segment.startswith(first) or not segment.endswith(last):
        return False
    at, end = len(first), len(segment) - len(last)
    for part in parts[1:-1]:
        at = segment.find(part, at, end)
        if at < 0:
            return False
        at += len(part)
    return True

"""Validates what is sound of a broken configuration, so that all its errors can be reported at once.

What is wrong is cut out, smallest piece first, until the rest is valid. The rest is for finding more
problems only: it is never run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, final

from pydantic import ValidationError

from gateway.config.schema import Settings
from gateway.config.translate import steps, translate

if TYPE_CHECKING:
    from pathlib import Path as FilePath

    from pydantic_core import ErrorDetails

    from gateway.config.document import Document, Tree
    from gateway.config.errors import Problem
    from gateway.config.source import Path

MAX_ROUNDS: Final = 16  # every round cuts at least one level higher; the reader allows 16 levels


@final
@dataclass(frozen=True, slots=True)
class Partial:
    """The sound part of a document.

    Args:
        settings: Valid settings, or None if nothing sensible is left.
        cut: Paths, in the file, of what was cut out.
        problems: Everything that the schema refuses.
    """

    settings: Settings | None
    cut: frozenset[Path]
    problems: tuple[Problem, ...]

    def origin(self, path: Path) -> Path:
        """Return where a path in `settings` stands in the file: cut list entries shift the others."""
        found: list[str | int] = []
        for step in path:
            index = step
            if isinstance(step, int):
                here = tuple(found)
                gone = sorted(
                    last for *head, last in self.cut if tuple(head) == here and isinstance(last, int)
                )
                for last in gone:
                    index = index + 1 if isinstance(index, int) and last <= index else index
            found.append(index)
        return tuple(found)


def validate(document: Document, directory: FilePath) -> Partial:
    """Validate a document as far as it goes.

    Args:
        document: What the file says.
        directory: What relative paths in it are relative to.

    Returns:
        The sound part; it is everything if nothing was cut and there are no problems.
    """
    cut = set(document.broken)
    problems: dict[tuple[Path, str], Problem] = {}
    for round_ in range(MAX_ROUNDS):
        if () in cut:
            break
        rest = Partial(None, frozenset(cut), ())
        try:
            settings = Settings.model_validate(prune(document.tree, cut), context={"directory": directory})
        except ValidationError as fault:
            for error in _genuine(fault):
                location = rest.origin(error["loc"])
                known = steps(location, document.tree)
                if not round_ and not _is_under(known, document.broken):
                    path, problem = translate({**error, "loc": location}, document.source, document.tree)
                    problems.setdefault((path, problem.message), problem)
                cut.add(known[:-1] if error["type"] == "missing" or known in cut else known)
            continue
        return Partial(settings, frozenset(cut), tuple(problems.values()))
    return Partial(None, frozenset(cut), tuple(problems.values()))


def _genuine(fault: ValidationError) -> list[ErrorDetails]:
    """Leave out what pydantic says about a list because it has dropped the list's broken entries."""
    errors = fault.errors()
    return [error for error in errors if error["type"] != "too_short" or not error["input"]] or errors


def _is_under(path: Path, roots: set[Path]) -> bool:
    return any(path[: len(root)] == root for root in roots)


def prune(tree: Tree, cut: set[Path], path: Path = ()) -> Tree:
    """Return a tree without the given paths."""
    if isinstance(tree, dict):
        items = ((key, value) for key, value in tree.items() if (*path, key) not in cut)
        return {key: prune(value, cut, (*path, key)) for key, value in items}
    if isinstance(tree, tuple):
        values = ((index, value) for index, value in enumerate(tree) if (*path, index) not in cut)
        return tuple(prune(value, cut, (*path, index)) for index, value in values)
    return tree

"""What a configuration file says, as far as it could be read: plain values, and where they stand."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias, final

if TYPE_CHECKING:
    from gateway.config.errors import Problem
    from gateway.config.source import Path, Source

Tree: TypeAlias = "bool | int | float | str | tuple[Tree, ...] | dict[str, Tree] | None"


class UnreadableError(Exception):
    """The text is no YAML at all, or breaks a bound: nothing after the place is known.

    Args:
        problem: What and where.
    """

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


@final
class Document:
    """What a file says.

    Args:
        source: Where everything stands.

    Attributes:
        tree: The content; None if there is none.
        problems: What is wrong so far.
        broken: Paths whose value is not usable: already reported.
    """

    __slots__ = ("broken", "problems", "source", "tree")

    def __init__(self, source: Source) -> None:
        self.source = source
        self.tree: Tree = None
        self.problems: list[Problem] = []
        self.broken: set[Path] = set()

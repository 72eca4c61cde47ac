"""What a compilation is made of, kept by what it was made from: what has not changed is taken over as it is.

A part that is taken over goes on as if nothing had happened: keys that were fetched, connections, caches,
what is remembered of tokens and challenges. Compares settings, secrets and contents of files, never dates.
Decides nothing about what a part does; the compilers say what each depends on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar, cast, final

if TYPE_CHECKING:
    from collections.abc import Callable

Made = TypeVar("Made")


@final
class Parts:
    """The parts of one compilation.

    Args:
        held: Those of the compilation that runs; None: there is none.

    Attributes:
        made: By kind and name, what each part was made from, and the part.
    """

    __slots__ = ("_held", "made")

    def __init__(self, held: Parts | None = None) -> None:
        self._held: dict[tuple[str, str], tuple[object, object]] = {} if held is None else held.made
        self.made: dict[tuple[str, str], tuple[object, object]] = {}

    def take(self, kind: str, name: str, origin: object, make: Callable[[], Made]) -> Made:
        """Return the part of this name: the one that is held, if it was made from the same; or a new one.

        Args:
            kind: What it is.
            name: Which of them.
            origin: Everything that it depends on, to be compared with `==`; what does not compare (a key
                set, a TLS context) counts as the same if it is the same object.
            make: Makes it; whatever it raises is raised here, and nothing is kept.
        """
        held = self._held.get((kind, name))
        made = cast("Made", held[1]) if held is not None and held[0] == origin else make()
        self.made[kind, name] = origin, made
        return made

    def conclude(self) -> None:
        """Let go of what was held: the compilation is done."""
        self._held = {}

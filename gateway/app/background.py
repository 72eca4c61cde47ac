"""What runs beside the requests of one process: key sets, trust domains, transmitters, what asks for tokens.

Each part is started once, whichever configurations it belongs to, and stopped once nobody needs it. Decides
nothing about when that is.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol, final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.app.compilation import Compilation


class Part(Protocol):
    """Something that runs in the background."""

    async def start(self) -> None:
        """Begin; what must be fetched first is fetched, or has failed, when it returns."""

    async def stop(self) -> None:
        """End what is under way."""


def parts_of(compilation: Compilation) -> list[Part]:
    """Return everything of a compilation that runs in the background."""
    return [
        *compilation.key_sets,
        *compilation.domains.values(),
        *compilation.feeds,
        *compilation.onward.exchanges.values(),
    ]


@final
class Background:
    """The parts that run."""

    def __init__(self) -> None:
        self._running: dict[int, Part] = {}

    async def start(self, compilation: Compilation) -> list[Part]:
        """Start what does not run yet, all together: an issuer that is away delays no other.

        Returns:
            What was started; nothing of it runs if this raises.
        """
        new = [part for part in parts_of(compilation) if id(part) not in self._running]
        self._running.update({id(part): part for part in new})
        try:
            async with asyncio.TaskGroup() as starting:
                for part in new:
                    starting.create_task(part.start())
        except BaseException:
            await self.stop(new)
            raise
        return new

    async def stop(self, parts: Iterable[Part]) -> None:
        """Stop parts, those that do not run excepted."""
        for part in parts:
            if self._running.pop(id(part), None) is not None:
                await part.stop()

    async def close(self) -> None:
        """Stop everything, what was started last first."""
        await self.stop(reversed(list(self._running.values())))

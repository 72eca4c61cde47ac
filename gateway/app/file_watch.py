"""Reloads the configuration when its file has changed, or a file that is compiled into it: by content.

Looks at dates and sizes, reads only after a change, and waits until nobody writes any more. What was refused
is not tried again before something changes.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, final

from gateway.credentials.periodic import Periodic

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.app.reload import Reload

QUIET: Final = 0.2  # seconds without a change after which a file counts as written
BY: Final = "a change of the file"


@final
class FileWatch:
    """Watches the files of one configuration.

    Args:
        reload: Takes changes.
        interval: Returns the seconds between two looks.
    """

    def __init__(self, reload: Reload, interval: Callable[[], float]) -> None:
        self._reload = reload
        self._seen = reload.stamps()
        self._loop = Periodic("configuration", interval, self._look)

    def start(self) -> None:
        """Begin to watch."""
        self._loop.start()

    async def stop(self) -> None:
        """Stop watching."""
        await self._loop.stop()

    async def _look(self) -> None:
        stamps = self._reload.stamps()
        if stamps == self._seen:
            return
        content = await asyncio.to_thread(self._reload.content)
        await asyncio.sleep(QUIET)
        if stamps != self._reload.stamps():
            return  # it is still being written: with the next look
        self._seen = stamps
        if content is not None:
            await self._reload.reload(BY)

"""The system's two clocks: the only module that asks the operating system for the time."""

from __future__ import annotations

import time
from typing import Final, final


@final
class SystemClock:
    """Implements `core.ports.Clock`.

    The methods are the C functions themselves: they are called several times per request.
    """

    __slots__ = ()

    wall: Final = staticmethod(time.time)  # noqa: TID251 - this is the one place
    tick: Final = staticmethod(time.monotonic)

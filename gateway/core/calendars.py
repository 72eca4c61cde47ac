"""Calendar windows of budgets: which hour, day, week or month is it, in whose zone?

Knows dates and zones, and nothing of budgets. Windows of one calendar follow each other without a gap,
also where a clock is put forward or back.
"""

from __future__ import annotations

from datetime import datetime, timedelta, tzinfo
from enum import Enum
from typing import final


@final
class Window(Enum):
    """How long a calendar window is."""

    HOUR = "hour"
    DAY = "day"
    WEEK = "week"  # from Monday on, as in ISO 8601
    MONTH = "month"


@final
class Calendar:
    """Finds the window that a time lies in.

    Args:
        window: How long each is.
        zone: Whose midnight it is that ends a day.
    """

    __slots__ = ("_known", "window", "zone")

    def __init__(self, window: Window, zone: tzinfo) -> None:
        self.window = window
        self.zone = zone
        self._known = (0.0, 0.0, 0.0)

    def __eq__(self, other: object) -> bool:
        """Tell whether the windows are the same."""
        return isinstance(other, Calendar) and (self.window, self.zone) == (other.window, other.zone)

    def __hash__(self) -> int:
        """Hash what makes calendars equal."""
        return hash((self.window, self.zone))

    def span(self, now: float) -> tuple[float, float, float]:
        """Return start and end of the window, and the end of the next one.

        Args:
            now: Seconds since the epoch, as the result: start <= now < end.
        """
        known = self._known
        if not known[0] <= now < known[1]:
            start, end = self._span(now)
            known = self._known = start, end, self._span(end)[1]
        return known

    def _span(self, now: float) -> tuple[float, float]:
        local = datetime.fromtimestamp(now, self.zone)
        if self.window is Window.HOUR:  # hours are counted, not read: one may stand twice on the clock
            offset = local.utcoffset() or timedelta()
            shift = offset.total_seconds() % 3600.0
            start = (now + shift) // 3600.0 * 3600.0 - shift
            return start, start + 3600.0
        day = local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
        match self.window:
            case Window.DAY:
                following = day + timedelta(days=1)
            case Window.WEEK:
                day -= timedelta(days=day.weekday())
                following = day + timedelta(days=7)
            case _:
                day = day.replace(day=1)
                following = (day + timedelta(days=31)).replace(day=1)
        return day.timestamp(), following.timestamp()

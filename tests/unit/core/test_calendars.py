"""Calendar windows follow each other without a gap, in every zone."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.calendars import Calendar, Window

BERLIN = ZoneInfo("Europe/Berlin")


def at(text: str, zone: ZoneInfo = BERLIN) -> float:
    """Read a local time."""
    return datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()


@pytest.mark.parametrize(
    ("window", "now", "start", "end"),
    [
        (Window.HOUR, "2026-05-06T10:20", "2026-05-06T10:00", "2026-05-06T11:00"),
        (Window.DAY, "2026-05-06T10:20", "2026-05-06T00:00", "2026-05-07T00:00"),
        (Window.DAY, "2026-03-29T12:00", "2026-03-29T00:00", "2026-03-30T00:00"),  # 23 hours long
        (Window.DAY, "2026-10-25T12:00", "2026-10-25T00:00", "2026-10-26T00:00"),  # 25 hours long
        (Window.WEEK, "2026-05-06T10:20", "2026-05-04T00:00", "2026-05-11T00:00"),
        (Window.MONTH, "2026-12-31T23:59", "2026-12-01T00:00", "2027-01-01T00:00"),
        (Window.MONTH, "2028-02-29T00:00", "2028-02-01T00:00", "2028-03-01T00:00"),
    ],
)
def test_windows_are_those_of_the_zone(window: Window, now: str, start: str, end: str) -> None:
    """A day ends at local midnight, also when a clock is put forward or back."""
    assert (at(start), at(end)) == Calendar(window, BERLIN).span(at(now))[:2]


@given(
    st.sampled_from(Window),
    st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe"]),
    st.floats(0.0, 4e9),
)
def test_windows_leave_no_gap(window: Window, zone: str, now: float) -> None:
    """A window holds the time it was asked for, and ends where the next one begins."""
    calendar = Calendar(window, ZoneInfo(zone))
    start, end, following = calendar.span(now)

    assert start <= now < end < following
    assert (end, following) == Calendar(window, ZoneInfo(zone)).span(end)[:2]
    assert (start, end, following) == calendar.span(start)


def test_calendars_are_compared_by_what_they_are() -> None:
    """Two of the same window and zone are one; anything else is not."""
    one, same = Calendar(Window.DAY, BERLIN), Calendar(Window.DAY, ZoneInfo("Europe/Berlin"))

    assert one == same
    assert hash(one) == hash(same)
    assert one != Calendar(Window.DAY, ZoneInfo("UTC"))
    assert one != "day"
    assert datetime.fromtimestamp(one.span(0.0)[1], UTC).hour == 23

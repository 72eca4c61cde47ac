"""One timer for all: never early, late by one grain at most, and never dead."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest

from gateway.wire.deadlines import GRAIN, NEVER, Deadlines
from tests.unit.wire.parts import Clock

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable


class Timer:
    """What `call_later` gives."""

    def __init__(self) -> None:
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True


class FakeLoop:
    """Only timers, run by hand."""

    def __init__(self) -> None:
        self.time = Clock()
        self.due: list[tuple[float, Callable[[], None]]] = []
        self.timer = Timer()

    def call_later(self, delay: float, callback: Callable[[], None]) -> Timer:
        self.due.append((self.time.now + delay, callback))
        return self.timer

    def advance(self, seconds: float) -> None:
        """Let time pass in small steps."""
        end = self.time.now + seconds
        while self.due and self.due[0][0] <= end:
            self.time.now, callback = self.due.pop(0)
            callback()
        self.time.now = end


class Watched:
    """Writes down when it expired."""

    def __init__(self, deadline: float, error: Exception | None = None) -> None:
        self.deadline = deadline
        self.error = error
        self.expired: list[float] = []

    def expire(self, now: float) -> None:
        self.expired.append(now)
        self.deadline = NEVER
        if self.error is not None:
            raise self.error


@pytest.fixture
def loop() -> FakeLoop:
    """A loop whose time a test moves."""
    return FakeLoop()


def make(loop: FakeLoop) -> Deadlines:
    """Deadlines on that loop."""
    return Deadlines(cast("asyncio.AbstractEventLoop", cast("Any", loop)))


@pytest.mark.parametrize("seconds", [0.01, 0.25, 1.0, 1.1, 7.49])
def test_a_deadline_is_met_within_one_grain(loop: FakeLoop, seconds: float) -> None:
    """Never early."""
    deadlines = make(loop)
    watched = Watched(loop.time.now + seconds)
    due = watched.deadline
    deadlines.watch(watched)
    loop.advance(20)

    assert 1 == len(watched.expired)
    assert due <= watched.expired[0] <= due + GRAIN


def test_what_is_forgotten_never_expires(loop: FakeLoop) -> None:
    """And without anything to watch the sweep stops; it starts again with the next."""
    deadlines = make(loop)
    watched = Watched(loop.time.now + 1)
    deadlines.watch(watched)
    deadlines.forget(watched)
    loop.advance(5)

    assert [] == watched.expired
    assert [] == loop.due

    deadlines.watch(watched)
    loop.advance(5)

    assert 1 == len(watched.expired)


def test_an_error_stops_neither_the_sweep_nor_the_others(loop: FakeLoop) -> None:
    """Deadlines that no longer come are a hole: the next sweep is arranged first."""
    deadlines = make(loop)
    broken = [Watched(loop.time.now + 1, ValueError("bug")) for _ in range(2)]
    fine = Watched(loop.time.now + 1)
    for each in (*broken, fine):
        deadlines.watch(each)
    for _ in range(4):
        try:
            loop.advance(1)
        except ValueError:
            continue

    assert [1, 1, 1] == [len(each.expired) for each in (*broken, fine)]


def test_close_stops_the_sweep(loop: FakeLoop) -> None:
    """Twice is once."""
    deadlines = make(loop)
    deadlines.close()
    deadlines.watch(Watched(NEVER))
    deadlines.close()
    deadlines.close()

    assert loop.timer.is_cancelled

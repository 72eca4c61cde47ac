"""`clock`: two clocks that go on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.credentials.clock import SystemClock

if TYPE_CHECKING:
    from gateway.core.ports import Clock


def test_clocks_go_on() -> None:
    """The wall clock knows the century, the monotonic one never goes back."""
    clock: Clock = SystemClock()
    first = clock.tick()

    assert clock.wall() > 1_700_000_000
    assert first <= clock.tick()

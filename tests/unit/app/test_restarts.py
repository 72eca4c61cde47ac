"""When a worker is started again."""

from __future__ import annotations

from gateway.app.restarts import LONGEST, STEADY, Restarts


def test_once_at_once_then_ever_later() -> None:
    """Pauses double up to the longest one, however often it dies."""
    restarts = Restarts()
    pauses = [restarts.delay(1.0) for _ in range(100)]

    assert [0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, LONGEST] == pauses[:8]
    assert {LONGEST} == set(pauses[8:])


def test_a_steady_worker_is_forgiven() -> None:
    """Whoever has lived long enough is started at once again; whoever almost has is not."""
    restarts = Restarts()
    for _ in range(5):
        restarts.delay(0.0)
    late = restarts.delay(STEADY - 0.1)

    assert (8.0, 0.0) == (late, restarts.delay(STEADY))

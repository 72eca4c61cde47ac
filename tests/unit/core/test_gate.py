"""A gate, and whoever waits at it."""

from __future__ import annotations

import pytest

from gateway.core.gate import Gate, Waiting


class Counting(Waiting):
    """Counts how often it may go on."""

    def __init__(self) -> None:
        self.times = 0

    def resume(self) -> None:
        self.times += 1


def test_a_gate_lets_whoever_waits_go_on_once() -> None:
    """The first call counts, whatever comes later."""
    gate, waiting = Gate(), Counting()
    gate.hold(waiting)
    gate.open()
    gate.open(ValueError("late"))

    assert waiting.times == 1


def test_a_gate_that_nobody_waits_at_stays_open() -> None:
    """Awaiting it later takes no time, and raises what it was opened with."""
    gate, broken = Gate(), Gate()
    gate.open()
    broken.open(ValueError("early"))

    assert [] == list(gate.__await__())
    with pytest.raises(ValueError, match="early"):
        list(broken.__await__())


def test_whoever_has_gone_is_not_called() -> None:
    """A line that was thrown out of its wait goes on no second time."""
    gate, waiting = Gate(), Counting()
    gate.hold(waiting)
    gate.hold(None)
    gate.open()

    assert waiting.times == 0


def test_waiting_alone_is_nothing() -> None:
    """It is there to be derived from."""
    with pytest.raises(NotImplementedError):
        Waiting().resume()

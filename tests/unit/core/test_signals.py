"""What an identity has done lately, as data."""

from __future__ import annotations

from gateway.core.signals import NO_RISK, History, Risk, Signal


def test_a_history_begins_empty() -> None:
    """Somebody never seen has done nothing."""
    assert [0.0] * len(History.__slots__) == [getattr(History(), name) for name in History.__slots__]


def test_a_history_keeps_each_number_apart() -> None:
    """No two counters are mixed up."""
    names = [name for name in History.__init__.__code__.co_varnames if name != "self"]
    history = History(*map(float, range(len(names))))

    assert list(map(float, range(len(names)))) == [getattr(history, name) for name in names]


def test_no_signal_is_no_risk() -> None:
    """Zero, and nothing to show."""
    assert Risk(0.0, ()) == NO_RISK
    assert (0.5, "2 of 4") == ((signal := Signal("a", 0.5, "2 of 4")).strength, signal.evidence)

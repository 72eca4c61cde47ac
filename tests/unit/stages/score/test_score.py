"""Stage score: what detectors say becomes a risk, and above the bar a refusal."""

from __future__ import annotations

from dataclasses import replace
from math import isnan
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.permit import Entry, issue_entry
from gateway.core.prompt import Prompt
from gateway.core.refusal import Reason, Refused
from gateway.core.signals import NO_RISK, History, Signal
from gateway.stages.score import combine, score
from gateway.state.counters import MemoryCounters
from tests.contract.conftest import FakeClock
from tests.unit.stages.test_limit import RATED
from tests.unit.stages.test_limit import entry as plain_entry

if TYPE_CHECKING:
    from gateway.core.ports import Detector


class Always:
    """Says the same of everything."""

    def __init__(self, name: str, strength: float) -> None:
        self.name = name
        self.strength = strength
        self.seen: list[float] = []

    def __call__(self, history: History, prompt: Prompt, /) -> Signal | None:
        self.seen.append(history.requests)
        return Signal(self.name, self.strength, "evidence") if self.strength else None


def entry(*detectors: Detector, bar: float | None = None) -> Entry:
    """Proof for a route with these detectors."""
    proof = plain_entry(RATED)
    return issue_entry(proof.identity, replace(proof.route, detectors=detectors, risk_bar=bar))


def test_without_signals_there_is_no_risk() -> None:
    """The usual case; the request is counted all the same, and detectors see it counted."""
    counters = MemoryCounters(FakeClock())
    quiet = Always("quiet", 0.0)
    proof = entry(quiet, bar=0.0)
    risks = [score(proof, Prompt(), counters) for _ in range(3)]

    assert risks == [NO_RISK] * 3
    assert quiet.seen == [1.0, 2.0, 3.0]


def test_signals_add_up() -> None:
    """Two halves make three quarters; below the bar they are only reported."""
    proof = entry(Always("a", 0.5), Always("quiet", 0.0), Always("b", 0.5), bar=0.76)
    risk = score(proof, Prompt(), MemoryCounters(FakeClock()))

    assert risk.score == 0.75
    assert [signal.name for signal in risk.signals] == ["a", "b"]


def test_above_the_bar_is_refused() -> None:
    """The record gets names and numbers; the client neither."""
    proof = entry(Always("weak", 0.2), Always("strong", 0.9), bar=0.9)
    with pytest.raises(Refused) as caught:
        score(proof, Prompt(), MemoryCounters(FakeClock()))
    refusal = caught.value.refusal

    assert (refusal.reason, refusal.rule) == (Reason.RISK_TOO_HIGH, "strong")
    assert refusal.note == "weak 0.20: evidence; strong 0.90: evidence"
    assert not any(word in refusal.detail for word in ("weak", "strong", "0", "9"))


def test_the_bar_itself_is_refused() -> None:
    """A bar of 1 still stops what is certain."""
    with pytest.raises(Refused):
        score(entry(Always("sure", 1.0), bar=1.0), Prompt(), MemoryCounters(FakeClock()))


def test_without_a_bar_nothing_is_refused() -> None:
    """A route may only observe."""
    risk = score(entry(Always("certain", 1.0)), Prompt(), MemoryCounters(FakeClock()))

    assert risk.score == 1.0


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=6))
def test_a_score_is_a_probability_whatever_detectors_say(strengths: list[float]) -> None:
    """In [0, 1], never below its strongest signal, and a broken number counts as the worst."""
    total = combine([Signal("s", strength, "") for strength in strengths])
    sane = [1.0 if isnan(strength) else min(max(strength, 0.0), 1.0) for strength in strengths]

    assert 0.0 <= total <= 1.0
    assert total >= max(sane, default=0.0) - 1e-12

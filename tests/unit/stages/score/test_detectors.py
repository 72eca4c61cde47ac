"""Detectors and the bound that they share: few observations say little."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.prompt import Prompt
from gateway.core.signals import History
from gateway.stages.score.catalog import DETECTORS
from gateway.stages.score.denied_probing import DeniedProbing
from gateway.stages.score.malformed_burst import MalformedBurst
from gateway.stages.score.wilson import lower_bound, strength

PROMPT = Prompt("llama")
COUNTED = {"denied-probing": "denials", "malformed-burst": "malformed"}
counts = st.floats(0.0, 1e9)


def history(name: str, hits: float, requests: float) -> History:
    """A history with hits of the kind that a detector looks at."""
    return History(requests=requests, **{COUNTED[name]: hits})


@pytest.mark.parametrize("name", COUNTED)
def test_the_catalog_knows_it_by_its_name(name: str) -> None:
    """Configuration and record use one name."""
    assert name == DETECTORS[name]().name


def test_the_catalog_is_complete() -> None:
    """No detector without a test here."""
    assert set(COUNTED) == set(DETECTORS)


@pytest.mark.parametrize("name", COUNTED)
@pytest.mark.parametrize(
    ("hits", "requests"), [(0.0, 0.0), (0.0, 1000.0), (4.9, 4.9), (6.0, 60.0), (100.0, 1000.0)]
)
def test_says_nothing_of_mistakes(name: str, hits: float, requests: float) -> None:
    """A few, or a usual share of many, is no signal."""
    assert DETECTORS[name]()(history(name, hits, requests), PROMPT) is None


@pytest.mark.parametrize("name", COUNTED)
def test_says_more_the_surer_it_is(name: str) -> None:
    """The same share of more requests is stronger; a full share of many is nearly decisive."""
    detector = DETECTORS[name]()
    signals = [detector(history(name, hits, hits), PROMPT) for hits in (5.0, 20.0, 200.0)]
    strengths = [signal.strength for signal in signals if signal is not None]

    assert len(strengths) == 3
    assert strengths == sorted(strengths)
    assert strengths[0] < 0.5
    assert strengths[2] > 0.9


@pytest.mark.parametrize("name", COUNTED)
def test_looks_at_its_own_counter_alone(name: str) -> None:
    """Other refusals are other detectors' business."""
    others = {counter: 100.0 for counter in ("refusals", *COUNTED.values()) if counter != COUNTED[name]}

    assert DETECTORS[name]()(History(requests=100.0, **others), PROMPT) is None


def test_evidence_is_numbers() -> None:
    """What a reviewer reads says how much of how many."""
    denied = DeniedProbing()(History(requests=20.0, denials=10.0), PROMPT)
    malformed = MalformedBurst()(History(requests=20.0, malformed=20.0), PROMPT)

    assert denied is not None
    assert malformed is not None
    assert denied.evidence == "10.0 of 20.0 denied, surely 25%"
    assert malformed.evidence == "20.0 of 20.0 malformed, surely 75%"


@given(requests=counts, hits=counts)
def test_is_total(requests: float, hits: float) -> None:
    """Any counters, odd ones too, give nothing or a strength in [0, 1]."""
    for name, factory in DETECTORS.items():
        signal = factory()(history(name, hits, requests), PROMPT)

        assert signal is None or 0.0 < signal.strength <= 1.0


@given(hits=counts, trials=counts)
def test_the_bound_is_below_the_share(hits: float, trials: float) -> None:
    """It never claims more than was seen."""
    bound = lower_bound(hits, trials)

    assert 0.0 <= bound <= 1.0
    assert bound <= (min(hits / trials, 1.0) if trials > 0 else 0.0) + 1e-9


def test_the_bound_is_wilsons() -> None:
    """A value from the formula, worked by hand for 10 of 20."""
    assert pytest.approx(0.2504, abs=0.0005) == lower_bound(10.0, 20.0)


@pytest.mark.parametrize(("bound", "expected"), [(0.0, 0.0), (0.1, 0.0), (0.55, 0.5), (1.0, 1.0)])
def test_strength_starts_at_the_usual_share(bound: float, expected: float) -> None:
    """The usual share says nothing, certainty says everything."""
    assert pytest.approx(expected) == strength(bound, 0.1)

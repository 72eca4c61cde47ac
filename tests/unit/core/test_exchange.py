"""The facts of one request, before anything is known."""

from __future__ import annotations

from gateway.core.exchange import Exchange, Outcome
from tests.doubles.line import PEER, Line


def test_an_exchange_begins_as_a_failure() -> None:
    """Whatever cuts a line off, its record does not say that it was served."""
    call = Line().call()
    ex = Exchange("id", PEER, call, 1.5, 2.5)

    assert (Outcome.FAILED, 0, None, None) == (ex.outcome, ex.status, ex.refusal, ex.fault)
    assert ("id", PEER, call, 1.5, 2.5) == (ex.id, ex.peer, ex.call, ex.started, ex.began_at)


def test_nothing_is_known_at_first() -> None:
    """A stamp of 0 says that the request never came that far; usage that nobody reported is unknown, not 0."""
    ex = Exchange("id", PEER, None, 1.0, 2.0)
    stamps = [getattr(ex, name) for name in dir(ex) if name.endswith("_at") and name != "began_at"]

    assert [0.0] * 7 == stamps
    assert (None, None, 0) == (ex.usage.input_tokens, ex.usage.output_tokens, ex.usage.events)


def test_usage_is_not_shared() -> None:
    """Each exchange counts for itself."""
    assert Exchange("a", PEER, None, 0.0, 0.0).usage is not Exchange("b", PEER, None, 0.0, 0.0).usage

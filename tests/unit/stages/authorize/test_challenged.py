"""Whom this process has challenged: one round to the issuer, not a loop."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.stages.authorize.challenged import REMEMBERED_SECONDS, Challenged

ALICE = ("alice", "app", "strong")
T = 1_800_000_000.75  # the challenge; tokens are dated in whole seconds
SECOND = 1_800_000_000.0


def asked(challenged: Challenged, token: str, issued: float, now: float, since: float | None = None) -> bool:
    """Challenge alice."""
    return challenged.challenge(ALICE, token, issued, now, authenticated=since)


def test_a_newer_token_that_is_as_weak_is_the_last_word() -> None:
    """The first is challenged, the second is not: asking the issuer again would give the same."""
    challenged = Challenged()

    assert asked(challenged, "old", T - 60, T)
    assert not asked(challenged, "new", T + 5, T + 6)
    assert not asked(challenged, "newer", T + 100, T + 101)


def test_an_old_token_keeps_being_challenged() -> None:
    """A client that sends what it had has not asked its issuer yet, before or after somebody who has."""
    challenged = Challenged()

    assert asked(challenged, "old", T - 60, T)
    assert asked(challenged, "old", T - 60, T + 1)
    assert asked(challenged, "other", T - 5, T + 2)
    assert not asked(challenged, "new", T + 3, T + 3)
    assert asked(challenged, "old", T - 60, T + 4)


def test_the_second_of_the_challenge_counts_as_later() -> None:
    """Tokens have whole seconds: a quick client would loop for one otherwise. The challenged token stays old."""
    challenged = Challenged()

    assert asked(challenged, "fresh", SECOND, T)
    assert asked(challenged, "fresh", SECOND, T + 0.1)
    assert not asked(challenged, "next", SECOND, T + 0.2)


def test_a_challenge_is_forgotten_after_a_while() -> None:
    """What the issuer could not do then, it may do now; a clock that was set back proves nothing."""
    for later in (REMEMBERED_SECONDS + 0.5, -1.0):
        challenged = Challenged()
        assert asked(challenged, "old", T - 60, T)
        assert asked(challenged, "new", T + 5, T + later)
        assert not asked(challenged, "third", T + REMEMBERED_SECONDS + 9, T + later + 1)


def test_a_challenge_that_was_met_is_over() -> None:
    """A caller who is too weak again later is asked again."""
    challenged = Challenged()
    challenged.meet(ALICE)
    assert asked(challenged, "old", T - 60, T)
    challenged.meet(ALICE)

    assert 0 == len(challenged)
    assert asked(challenged, "new", T + 5, T + 6)


def test_who_authenticated_since_is_asked_anew() -> None:
    """An authentication after the challenge answered it, even if it is too long ago by now."""
    challenged = Challenged()
    assert asked(challenged, "old", T - 60, T)

    assert not asked(challenged, "refreshed", T + 5, T + 6, T - 600)
    assert asked(challenged, "stepped-up", T + 7, T + 200, T + 7)
    assert not asked(challenged, "refreshed-again", T + 201, T + 202, T + 7)


def test_callers_and_requirements_do_not_mix() -> None:
    """Nobody is refused for what another client, or another route, was asked."""
    challenged = Challenged()
    assert asked(challenged, "old", T - 60, T)

    for other in (("bob", "app", "strong"), ("alice", "cli", "strong"), ("alice", "app", "fresh")):
        assert challenged.challenge(other, "new", T + 5, T + 6, authenticated=None)


@given(st.lists(st.integers(0, 9), max_size=40))
def test_memory_is_bounded_and_the_oldest_goes_first(callers: list[int]) -> None:
    """Forgetting asks once more, and never refuses who was not asked."""
    challenged = Challenged(capacity=3)
    expected: list[int] = []
    for step, number in enumerate(callers):
        answer = challenged.challenge((number,), f"t{step}", T + step, T + step, authenticated=None)
        assert answer == (number not in expected)
        if answer:
            expected = [*expected[-2:], number]

    assert len(expected) == len(challenged) <= 3

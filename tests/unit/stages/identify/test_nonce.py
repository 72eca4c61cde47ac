"""`nonce`: nonces that every gateway of a fleet knows and nobody else can make."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.stages.identify.nonce import ROTATION, Nonces

from .parts import NOW

KEY = "k" * 43


def test_a_fleet_knows_its_nonces() -> None:
    """Made by one gateway, good at another with the same secret, for as long as it lives."""
    nonce = Nonces(b"fleet", 60.0).make(KEY, NOW)
    other = Nonces(b"fleet", 60.0)

    assert [True, True, True, False, False] == [
        other.is_good(nonce, KEY, NOW + later) for later in (-5.0, 0.0, 60.0, 61.0, -6.0)
    ]


def test_a_process_that_runs_for_days_keeps_two_keys() -> None:
    """What is derived anew every hour does not pile up."""
    nonces = Nonces(b"fleet", 60.0)
    for hour in range(50):
        nonces.make(KEY, NOW + hour * ROTATION)

    assert len(nonces._keys) <= 2


def test_no_two_nonces_are_alike() -> None:
    """Some clients take the same one twice for a server that does not move on."""
    nonces = Nonces(b"fleet", 60.0)

    assert 2 == len({nonces.make(KEY, NOW), nonces.make(KEY, NOW + 1e-5)})


def test_a_nonce_is_for_one_key_and_one_fleet() -> None:
    """It says nothing about another client's proof, and other fleets' nonces are none of ours."""
    nonces = Nonces(b"fleet", 60.0)
    nonce = nonces.make(KEY, NOW)

    assert nonces.is_good(nonce, KEY, NOW)
    assert not nonces.is_good(nonce, "j" * 43, NOW)
    assert not Nonces(b"other", 60.0).is_good(nonce, KEY, NOW)


def test_keys_change_with_the_hour_and_two_are_accepted() -> None:
    """A nonce of the last minute of an hour is good in the next hour; keys of the past are not kept."""
    nonces = Nonces(b"fleet", 60.0)
    turn = NOW - NOW % ROTATION
    before, after = nonces.make(KEY, turn - 1), nonces.make(KEY, turn)
    much_later = nonces.make(KEY, turn + 5 * ROTATION)

    assert nonces.is_good(before, KEY, turn + 1)
    assert nonces.is_good(after, KEY, turn + 1)
    assert 3 == len({before[12:], after[12:], much_later[12:]})


@pytest.mark.parametrize("position", range(32))
def test_no_character_can_be_changed(position: int) -> None:
    """Neither the time nor the MAC."""
    nonces = Nonces(b"fleet", 60.0)
    nonce = nonces.make(KEY, NOW)
    wrong = nonce[:position] + ("A" if nonce[position] != "A" else "B") + nonce[position + 1 :]

    assert not nonces.is_good(wrong, KEY, NOW)


@given(st.text(max_size=40) | st.from_regex(r"[A-Za-z0-9_-]{32}", fullmatch=True))
def test_nobody_guesses_one(text: str) -> None:
    """Any text is refused, in any alphabet and length, without failing."""
    assert not Nonces(b"fleet", 60.0).is_good(text, KEY, NOW)


@pytest.mark.parametrize("lifetime", [0.0, -1.0, 3600.1, float("nan"), float("inf")])
def test_nonces_live_for_an_hour_at_most(lifetime: float) -> None:
    """Otherwise more than two keys would have to be accepted."""
    with pytest.raises(ValueError, match="3600"):
        Nonces(b"fleet", lifetime)

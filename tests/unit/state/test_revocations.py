"""The index: every property of an identity, patterns, ends, lifts, room, freshness."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.revocation import Lift, Target
from gateway.state.revocations import MAX_PATTERNS, Pattern, RevocationIndex
from tests.unit.state.revoked import ADA, BOB, NOW, ManualClock, revoke

ISSUER = "https://idp.example.org"


@pytest.fixture
def clock() -> ManualClock:
    """Time."""
    return ManualClock()


@pytest.fixture
def index(clock: ManualClock) -> RevocationIndex:
    """An index that knows everything there is: nothing."""
    made = RevocationIndex(clock, capacity=10)
    made.complete()
    return made


@pytest.mark.parametrize(
    ("target", "value"),
    [
        (Target.SUBJECT, ADA.key),
        (Target.TOKEN, "0123456789abcdef"),
        (Target.TOKEN, f"{ISSUER}|jti-1"),
        (Target.CLIENT, f"{ISSUER}|notebook"),
        (Target.KEY, "thumbprint"),
        (Target.KEY, "key-1"),
        (Target.KEY, f"{ISSUER}|kid-1"),
        (Target.CERTIFICATE, "fingerprint"),
        (Target.SESSION, f"{ISSUER}|sid-1"),
        (Target.CLAIM, f"{ISSUER}|email|ada@example.org"),
        (Target.IDENTITY, f"{ISSUER}|*"),
        (Target.IDENTITY, "spiffe://example.org/user/*"),
        (Target.IDENTITY, "*"),
    ],
)
def test_every_property_is_looked_at(index: RevocationIndex, target: Target, value: str) -> None:
    """A revocation of any of them is found; one of another value, or of another kind, is not."""
    other = next(kind for kind in Target if kind is not target)
    index.apply([revoke("other", "somebody else", target), revoke("kind", "fingerprints", other)])
    assert index.find(ADA) is None
    index.apply([revoke("r-1", value, target)])
    found = index.find(ADA)

    assert found is not None
    assert "r-1" == found.id
    assert (value in {"*", f"{ISSUER}|*"}) is (index.find(BOB) is not None)


def test_a_date_is_heeded_under_any_name(index: RevocationIndex) -> None:
    """By key and by pattern; of two that mean the same, the one that voids is found."""
    early = NOW - 20
    index.apply([revoke("a", issued_before=early), revoke("b", "*ada", Target.IDENTITY, issued_before=early)])
    assert index.find(ADA) is None
    index.apply([revoke("c", issued_before=NOW)])
    found = index.find(ADA)

    assert found is not None
    assert "c" == found.id


def test_a_lift_wins_whenever_it_is_heard(index: RevocationIndex) -> None:
    """After, before, twice; another revocation of the same value goes on holding."""
    row = revoke()
    index.apply([row, revoke("r-2")])
    index.apply([Lift("r-1", NOW), Lift("early", NOW)])
    late = index.apply([row, revoke("early"), Lift("r-1", NOW)])
    still = index.find(ADA)
    index.apply([Lift("r-2", NOW)])

    assert () == late
    assert still is not None
    assert "r-2" == still.id
    assert index.find(ADA) is None
    assert 0 == len(index)
    assert index.knows(row)
    assert [Lift("r-1", NOW), Lift("early", NOW), Lift("r-2", NOW)] == index.everything()


def test_a_lifted_pattern_is_gone(index: RevocationIndex) -> None:
    """Patterns stand apart, and go the same way."""
    index.apply([revoke("p", "*", Target.IDENTITY)])
    assert index.find(BOB) is not None
    index.apply([Lift("p", NOW)])

    assert index.find(BOB) is None


def test_claims_are_asked_for_by_name(index: RevocationIndex) -> None:
    """As many as are revoked; of another issuer, of another type, or none: nobody; lifted, they are forgotten."""
    rows = [
        revoke("a", f"{ISSUER}|email|ada@example.org", Target.CLAIM, issued_before=NOW - 20),
        revoke("b", f"{ISSUER}|email|bob@example.org", Target.CLAIM),
        revoke("c", f"{ISSUER}|level|3", Target.CLAIM),
        revoke("d", "https://other|email|ada@example.org", Target.CLAIM),
    ]
    index.apply(rows)
    assert index.find(ADA) is None
    assert index.find(BOB) is None
    index.apply([Lift("b", NOW), Lift("c", NOW), Lift("d", NOW)])
    index.apply([revoke("e", f"{ISSUER}|email|ada@example.org", Target.CLAIM)])
    found = index.find(ADA)

    assert found is not None
    assert "e" == found.id
    assert {ISSUER: {"email": 2}} == index._claims


def test_a_later_one_of_the_same_id_counts(index: RevocationIndex, clock: ManualClock) -> None:
    """And its end is the one that counts."""
    index.apply([revoke(expires=NOW + 5)])
    index.apply([replace(revoke(expires=NOW + 50), at=NOW + 1)])
    clock.now += 10
    ended = index.end()

    assert () == ended
    assert index.find(ADA) is not None


def test_what_ends_vanishes(index: RevocationIndex, clock: ManualClock) -> None:
    """At its time and not before, with a new version; lifts that only remembered it vanish with it."""
    index.apply([revoke(expires=NOW + 10), revoke("x", expires=NOW + 5), Lift("x", NOW, NOW + 5)])
    version = index.version
    clock.now += 9.9
    assert ("x",) == tuple(dict.fromkeys(index.end()))
    assert index.find(ADA) is not None
    clock.now += 0.1
    ended = index.end()

    assert ("r-1",) == ended
    assert index.find(ADA) is None
    assert [] == index.everything()
    assert index.version > version
    assert () == index.end()


def test_what_has_ended_is_no_news(index: RevocationIndex) -> None:
    """A revocation that comes late changes nothing."""
    version = index.version
    assert () == index.apply([revoke(expires=NOW)])
    assert version == index.version
    assert not index.knows(revoke())


def test_changes_are_told(index: RevocationIndex) -> None:
    """Once, with the news alone."""
    told: list[tuple[object, ...]] = []
    index.subscribe(told.append)
    row = revoke()
    index.apply([row])
    index.apply([row])

    assert [(row,)] == told
    assert row is index.get("r-1")
    assert [row] == list(index)


def test_without_room_nobody_is_believed(index: RevocationIndex) -> None:
    """Room is told before; what is left out all the same makes the index unusable."""
    index.apply([revoke(f"r-{number}", str(number)) for number in range(10)])
    assert index.is_current
    assert not index.room([revoke("more")])
    assert index.room([revoke("r-1"), Lift("r-2", NOW)])
    assert () == index.apply([revoke("more")])
    assert not index.is_current
    index.left_out = 0
    index.apply([Lift("unknown", NOW)])

    assert not index.is_current


def test_patterns_are_fewer(clock: ManualClock) -> None:
    """Each is asked for each identity, so their number has a bound of its own."""
    index = RevocationIndex(clock)
    index.apply([revoke(f"p-{number}", f"{number}*", Target.IDENTITY) for number in range(MAX_PATTERNS)])

    assert not index.room([revoke("one more", "*", Target.IDENTITY)])
    assert index.room([revoke("one more")])


def test_freshness(clock: ManualClock) -> None:
    """Not before everything is known, not before anything was heard, and not for longer than the bound."""
    index = RevocationIndex(clock, bound=5.0)
    seen = [index.is_current]
    index.complete()
    seen.append(index.is_current)
    index.hear(clock.ticks)
    clock.ticks += 4.9
    seen.append(index.is_current)
    staleness = index.staleness
    clock.ticks += 0.1
    seen.append(index.is_current)

    assert [False, False, True, False] == seen
    assert 4.9 == pytest.approx(staleness)
    assert 0.0 == RevocationIndex(clock).staleness


@given(st.text("ab*", max_size=6), st.text("ab", max_size=10))
def test_patterns_match_as_a_slow_reference(pattern: str, text: str) -> None:
    """A star stands for any characters, and nothing else is special."""

    def slow(pattern: str, text: str) -> bool:
        if not pattern:
            return not text
        if pattern[0] == "*":
            return slow(pattern[1:], text) or (text != "" and slow(pattern, text[1:]))
        return text[:1] == pattern[0] and slow(pattern[1:], text[1:])

    assert slow(pattern, text) is Pattern(pattern).matches(text)

"""Sources that ask for too much: what is counted, for whom, and how much is remembered."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.identity import Peer
from gateway.wire.flood import Flood, Floodgate, source_of
from tests.unit.stages.authorize.material import CERTIFICATE

HERE = Peer("192.0.2.1", 1)
THERE = Peer("192.0.2.2", 1)
CERTIFIED = Peer("192.0.2.1", 1, CERTIFICATE)


def admitted(gate: Floodgate, peer: Peer, count: int, now: float, *, is_request: bool = True) -> int:
    """Try so often; return how often it was not too much."""
    return sum(not gate.admit(peer, now, is_request=is_request) for _ in range(count))


def test_so_many_come_through_at_once_and_then_at_the_rate() -> None:
    """Of each address; a connection counts as a request does."""
    gate = Floodgate(Flood(4, 2.0))

    assert 2 == admitted(gate, HERE, 2, 10.0, is_request=False)
    assert 2 == admitted(gate, HERE, 9, 10.0)
    assert pytest.approx(0.5) == gate.admit(HERE, 10.0, is_request=True)
    assert 4 == admitted(gate, THERE, 9, 10.0)
    assert 1 == admitted(gate, HERE, 9, 10.5)
    assert 4 == admitted(gate, HERE, 9, 100.0)
    assert 7 + 1 + 5 + 8 + 5 == gate.refused


def test_a_certificate_is_a_source_of_its_own() -> None:
    """Wherever it comes from; only requests count, and what one bound refuses no other one counts."""
    gate = Floodgate(Flood(4, 2.0), Flood(2, 2.0))

    assert 1 == admitted(gate, CERTIFIED, 1, 0.0, is_request=False)
    assert 2 == admitted(gate, CERTIFIED, 9, 0.0)
    assert 0 == admitted(gate, replace(CERTIFIED, address="192.0.2.9"), 1, 0.0)
    assert 1 == admitted(gate, HERE, 9, 0.0)


def test_who_proves_nothing_too_often_is_not_asked_any_more() -> None:
    """A certificate answers for itself, an address for all who show none."""
    gate = Floodgate(failures=Flood(2, 60.0))
    for _ in range(2):
        assert not gate.admit(HERE, 0.0, is_request=True)
        gate.fail(HERE, 0.0)

    assert pytest.approx(30.0) == gate.admit(HERE, 0.0, is_request=False)
    assert not gate.admit(CERTIFIED, 0.0, is_request=True)
    assert not gate.admit(THERE, 0.0, is_request=True)
    assert not gate.admit(HERE, 30.1, is_request=True)

    for _ in range(3):
        gate.fail(CERTIFIED, 30.1)
    assert gate.admit(CERTIFIED, 30.1, is_request=True)
    assert not gate.admit(HERE, 30.1, is_request=True)


def test_who_goes_on_while_it_is_too_much_waits_no_longer() -> None:
    """Failures of requests that were let in before are still counted; the debt is bounded."""
    gate = Floodgate(failures=Flood(2, 60.0))
    for _ in range(1000):
        gate.fail(HERE, 0.0)

    assert pytest.approx(30.0) == gate.admit(HERE, 0.0, is_request=True)


def test_memory_is_bounded() -> None:
    """Who found no room shares one account; who has been quiet makes room."""
    flood = Flood(1, 10.0, capacity=3)
    for number in range(3):
        flood.count(str(number), 0.0)
    assert 0.0 == flood.wait("new", 0.0)
    flood.count("new", 0.0)

    assert [10.0, 10.0] == [flood.wait(source, 0.0) for source in ("new", "newer")]
    assert 10.0 == flood.wait("0", 0.0)
    assert 4 == len(flood)

    flood.count("newest", 11.0)

    assert 1 == len(flood)
    assert 0.0 == flood.wait("0", 11.0)


@given(st.lists(st.floats(0.0, 20.0), max_size=60), st.integers(1, 5))
def test_never_more_than_twice_the_count_in_any_period(moments: list[float], count: int) -> None:
    """So many at once, and as many again while the time passes; never more."""
    gate = Floodgate(Flood(count, 5.0))
    passed = [now for now in sorted(moments) if not gate.admit(HERE, now, is_request=True)]

    for begin in passed:
        assert len([now for now in passed if begin <= now < begin + 5.0]) <= 2 * count


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("fe80::1%eth0", "fe80::2%eth1", True),
        ("unix", "unix", True),
    ],
)
def test_what_stands_for_an_address(one: str, other: str, is_same: bool) -> None:
    """A site has a whole /64 to choose from; an IPv4 address in an IPv6 one is itself."""
    assert is_same == (source_of(one) == source_of(other))

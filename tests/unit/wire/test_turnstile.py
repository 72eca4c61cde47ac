"""The queue in front of a backend: order, turns, bounds, and that no place is ever lost."""

from __future__ import annotations

import asyncio
from math import inf
from typing import Final, final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.ports import ClientGone
from gateway.core.refusal import Reason, Refusal, Refused
from gateway.wire.driver import Driver
from gateway.wire.turnstile import LONGEST_RETRY, Turnstile

LONG: Final = 1000.0  # seconds; never waited for
BOUND: Final = 5.0  # seconds after which a test has failed


@final
class Request:
    """One request at a turnstile, driven by hand as the wire drives it."""

    def __init__(
        self, turnstile: Turnstile, caller: str = "a", priority: int = 0, patience: float = inf
    ) -> None:
        self.turnstile = turnstile
        self.caller = caller
        self.is_in = False
        self.refusal: Refusal | None = None
        self.ended = asyncio.Event()
        self._terms = priority, caller, patience
        self._driver = Driver(self._line(), self._done)
        self._driver.resume()

    async def _line(self) -> None:
        if not self.turnstile.take():
            await self.turnstile.wait(*self._terms)
        self.is_in = True
        self.ended.set()

    def _done(self, error: BaseException | None) -> None:
        if isinstance(error, Refused):
            self.refusal = error.refusal
        elif not isinstance(error, ClientGone):
            assert error is None
        self.ended.set()

    def go(self) -> None:
        """Its client closes the connection."""
        self._driver.throw(ClientGone())

    def leave(self) -> None:
        """The backend has done its part."""
        self.is_in = False
        self.turnstile.leave()


async def served(turnstile: Turnstile, first: Request, waiting: list[Request]) -> list[str]:
    """Let one after the other go through the only place; returns who, in order."""
    order: list[str] = []
    last = first
    for _ in waiting:
        last.leave()
        await asyncio.sleep(0)
        (last,) = [each for each in waiting if each.is_in]
        order.append(last.caller)
    last.leave()
    assert (turnstile.running, turnstile.waiting) == (0, 0)
    return order


async def test_so_many_pass_and_the_others_wait() -> None:
    """As long as there is a place, nobody waits."""
    turnstile = Turnstile(2, 10, LONG)
    requests = [Request(turnstile) for _ in range(4)]

    assert [True, True, False, False] == [each.is_in for each in requests]
    assert (2, 2) == (turnstile.running, turnstile.waiting)

    requests[0].leave()
    await asyncio.sleep(0)

    assert [False, True, True, False] == [each.is_in for each in requests]
    assert (2, 1, 1) == (turnstile.running, turnstile.waiting, turnstile.waited)


async def test_a_higher_priority_goes_first() -> None:
    """And among equals, whoever came first."""
    turnstile = Turnstile(1, 10, LONG)
    first = Request(turnstile)
    waiting = [Request(turnstile, name, int(name[1:])) for name in ("a0", "b-5", "c7", "d0", "e7")]

    assert ["c7", "e7", "a0", "d0", "b-5"] == await served(turnstile, first, waiting)


async def test_callers_take_turns() -> None:
    """However much one of them asks for, and also if another one comes later."""
    turnstile = Turnstile(1, 10, LONG)
    first = Request(turnstile)
    waiting = [Request(turnstile, name) for name in ("a", "a", "a", "a", "b", "b", "c")]

    assert ["a", "b", "c", "a", "b", "a", "a"] == await served(turnstile, first, waiting)


async def test_turns_go_on_where_they_are() -> None:
    """Who has not asked for long owns no turns that it might take all at once."""
    turnstile = Turnstile(1, 10, LONG)
    last = Request(turnstile)
    a = [Request(turnstile, "a") for _ in range(4)]
    for each in a[:3]:
        last.leave()
        await asyncio.sleep(0)
        last = each
    late = [Request(turnstile, name) for name in ("b", "b", "b", "a")]

    assert ["a", "b", "b", "a", "b"] == await served(turnstile, last, [a[3], *late])


async def test_a_full_queue_sends_the_newcomer_away() -> None:
    """It says when to come again."""
    turnstile = Turnstile(1, 2, LONG)
    first = Request(turnstile)
    waiting = [Request(turnstile, "a"), Request(turnstile, "b")]
    refusal = Request(turnstile, "c").refusal

    assert refusal is not None
    assert (Reason.BACKEND_BUSY, "too many wait", 1.0) == (refusal.reason, refusal.note, refusal.retry_after)
    assert 1 == turnstile.shed
    assert ["a", "b"] == await served(turnstile, first, waiting)


@pytest.mark.parametrize(
    "newcomer",
    [
        pytest.param(("c", 1), id="higher-priority"),
        pytest.param(("c", 0), id="its-first-turn"),
    ],
)
async def test_a_full_queue_makes_room(newcomer: tuple[str, int]) -> None:
    """The lowest priority goes, and of that whoever has asked for most."""
    turnstile = Turnstile(1, 3, LONG)
    first = Request(turnstile)
    waiting = [Request(turnstile, name) for name in ("b", "a", "a")]
    latest = Request(turnstile, *newcomer)
    await asyncio.sleep(0)
    refusal = waiting[2].refusal

    assert refusal is not None
    assert "made room in the queue for another" == refusal.note
    assert latest.refusal is None
    order = await served(turnstile, first, [*waiting[:2], latest])
    assert (["c", "b", "a"] if newcomer[1] else ["b", "a", "c"]) == order


async def test_nobody_waits_where_nobody_may() -> None:
    """A queue of no length."""
    turnstile = Turnstile(1, 0, LONG)
    first = Request(turnstile)

    assert Request(turnstile, priority=100).refusal is not None
    first.leave()
    assert Request(turnstile).is_in


@pytest.mark.parametrize("terms", [(0.02, inf), (LONG, 0.02)])
async def test_a_wait_ends(terms: tuple[float, float]) -> None:
    """When the queue's time is over, or the client's."""
    seconds, patience = terms
    turnstile = Turnstile(1, 10, seconds)
    first = Request(turnstile)
    second = Request(turnstile, patience=patience)
    async with asyncio.timeout(BOUND):
        await second.ended.wait()

    assert second.refusal is not None
    assert "waited for too long" == second.refusal.note
    first.leave()
    assert (0, 0) == (turnstile.running, turnstile.waiting)


async def test_who_would_wait_for_too_long_need_not_wait() -> None:
    """Once it is known how long the backend takes; the first in the queue finds out."""
    turnstile = Turnstile(1, 10, LONG)
    first, second = Request(turnstile), Request(turnstile)
    await asyncio.sleep(0.02)
    first.leave()  # so that one takes 20 ms
    await asyncio.sleep(0)
    third = Request(turnstile, patience=0.021)
    hopeless = Request(turnstile, patience=0.03)
    patient = Request(turnstile)

    assert hopeless.refusal is not None
    assert "would wait for too long" == hopeless.refusal.note
    assert (None, None) == (third.refusal, patient.refusal)
    assert second.is_in


async def test_the_time_to_come_again_grows_with_the_queue() -> None:
    """And is never absurd."""
    turnstile = Turnstile(1, 200, LONG)
    first = Request(turnstile)
    waiting = [Request(turnstile, str(number)) for number in range(201)]
    assert waiting[-1].refusal is not None
    turnstile._pace = 0.1  # as if one took so long
    waiting.append(Request(turnstile, "0"))
    turnstile._pace = 100.0
    waiting.append(Request(turnstile, "0", patience=LONG))

    told = [each.refusal.retry_after for each in waiting if each.refusal is not None]
    assert [1.0, 20.0, LONGEST_RETRY] == told
    first.leave()


async def test_a_client_that_goes_gives_its_place_back() -> None:
    """Waiting, admitted and not yet told, or sent away and not yet told."""
    turnstile = Turnstile(1, 2, LONG)
    first, waiting, admitted, after = Request(turnstile), *(Request(turnstile, name) for name in "abc")
    assert after.refusal is not None
    waiting.go()
    first.leave()
    assert (1, 0) == (turnstile.running, turnstile.waiting)
    next_one = Request(turnstile, "d")
    admitted.go()
    await asyncio.sleep(0)

    assert next_one.is_in
    next_one.leave()
    assert 0 == turnstile.running


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), st.sampled_from("abc"), st.integers(-1, 1)),
        st.tuples(st.sampled_from(("leave", "go", "turn")), st.integers(0, 30), st.just(0)),
    ),
    max_size=60,
)


@settings(deadline=None)
@given(places=st.integers(1, 3), length=st.integers(0, 4), steps=STEPS)
def test_no_place_is_lost_or_given_twice(
    places: int, length: int, steps: list[tuple[str, str | int, int]]
) -> None:
    """Whatever comes, leaves and goes in whatever order."""

    async def play() -> None:
        turnstile = Turnstile(places, length, LONG)
        requests: list[Request] = []
        for what, who, priority in steps:
            if what == "ask":
                requests.append(Request(turnstile, str(who), priority))
            elif what == "turn":
                await asyncio.sleep(0)
            elif requests:
                chosen = requests[int(who) % len(requests)]
                if what == "go" and not chosen.is_in:
                    chosen.go()
                elif what == "leave" and chosen.is_in:
                    chosen.leave()
            inside = sum(each.is_in for each in requests)
            assert inside <= turnstile.running <= places
            assert turnstile.waiting <= length
            assert not turnstile.waiting or turnstile.running == places, "a free place, and somebody waits"
        for _ in range(len(requests) + 1):
            await asyncio.sleep(0)
            for each in requests:
                if each.is_in:
                    each.leave()
        assert (0, 0) == (turnstile.running, turnstile.waiting)
        assert all(each.ended.is_set() for each in requests)
        assert ({}, {}, {}) == (turnstile._waiters, turnstile._turns, turnstile._turn)

    asyncio.run(play())

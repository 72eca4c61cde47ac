"""Stage reserve: set aside before, settle after, however a request ends."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from gateway.core.budgets import Budget, Denial, Dimension, Key, Measure, Price, RouteBudgets
from gateway.core.exchange import Outcome
from gateway.core.ports import ClientGone, StoreUnavailable
from gateway.core.prompt import Prompt
from gateway.core.refusal import LimitState, Reason, Refusal, Refused, Source
from gateway.stages.identify import Identification, RoleMap, RoleRule
from gateway.stages.reserve.watch import Watch
from tests.doubles.line import CERTIFICATE, Line
from tests.doubles.outside import FakeAnswer

if TYPE_CHECKING:
    from gateway.core.exchange import Exchange, Usage

PER = (Key(Dimension.IDENTITY),)


def budget(measure: Measure, quota: int = 10_000, **more: object) -> Budget:
    """A budget named after what it measures."""
    return Budget("chat", measure.value, measure, quota, PER, 60.0, **more)  # type: ignore[arg-type]  # the caller's


ALL = tuple(budget(measure) for measure in Measure)
PRICES = {"tiny": Price(1_000_000, 2_000_000)}


def line_of(
    *budgets: Budget, prompt: Prompt | None = None, prices: dict[str, Price] | None = None, cap: int = 50
) -> Line:
    """A line whose route has budgets."""
    line = Line()
    line.set_route(budgets=RouteBudgets(budgets, PRICES if prices is None else prices, cap))
    if prompt is not None:
        line.inspector = lambda body, call: (prompt, b"{}", b"application/json")  # type: ignore[assignment,return-value]  # a check of bodies
        line.set_route(inspector=line.inspector)
    return line


def settled(line: Line) -> dict[str, int]:
    """What was charged, by budget; nothing is left held."""
    assert [] == line.budgets.held
    return dict(line.budgets.settled)


def test_a_route_without_budgets_asks_nobody() -> None:
    """No reservation, no settlement, no watch."""
    line = Line()
    line.run()

    assert not [event for event in line.events if event.startswith("budgets")]
    [(_, _, reservation, _)] = line.backends.asked
    assert () == reservation.holds


def test_reserves_before_anything_leaves_and_settles_at_the_end() -> None:
    """After the permit, before the credential and the backend; settled before the record."""
    line = line_of(budget(Measure.TOKENS))
    line.run()
    order = [
        line.events.index(event)
        for event in ("policy.decide", "budgets.reserve", "onward.find", "backends.open", "budgets.settle")
    ]

    assert sorted(order) == order
    assert line.events.index("budgets.settle") < line.events.index("record")


def test_every_measure_is_settled_by_what_was_used() -> None:
    """The backend's own count of tokens; bytes and time by our own."""
    line = line_of(*ALL, prompt=Prompt("tiny", stream=True, size=100, output_cap=20))
    line.backends.answer = FakeAnswer(pieces=(b"x" * 300,))

    def count(usage: Usage, content_type: bytes) -> object:
        usage.input_tokens, usage.output_tokens = 21, 9
        return line.meter

    line.set_route(meter=count)
    line.run()
    found = settled(line)

    assert found.pop("stream_time") >= 0
    assert {
        "requests": 1,
        "input_tokens": 21,
        "output_tokens": 9,
        "tokens": 30,
        "cost": 39,
        "bytes_out": 300,
        "concurrent": 1,
        "streams": 1,
    } == found


def test_what_is_no_stream_takes_no_stream() -> None:
    """Budgets of streams concern those who ask for one."""
    line = line_of(*ALL, prompt=Prompt("tiny", size=100))
    line.run()

    assert {"streams", "stream_time"}.isdisjoint(settled(line))


@pytest.mark.parametrize(
    ("more", "is_concerned"),
    [
        ({"roles": frozenset({"nobody"})}, False),
        ({"is_for": lambda model: model == "tiny"}, True),
        ({"is_for": lambda model: model == "huge"}, False),
    ],
)
def test_a_budget_may_be_for_some(more: dict[str, object], is_concerned: bool) -> None:
    """By role or model; nobody is asked if none concerns the request."""
    line = line_of(budget(Measure.TOKENS, **more))
    line.run()

    assert is_concerned == ("tokens" in settled(line))
    assert is_concerned == ("budgets.reserve" in line.events)


def test_a_budget_for_a_role_concerns_who_has_it() -> None:
    """One of the roles is enough."""
    line = line_of(budget(Measure.TOKENS, roles=frozenset({"x", "batch"})))
    roles = RoleMap([RoleRule("batch", certificates=frozenset({CERTIFICATE.subject}))])
    line.gateway.runtime = replace(line.runtime(), identification=Identification(roles=roles))
    ex = line.run()

    assert ex.identity is not None
    assert frozenset({"batch"}) == ex.identity.roles
    assert "tokens" in settled(line)


STATES = (LimitState("tokens", 10_000, 60.0, 3, 12.0, "tokens"),)


@pytest.mark.parametrize(
    ("is_temporary", "quota", "reason", "detail"),
    [
        (False, 10_000, Reason.BUDGET_EXCEEDED, "The budget of tokens has no room for this request; try again in 13 s."),
        (False, 50, Reason.BUDGET_EXCEEDED, "This request may need more tokens than the whole budget has."),
        (True, 10_000, Reason.BUDGET_HELD, "What is left of the budget of tokens is set aside for requests that run now."),
    ],
)  # fmt: skip
def test_a_denial_is_a_refusal(is_temporary: bool, quota: int, reason: Reason, detail: str) -> None:
    """Nothing reaches a backend, and nothing is held."""
    tokens = budget(Measure.TOKENS, quota)
    line = line_of(tokens)
    line.budgets.denial = Denial(tokens, 12.5, is_temporary=is_temporary, states=STATES)
    ex = line.run()

    assert ex.refusal == Refusal(reason, detail, retry_after=12.5, rule="tokens", limits=STATES)
    assert [] == line.backends.asked
    assert {} == settled(line)
    assert 429 == line.reply.status


def test_a_denial_of_the_local_share_says_so() -> None:
    """In the record, not to the client."""
    tokens = budget(Measure.TOKENS)
    line = line_of(tokens)

    async def reserve(holds: object, /) -> Denial:
        for hold in holds:  # type: ignore[attr-defined]  # a list
            hold.is_local = True
        return Denial(tokens, 1.0, is_temporary=False, states=())

    line.budgets.reserve = reserve  # type: ignore[method-assign]  # a double's
    ex = line.run()

    assert ex.refusal is not None
    assert "answered by the local share" == ex.refusal.note


def test_a_store_that_does_not_answer_refuses() -> None:
    """Nobody knows whether there is room, so there is none."""
    line = line_of(budget(Measure.TOKENS))
    line.budgets.fails = StoreUnavailable()
    ex = line.run()

    assert ex.refusal is not None
    assert (Reason.STORE_UNAVAILABLE, Source.GATEWAY) == (ex.refusal.reason, ex.refusal.source)
    assert [] == line.backends.asked


def test_what_has_no_price_is_not_free() -> None:
    """A budget of cost cannot be kept for a model without a price."""
    line = line_of(budget(Measure.COST), prices={})
    ex = line.run()

    assert ex.refusal is not None
    assert Reason.PRICE_UNKNOWN is ex.refusal.reason
    assert [] == line.backends.asked


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        (Reason.BACKEND_UNREACHABLE, 0),
        (Reason.BACKEND_BUSY, 0),
        (Reason.BACKEND_TIMEOUT, 25),
        (Reason.BACKEND_DIED, 25),
    ],
)
def test_what_no_answer_came_to_is_charged_its_input(reason: Reason, expected: int) -> None:
    """Unless no backend has seen a byte of it; our own refusal's bytes are nobody's use."""
    line = line_of(
        budget(Measure.TOKENS), budget(Measure.BYTES_OUT), prompt=Prompt("tiny", size=100, output_cap=9)
    )
    line.backends.fails = Refused(Refusal(reason, source=Source.UPSTREAM))
    line.run()

    assert {"tokens": expected, "bytes_out": 0} == settled(line)


def test_what_never_left_is_not_charged() -> None:
    """A credential that could not be had costs nothing, not even a request."""
    line = line_of(budget(Measure.TOKENS), budget(Measure.REQUESTS))
    line.onward.fails = Refused(Refusal(Reason.BACKEND_TOKEN, source=Source.UPSTREAM))
    line.run()

    assert {"tokens": 0, "requests": 0} == settled(line)


def test_an_error_of_the_backend_is_charged_its_input() -> None:
    """It produced nothing that counts; its bytes went out all the same."""
    line = line_of(
        budget(Measure.TOKENS), budget(Measure.BYTES_OUT), prompt=Prompt("tiny", size=100, output_cap=9)
    )
    line.backends.answer = FakeAnswer(status=500, pieces=(b"x" * 200,))
    line.run()

    assert {"tokens": 25, "bytes_out": 200} == settled(line)


@pytest.mark.parametrize("fault", [ClientGone(), Refused(Refusal(Reason.BACKEND_DIED))])
def test_an_answer_that_breaks_off_is_counted(fault: BaseException) -> None:
    """By its bytes and events: whoever goes away in the middle pays for what was written."""
    line = line_of(budget(Measure.TOKENS), prompt=Prompt("tiny", size=100))
    line.backends.answer = FakeAnswer(pieces=(b"x" * 160,))
    line.reply.fails_later = fault
    with suppress(ClientGone):
        line.run()
    ex: Exchange = line.record()

    assert ex.outcome in {Outcome.CLIENT_GONE, Outcome.FAILED}
    assert {"tokens": 25 + 40} == settled(line)


@pytest.mark.parametrize(
    ("measure", "stream", "is_watched"),
    [
        (Measure.TOKENS, True, True),
        (Measure.TOKENS, False, False),
        (Measure.BYTES_OUT, False, True),
        (Measure.REQUESTS, True, False),
    ],
)
def test_watches_what_can_grow(measure: Measure, stream: bool, is_watched: bool) -> None:
    """Tokens of a stream, bytes of every answer; nothing else."""
    line = line_of(budget(measure), prompt=Prompt("tiny", stream=stream, size=100))
    seen: list[object] = []
    relay = line.reply.relay

    async def look(answer: object, headers: bytes, meter: object, bounds: object, /) -> None:
        seen.append(meter)
        await relay(answer, headers, meter, bounds)  # type: ignore[arg-type]  # passed on

    line.reply.relay = look  # type: ignore[method-assign]  # a double's
    line.run()

    assert is_watched == isinstance(seen[0], Watch)

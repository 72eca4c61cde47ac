"""What a request may use, and what it used, when answers say so and when they do not."""

from __future__ import annotations

import pytest

from gateway.core.budgets import Estimate, Measure, Price, RouteBudgets
from gateway.core.exchange import Usage
from gateway.core.prompt import Prompt
from gateway.stages.reserve.amounts import amount, counted, estimate, reserved, used

PRICE = Price(200_000, 600_000)
BUDGETS = RouteBudgets((), {"llama": PRICE, "*": Price(1, 1)}, 500)


def usage(given: int | None = None, produced: int | None = None, events: int = 0) -> Usage:
    """Make what a meter found."""
    found = Usage()
    found.input_tokens, found.output_tokens, found.events = given, produced, events
    return found


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        (Prompt("llama", size=401), (101, 500, False)),
        (Prompt("llama", size=400, output_cap=64, choices=3), (100, 192, True)),
        (Prompt("llama", output_cap=0, choices=0), (0, 0, True)),
    ],
)
def test_an_estimate_is_what_a_request_may_use(prompt: Prompt, expected: tuple[int, int, bool]) -> None:
    """Bytes by four, and the cap of every choice: the client's, or the route's."""
    found = estimate(prompt, "llama", BUDGETS)

    assert expected == (found.given, found.produced, found.is_capped)
    assert PRICE is found.price


@pytest.mark.parametrize(
    ("model", "prices", "expected"),
    [
        ("other", BUDGETS.prices, Price(1, 1)),
        (None, BUDGETS.prices, Price(1, 1)),
        ("other", {"llama": PRICE}, None),
    ],
)
def test_a_price_is_the_models_or_the_general_one(
    model: str | None, prices: dict[str, Price], expected: Price | None
) -> None:
    """What has no price has none, rather than zero."""
    assert expected == estimate(Prompt(model), model, RouteBudgets((), prices)).price


@pytest.mark.parametrize(
    ("measure", "expected"),
    [
        (Measure.REQUESTS, (1, 1)),
        (Measure.CONCURRENT, (1, 1)),
        (Measure.STREAMS, (1, 1)),
        (Measure.INPUT_TOKENS, (100, 90)),
        (Measure.OUTPUT_TOKENS, (500, 400)),
        (Measure.TOKENS, (600, 490)),
        (Measure.COST, (320, 258)),
        (Measure.BYTES_OUT, (65536, 7000)),
        (Measure.STREAM_TIME, (10_000, 2500)),
    ],
)
def test_each_measure_counts_its_own(measure: Measure, expected: tuple[int, int]) -> None:
    """What is set aside for an estimate, and what an answer comes to."""
    expects = Estimate(100, 500, PRICE, is_capped=True)

    assert expected == (reserved(measure, expects, 10**9), amount(measure, expects, 90, 400, 7000, 2500))


def test_a_reservation_is_never_nothing_nor_more_than_the_quota_where_it_grows() -> None:
    """A small quota of bytes or time is taken whole; a prompt of nothing takes one."""
    nothing = Estimate(0, 0, None, is_capped=True)

    assert (100, 50) == (
        reserved(Measure.BYTES_OUT, nothing, 100),
        reserved(Measure.STREAM_TIME, nothing, 50),
    )
    assert (1, 0) == (reserved(Measure.COST, nothing, 9), amount(Measure.COST, nothing, 5, 5))


@pytest.mark.parametrize(
    ("events", "sent", "expected"), [(0, 0, 0), (0, 401, 101), (10, 1700, 10), (2, 912, 102)]
)
def test_events_and_bytes_stand_for_tokens(events: int, sent: int, expected: int) -> None:
    """An event is a token, and a long event is several."""
    assert expected == counted(events, sent)


@pytest.mark.parametrize(
    ("found", "sent", "is_whole", "is_capped", "expected"),
    [
        (usage(90, 40), 9000, True, True, (90, 40)),
        (usage(), 800, True, False, (100, 200)),
        (usage(), 8000, True, True, (100, 500)),
        (usage(90, None, 30), 30 * 170, True, False, (90, 30)),
        (usage(90, 1, 300), 300 * 170, False, False, (90, 300)),
        (usage(90, 1, 900), 900 * 170, False, True, (90, 500)),
        (usage(None, 400, 300), 300 * 170, False, False, (100, 400)),
    ],
    ids=["said", "silent", "capped", "events", "broken-off", "broken-off-capped", "said-more"],
)
def test_what_is_not_said_is_counted(
    found: Usage, sent: int, is_whole: bool, is_capped: bool, expected: tuple[int, int]
) -> None:
    """Never nothing; and what an answer said before it broke off is not its last word."""
    expects = Estimate(100, 500, None, is_capped=is_capped)

    assert expected == used(expects, found, sent, is_whole=is_whole)

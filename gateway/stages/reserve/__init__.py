"""Stage `reserve`: may this request use as much as it could? And, when it is over: what did it use?

Runs after `authorize`, because only then is it known which model is asked for how much. Sets aside what
the request may use at most, before it costs a backend anything, and settles what it really used, however
it ended. Keeps no state; a store that does not answer refuses.
"""

from __future__ import annotations

from functools import partial
from math import ceil
from typing import TYPE_CHECKING, Final

from gateway.core.budgets import Estimate, Hold, Measure
from gateway.core.exchange import Outcome
from gateway.core.permit import issue_reservation
from gateway.core.ports import StoreUnavailable
from gateway.core.refusal import Reason, Refusal, Refused, Source
from gateway.stages.reserve.amounts import amount, estimate, reserved, used
from gateway.stages.reserve.partition import account_by_head, account_of
from gateway.stages.reserve.watch import ALWAYS, STREAMED, Watch

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.core.budgets import Budget, Budgets, Denial
    from gateway.core.exchange import Exchange
    from gateway.core.identity import Identity
    from gateway.core.permit import Admission, Entry, Permit, Reservation, Vetted
    from gateway.core.ports import Answer, Clock, Meter, Reply

__all__ = ["foresee", "reserve", "settle", "watch"]

NOTHING: Final = Estimate(0, 0, None, is_capped=True)
"""The estimate of every request on a route without budgets: nobody asks."""

UNAVAILABLE: Final = Refusal(
    Reason.STORE_UNAVAILABLE,
    "Budgets cannot be checked at the moment.",
    source=Source.GATEWAY,
    retry_after=1.0,
)
NO_PRICE: Final = Refusal(
    Reason.PRICE_UNKNOWN,
    "This model has no price, and the budget is one of cost.",
    source=Source.GATEWAY,
)
FIRST_ERROR: Final = 400

FORESEEN_INPUT: Final = 1024
"""Input tokens that are drawn before anybody knows the body: 4 KiB of text."""

KEPT_BACK: Final = frozenset(
    {
        Reason.BACKEND_UNREACHABLE,
        Reason.BACKEND_ADDRESS_REFUSED,
        Reason.BACKEND_TLS,
        Reason.BACKEND_BUSY,
    }
)
"""Refusals after which no backend has seen a byte of the request."""


def foresee(entry: Entry, address: str) -> Callable[[], list[Hold]] | None:
    """Return who tells what a request may want of budgets whose accounts its head names, or None.

    For a store that is asked about the head anyway, and can draw this in the same trip. An estimate: what
    was not drawn, `reserve` asks for.

    Args:
        entry: Who may use which route.
        address: The caller's address.
    """
    return partial(_foreseen, entry, address) if entry.route.budgets.early else None


def _foreseen(entry: Entry, address: str) -> list[Hold]:
    route = entry.route.budgets
    price = max(route.prices.values(), key=lambda each: each.output, default=None)
    expected = Estimate(FORESEEN_INPUT, route.output_cap, price, is_capped=False)
    return [
        Hold(
            budget,
            account_by_head(budget, entry, address),
            reserved(budget.measure, expected, budget.quota),
        )
        for budget in route.early
        if _is_of_role(budget, entry.identity)
    ]


async def reserve(
    permit: Permit, admission: Admission, vetted: Vetted, address: str, budgets: Budgets
) -> Reservation:
    """Set aside what a permitted request may use, of all budgets that concern it, or of none.

    Args:
        permit: Who may send what to which model.
        admission: Proof that the head was admitted.
        vetted: The prompt.
        address: The caller's address.
        budgets: Keeps the budgets; not asked if none concerns the request.

    Returns:
        Proof that there is room; it must be settled.

    Raises:
        Refused: `BUDGET_EXCEEDED`, `BUDGET_HELD` (nothing was charged), `PRICE_UNKNOWN` or
            `STORE_UNAVAILABLE`.
    """
    route = permit.route.budgets
    if not route.budgets:
        return issue_reservation(admission, permit, (), NOTHING)
    prompt = vetted.prompt
    expected = estimate(prompt, permit.model, route)
    holds: list[Hold] = []
    for budget in route.budgets:
        if not _concerns(budget, permit) or (not prompt.stream and budget.measure in {_STREAMS, _TIME}):
            continue
        if budget.measure is Measure.COST and expected.price is None:
            raise Refused(NO_PRICE)  # what has no price is not free
        account = account_of(budget, permit, address)
        holds.append(Hold(budget, account, reserved(budget.measure, expected, budget.quota)))
    if holds:
        try:
            denial = await budgets.reserve(holds)
        except StoreUnavailable:
            raise Refused(UNAVAILABLE) from None
        if denial is not None:
            raise Refused(_refusal(denial, holds))
    return issue_reservation(admission, permit, tuple(holds), expected)


_STREAMS: Final = Measure.STREAMS
_TIME: Final = Measure.STREAM_TIME


def _concerns(budget: Budget, permit: Permit) -> bool:
    if not _is_of_role(budget, permit.identity):
        return False
    return budget.is_for is None or budget.is_for(permit.model or "")


def _is_of_role(budget: Budget, identity: Identity) -> bool:
    return budget.roles is None or not budget.roles.isdisjoint(identity.roles)


def _refusal(denial: Denial, holds: list[Hold]) -> Refusal:
    budget = denial.budget
    needed = next(hold.amount for hold in holds if hold.budget is budget)
    what = budget.measure.value.replace("_", " ")
    if denial.is_temporary:
        reason = Reason.BUDGET_HELD
        detail = f"What is left of the budget of {what} is set aside for requests that run now."
    else:
        reason = Reason.BUDGET_EXCEEDED
        seconds = max(1, ceil(denial.retry_after))
        detail = f"The budget of {what} has no room for this request; try again in {seconds} s."
        if needed > budget.quota:
            detail = f"This request may need more {what} than the whole budget has."
    return Refusal(
        reason,
        detail,
        note="answered by the local share" if any(hold.is_local for hold in holds) else "",
        retry_after=denial.retry_after,
        rule=budget.name,
        limits=denial.states,
    )


def watch(
    meter: Meter, reservation: Reservation, exchange: Exchange, budgets: Budgets, reply: Reply, clock: Clock
) -> Meter:
    """Return the meter itself, or one around it that sees to it that the answer does not outrun its budget.

    Args:
        meter: The answer's meter.
        reservation: What was reserved.
        exchange: Its usage and prompt.
        budgets: Where more can be had.
        reply: What is ended if there is no more.
        clock: Time.
    """
    if not reservation.holds:
        return meter
    prompt = exchange.prompt
    growing = STREAMED if prompt is not None and prompt.stream else ALWAYS
    holds = tuple(hold for hold in reservation.holds if hold.budget.measure in growing)
    if not holds:
        return meter
    return Watch(meter, exchange.usage, holds, reservation, budgets, reply, clock)


def settle(
    reservation: Reservation,
    exchange: Exchange,
    answer: Answer | None,
    budgets: Budgets,
    sent: int,
    now: float,
) -> None:
    """Charge what a request used, and give back the rest. Synchronous; once per reservation.

    A request that never reached a backend used nothing. One that did, and was not served, used its
    input; an answer that did not say what it used is counted by its events and bytes.

    Args:
        reservation: What was reserved.
        exchange: How the request went.
        answer: The backend's answer, if there was one.
        budgets: Where it was reserved.
        sent: Bytes of it that were passed on.
        now: Monotonic seconds.
    """
    if not reservation.holds:
        return
    refusal = exchange.refusal
    if exchange.forwarded_at == 0.0 or (refusal is not None and refusal.reason in KEPT_BACK):
        for hold in reservation.holds:
            budgets.settle(hold, 0)
        return
    expected = reservation.estimate
    given, produced, lasted = expected.given, 0, 0
    if answer is None:
        sent = 0  # what was sent is our own refusal
    else:
        lasted = int((now - exchange.answered_at) * 1000.0)
        if answer.status < FIRST_ERROR:
            is_whole = exchange.outcome is Outcome.SERVED
            given, produced = used(expected, exchange.usage, sent, is_whole=is_whole)
    for hold in reservation.holds:
        budgets.settle(hold, amount(hold.budget.measure, expected, given, produced, sent, lasted))

"""What a refused claim looks like, computed alike for every store.

Stores decide whether a claim is granted; this file only words the refusal: which limit, how long to
wait, what the limits look like. It never decides and never charges.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gateway.core.limits import Ledger
from gateway.core.refusal import LimitState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.core.limits import RateLimit, RouteLimits

GRAIN: Final = 1e-6
"""Seconds by which a claim may be too early: sums of floats err by less, limits grant by more.

Without it the last request of a burst would be refused whenever its sum was rounded up. It does not
add up: what is stored is the exact sum.
"""

CONCURRENCY_WAIT: Final = 1.0
"""Seconds to wait for a concurrency slot: nobody knows when a running request will end."""


def remaining(limit: RateLimit, debt: float) -> int:
    """Return how many requests a rate limit grants at once now.

    Args:
        limit: The limit.
        debt: Seconds from now to the stored theoretical arrival time, at least 0.
    """
    return max(0, int((limit.tolerance - debt + GRAIN) / limit.interval))


def refusal(limits: RouteLimits, debts: Sequence[float], running: int, *, is_rate: bool) -> Ledger:
    """Make the ledger of a claim that was refused.

    Args:
        limits: All limits of the claim.
        debts: Per rate limit, seconds from now to the stored theoretical arrival time, at least 0.
        running: Requests that hold a concurrency slot.
        is_rate: True if a rate limit refused; else the concurrency limit did.

    Returns:
        A ledger that names the limit with the longest wait.
    """
    states = [
        LimitState(limit.name, limit.count, limit.period, remaining(limit, debt), debt)
        for limit, debt in zip(limits.rates, debts, strict=True)
    ]
    concurrency = limits.concurrency
    if concurrency is not None:
        free = max(0, concurrency.maximum - running)
        states.append(LimitState(concurrency.name, concurrency.maximum, 0.0, free, 0.0))
    if is_rate:
        waits = [
            debt + limit.interval - limit.tolerance for limit, debt in zip(limits.rates, debts, strict=True)
        ]
        longest = max(waits)
        name = limits.rates[waits.index(longest)].name
        return Ledger(refused=name, retry_after=max(longest, GRAIN), states=tuple(states))
    name = concurrency.name if concurrency is not None else ""
    return Ledger(refused=name, is_concurrency=True, retry_after=CONCURRENCY_WAIT, states=tuple(states))

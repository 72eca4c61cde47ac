"""Limits as data, and the pure arithmetic of the rate limit.

The rate limit is the generic cell rate algorithm (GCRA; ITU-T I.371, annex A): one number per key,
the theoretical arrival time, instead of a list of hits. Memory and Redis run the same arithmetic and
are held together by one contract suite.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, final

from gateway.core.budgets import Budget, Dimension, Key, Measure
from gateway.core.refusal import LimitState  # noqa: TC001 - the compiler reads annotations of classes


@final
@dataclass(frozen=True)
class RateLimit:
    """At most `count` requests per `period`, of which `burst` may come at once.

    Args:
        name: Unique in its route.
        count: Requests per period.
        period: Seconds.
        burst: How many may come at once; at least 1.
    """

    name: str
    count: int
    period: float
    burst: int
    interval: float = field(init=False)
    tolerance: float = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "interval", self.period / self.count)
        object.__setattr__(self, "tolerance", self.period / self.count * self.burst)


@final
@dataclass(frozen=True)
class ConcurrencyLimit:
    """At most `maximum` requests of one identity at the same time.

    Args:
        name: Unique in its route.
        maximum: How many.
    """

    name: str
    maximum: int


@final
@dataclass(frozen=True)
class RouteLimits:
    """All limits of one route; charged all or none.

    Args:
        scope: Prefix of the keys, unique per route.
        rates: Rate limits.
        concurrency: Concurrency limit, or None.
        is_local_on_failure: True if the route goes on with a local share when the store fails.
    """

    scope: str
    rates: tuple[RateLimit, ...] = ()
    concurrency: ConcurrencyLimit | None = None
    is_local_on_failure: bool = False


IDENTITY: Final = (Key(Dimension.IDENTITY),)


def as_budgets(limits: RouteLimits) -> tuple[Budget, ...]:
    """Return the same limits as budgets, of which a fleet draws shares: rates in order, concurrency last.

    A rate is a rolling budget that is whole again after as long as its burst takes.
    """
    budgets = [
        Budget(limits.scope, limit.name, Measure.REQUESTS, limit.burst, IDENTITY, limit.tolerance)
        for limit in limits.rates
    ]
    concurrency = limits.concurrency
    if concurrency is not None:
        budgets.append(
            Budget(limits.scope, concurrency.name, Measure.CONCURRENT, concurrency.maximum, IDENTITY)
        )
    return tuple(budgets)


@final
class Ledger:
    """The store's answer to one claim.

    Args:
        lease: What `settle` needs to give the concurrency slot back, or None if there is none.
        refused: Name of the limit that refused, or None if granted. Nothing was charged then.
        is_concurrency: True if the refusing limit is the concurrency limit.
        retry_after: Seconds until the claim could be granted; 0 if granted.
        states: Filled when refused: the limits that the claim touched.
        is_local: True if the store failed and a local share answered.
        is_temporary: True if there would be room, did not another process hold it idle for a moment.
    """

    __slots__ = ("is_concurrency", "is_local", "is_temporary", "lease", "refused", "retry_after", "states")

    def __init__(
        self,
        lease: object = None,
        refused: str | None = None,
        *,
        is_concurrency: bool = False,
        retry_after: float = 0.0,
        states: tuple[LimitState, ...] = (),
        is_local: bool = False,
        is_temporary: bool = False,
    ) -> None:
        self.lease = lease
        self.refused = refused
        self.is_concurrency = is_concurrency
        self.retry_after = retry_after
        self.states = states
        self.is_local = is_local
        self.is_temporary = is_temporary


def charge(limit: RateLimit, arrival: float, now: float) -> tuple[float, float]:
    """Charge one request by GCRA, without deciding.

    Args:
        limit: The limit.
        arrival: Stored theoretical arrival time, 0 for a key never seen.
        now: Seconds, same clock as `arrival`.

    Returns:
        The new theoretical arrival time, and how many seconds too early the request is: at most 0
        means that it conforms. The caller stores the new time only if every limit conforms.
    """
    arrival = max(arrival, now) + limit.interval
    return arrival, arrival - limit.tolerance - now

"""Budgets as data, and the arithmetic of one account: how much is left, and what a use costs.

A budget limits what is known only once a body is read: tokens, cost, bytes, time, and whatever is counted
per model. It is reserved before a request is forwarded and settled when it is over. All amounts are
whole numbers of the measure's smallest unit. Memory and Redis run the same arithmetic and are held
together by one contract suite.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence  # noqa: TC003 - read at run time by dataclasses
from dataclasses import dataclass, field
from enum import Enum
from math import floor
from typing import Final, Protocol, final

from gateway.core.calendars import Calendar  # noqa: TC001 - read at run time by dataclasses
from gateway.core.refusal import LimitState

GRAIN: Final = 1e-6
"""Seconds by which a use may be too early: sums of floats err by less, budgets grant by more."""


@final
class Measure(Enum):
    """What is counted. Values are the words of configuration and record."""

    REQUESTS = "requests"
    INPUT_TOKENS = "input_tokens"
    OUTPUT_TOKENS = "output_tokens"
    TOKENS = "tokens"  # both
    COST = "cost"  # millionths of the currency's unit
    BYTES_OUT = "bytes_out"
    STREAM_TIME = "stream_time"  # milliseconds
    CONCURRENT = "concurrent"
    STREAMS = "streams"  # event streams at the same time

    @property
    def is_level(self) -> bool:
        """True if it is held for a time and then given back whole."""
        return self is Measure.CONCURRENT or self is Measure.STREAMS


@final
class Dimension(Enum):
    """What a budget is kept apart by."""

    IDENTITY = "identity"
    ROUTE = "route"
    MODEL = "model"
    ROLE = "role"
    CERTIFICATE = "certificate"
    NETWORK = "network"
    CLAIM = "claim"


@final
@dataclass(frozen=True)
class Key:
    """One dimension of a budget, with what it needs.

    Args:
        dimension: Which.
        claim: Name of the token's claim, for `CLAIM`.
        prefix4: Length of the prefix that makes an IPv4 network, for `NETWORK`.
        prefix6: The same for IPv6.
    """

    dimension: Dimension
    claim: str = ""
    prefix4: int = 32
    prefix6: int = 64


@final
@dataclass(frozen=True)
class Budget:
    """At most `quota` per period or window, or at the same time.

    Args:
        scope: Name of the route, or "" if routes share it.
        name: Unique in its scope; what clients and records read.
        measure: What is counted.
        quota: How much, in the measure's smallest unit; also what may come at once.
        per: What it is kept apart by.
        period: Seconds in which a rolling budget is whole again; 0 if it is none.
        calendar: Windows at whose start the budget is whole again, or None.
        roles: It concerns callers with one of these roles; None: all.
        is_for: Tells whether it concerns a model; None: all.
        is_extending: True if an answer that outruns what was reserved may take more.
        is_local_on_failure: True if a local share may answer when the store fails.

    Two numbers follow: `interval`, seconds of a rolling budget per unit, and `longest`, seconds that its
    arrival time may lie ahead.
    """

    scope: str
    name: str
    measure: Measure
    quota: int
    per: tuple[Key, ...]
    period: float = 0.0
    calendar: Calendar | None = None
    roles: frozenset[str] | None = None
    is_for: Callable[[str], bool] | None = None
    is_extending: bool = True
    is_local_on_failure: bool = False
    interval: float = field(init=False)
    longest: float = field(init=False)

    def __post_init__(self) -> None:
        interval = self.period / self.quota
        # nobody is locked out for longer: by a limit that was made smaller, a clock that went back, a forged
        # time, nor for what was used beyond the quota; of requests, nothing can be
        longest = self.period + interval if self.measure is Measure.REQUESTS else 2.0 * self.period
        object.__setattr__(self, "interval", interval)
        object.__setattr__(self, "longest", longest)


@final
@dataclass(frozen=True)
class Price:
    """What a model costs, in millionths of the currency's unit per million tokens.

    Args:
        input: Per million input tokens.
        output: Per million output tokens.
    """

    input: int
    output: int

    def of(self, given: int, produced: int) -> int:
        """Return the cost of one answer in millionths, rounded up."""
        return -(-(given * self.input + produced * self.output) // 1_000_000)


@final
@dataclass(frozen=True)
class RouteBudgets:
    """Everything that a route's requests are charged for after they were permitted.

    Args:
        budgets: Reserved all or none.
        prices: By model; "*" for all others.
        output_cap: Output tokens per choice that are reserved where the client names no cap.

    One more follows: `early`, the budgets whose accounts the head of a request names.
    """

    budgets: tuple[Budget, ...] = ()
    prices: dict[str, Price] = field(default_factory=dict)
    output_cap: int = 1024
    early: tuple[Budget, ...] = field(init=False)

    def __post_init__(self) -> None:
        early = tuple(
            budget
            for budget in self.budgets
            if budget.is_for is None and all(key.dimension is not Dimension.MODEL for key in budget.per)
        )
        object.__setattr__(self, "early", early)


@final
class Estimate:
    """What a request is taken to use before anybody knows.

    Args:
        given: Input tokens.
        produced: Output tokens, of all choices.
        price: What they cost, or None.
        is_capped: True if the client named the cap, so that an answer will not outrun it.
    """

    __slots__ = ("given", "is_capped", "price", "produced")

    def __init__(self, given: int, produced: int, price: Price | None, *, is_capped: bool) -> None:
        self.given = given
        self.produced = produced
        self.price = price
        self.is_capped = is_capped


@final
class Hold:
    """An amount set aside for one request.

    Args:
        budget: From which.
        key: Whose, in the budget's dimensions.
        amount: How much, at least 1; grows when it is extended.
    """

    __slots__ = ("account", "amount", "budget", "is_growing", "is_local", "key")

    def __init__(self, budget: Budget, key: str, amount: int) -> None:
        self.budget = budget
        self.key = key
        self.amount = amount
        self.account: object = None  # the store's own; None: nothing is held
        self.is_growing = False  # the store was asked for more and has not answered
        self.is_local = False  # held by the local share, because the store failed


@final
class Denial:
    """Why nothing was set aside. Nothing was charged.

    Args:
        budget: Which had no room; the one with the longest wait.
        retry_after: Seconds until there may be room.
        is_temporary: True if there would be room, were it not held by what runs now.
        states: All budgets asked for that had no room.
    """

    __slots__ = ("budget", "is_temporary", "retry_after", "states")

    def __init__(
        self, budget: Budget, retry_after: float, *, is_temporary: bool, states: tuple[LimitState, ...]
    ) -> None:
        self.budget = budget
        self.retry_after = retry_after
        self.is_temporary = is_temporary
        self.states = states


class Budgets(Protocol):
    """Exact shared state, a port as those in `gateway.core.ports`: what requests may use together."""

    async def reserve(self, holds: Sequence[Hold], /) -> Denial | None:
        """Set all amounts aside, or none.

        Returns:
            None if all are held, and each must be settled; else why not, and nothing is held.

        Raises:
            StoreUnavailable: The store did not answer in time, and the budgets do not say that a local
                share may answer instead.
        """

    def extend(self, hold: Hold, amount: int, refuse: Callable[[], None], /) -> None:
        """Set more aside for a request that runs: `hold.amount` grows, now or soon. Never blocks.

        Args:
            hold: What is held; not asked for more again while `is_growing`.
            amount: How much more.
            refuse: Called, now or soon, if there is no more; not after the hold was settled.
        """

    def settle(self, hold: Hold, used: int, /) -> None:
        """Charge what was used, also if it is more than was held, and give back the rest.

        Never blocks, never raises; idempotent.
        """


@final
@dataclass(frozen=True)
class Shortage:
    """One budget that has no room for an amount.

    Args:
        hold: What was asked for.
        room: How much there is.
        used: How much is used, without what is held.
        reset: Seconds until the budget is whole again.
    """

    hold: Hold
    room: int
    used: int
    reset: float


HELD_WAIT: Final = 1.0
"""Seconds to wait for what others hold: nobody knows when they end."""


def deny(shortages: list[Shortage]) -> Denial:
    """Word a refusal: the shortage with the longest wait decides.

    Args:
        shortages: At least one.
    """
    waits = [_wait(shortage) for shortage in shortages]
    longest = max(waits)
    worst = shortages[waits.index(longest)].hold.budget
    states = tuple(
        LimitState(
            short.hold.budget.name,
            short.hold.budget.quota,
            window_of(short.hold.budget),
            max(0, short.room),
            short.reset,
            short.hold.budget.measure.value,
        )
        for short in shortages
    )
    return Denial(worst, longest[1], is_temporary=not longest[0], states=states)


def _wait(short: Shortage) -> tuple[bool, float]:
    """Return whether the budget is used up, rather than held, and seconds to wait."""
    budget, need = short.hold.budget, short.hold.amount
    lacking = short.used + need - budget.quota
    if budget.measure.is_level or lacking <= 0:
        return False, HELD_WAIT
    if budget.calendar is None and need <= budget.quota:
        return True, max(lacking * budget.interval, GRAIN)
    return True, max(short.reset, GRAIN)


DAYS: Final = {"hour": 3600.0, "day": 86400.0, "week": 7 * 86400.0, "month": 30 * 86400.0}


def window_of(budget: Budget) -> float:
    """Return a budget's window in seconds for what clients read; a month counts 30 days, a level 0."""
    return budget.period if budget.calendar is None else DAYS[budget.calendar.window.value]


def used_of(budget: Budget, arrival: float, now: float) -> int:
    """Return what a rolling budget counts as used, rounded up.

    Args:
        budget: A rolling budget.
        arrival: Stored theoretical arrival time.
        now: Seconds, same clock.
    """
    free = floor((budget.period - max(arrival - now, 0.0) + GRAIN) / budget.interval)
    return max(0, budget.quota - free)


def spend(budget: Budget, arrival: float, now: float, amount: int) -> float:
    """Charge an amount to a rolling budget (GCRA with a weight); return the new arrival time.

    What was charged beyond the quota is paid off, as far as `Budget.longest`.
    """
    latest = now + budget.longest
    return min(max(min(arrival, latest), now) + amount * budget.interval, latest)

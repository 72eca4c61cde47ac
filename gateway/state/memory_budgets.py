"""Budgets of one process, in memory: the embedded default, and the local share of a fleet.

Nothing here suspends, so nothing comes between looking and taking. An account knows what is used and what
is held; together they never exceed the quota, but for answers that used more than anybody could foresee.
Memory is bounded by `accounts`: idle accounts are swept a few at a time whenever a new one is made; one
that still restrains somebody is never dropped.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, final

from gateway.core.accounts import Standing, forgiven
from gateway.core.budgets import Shortage, deny, spend, used_of
from gateway.core.ports import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gateway.core.accounts import Account
    from gateway.core.budgets import Budget, Denial, Hold
    from gateway.core.ports import Clock

SWEEP: Final = 4
"""Accounts looked at per new account: more than one, so that the idle shrink faster than they grow."""

SWEEP_WHEN_FULL: Final = 64
"""Accounts looked at before a new one is refused: bounds the work of one request."""


@final
class _Account:
    """What was used of one budget under one key, and what is held."""

    __slots__ = ("arrival", "budget", "end", "held", "key", "used")

    def __init__(self, key: tuple[str, str, str], budget: Budget) -> None:
        self.key = key
        self.budget = budget
        self.held = 0
        self.used = 0  # of a calendar budget, in the window that ends at `end`
        self.end = 0.0
        self.arrival = 0.0  # of a rolling budget


@final
class MemoryBudgets:
    """Budgets in this process's memory. Implements `gateway.core.budgets.Budgets`.

    Args:
        clock: `tick` is the time of rolling budgets, `wall` that of calendars.
        accounts: Most accounts that are remembered.
    """

    __slots__ = ("_accounts", "_capacity", "_clock", "_ring")

    def __init__(self, clock: Clock, *, accounts: int = 1_000_000) -> None:
        self._clock = clock
        self._capacity = accounts
        self._accounts: dict[tuple[str, str, str], _Account] = {}
        self._ring: deque[_Account] = deque()

    def __len__(self) -> int:
        """Return how many accounts are remembered."""
        return len(self._accounts)

    async def reserve(self, holds: Sequence[Hold], /) -> Denial | None:
        """Set all amounts aside, or none; never suspends.

        Raises:
            StoreUnavailable: The memory is full of accounts that still restrain somebody.
        """
        known = self._accounts
        if any((hold.budget.scope, hold.budget.name, hold.key) not in known for hold in holds):
            self._make_room(len(holds))  # before one of this claim is looked at: it may be idle
        accounts: list[_Account] = []
        shortages: list[Shortage] = []
        for hold in holds:
            account = self._account(hold)
            used = self._used(account)
            room = hold.budget.quota - used - account.held
            if hold.amount > room:
                shortages.append(Shortage(hold, room, used, self._reset(account)))
            accounts.append(account)
        if shortages:
            return deny(shortages)
        for hold, account in zip(holds, accounts, strict=True):
            account.held += hold.amount
            hold.account = account
        return None

    def extend(self, hold: Hold, amount: int, refuse: Callable[[], None], /) -> None:
        """Set more aside for a request that runs, or tell it that there is no more."""
        account = hold.account
        if not isinstance(account, _Account):
            return
        if amount > account.budget.quota - self._used(account) - account.held:
            refuse()
            return
        account.held += amount
        hold.amount += amount

    def settle(self, hold: Hold, used: int, /) -> None:
        """Charge what was used, and give the rest back; the second call does nothing."""
        account = hold.account
        if not isinstance(account, _Account):
            return
        hold.account = None
        account.held -= hold.amount
        budget = account.budget
        if used <= 0 or budget.measure.is_level:
            return
        if budget.calendar is None:
            account.arrival = spend(budget, account.arrival, self._clock.tick(), used)
        else:
            account.used = self._used(account) + used

    def standing(self, whose: Account, /) -> Standing:
        """Return how an account stands; looking at one that nobody has used makes none."""
        account = self._find(whose)
        if account is None:
            return Standing(0, 0, 0.0)
        used = self._used(account)
        return Standing(used, account.held, self._reset(account) if used else 0.0)

    def forgive(self, whose: Account, most: int | None, /) -> int:
        """Take off what was used, at most `most`; return how much that was."""
        account = self._find(whose)
        if account is None:
            return 0
        used = self._used(account)
        taken = used if most is None else min(most, used)
        if account.budget.calendar is None:
            account.arrival = forgiven(account.budget, account.arrival, taken)
        else:
            account.used = used - taken
        return taken

    def _find(self, whose: Account) -> _Account | None:
        budget = whose.budget
        account = self._accounts.get((budget.scope, budget.name, whose.key))
        if account is not None and account.budget is not budget:
            account.budget = budget
        return account

    def _used(self, account: _Account) -> int:
        budget = account.budget
        if budget.measure.is_level:
            return 0
        if budget.calendar is None:
            if account.arrival == 0.0:
                return 0
            now = self._clock.tick()
            account.arrival = min(account.arrival, now + 2.0 * budget.period)
            return used_of(budget, account.arrival, now)
        now = self._clock.wall()
        if now >= account.end:  # a clock that goes back gives nobody a second window
            account.end = budget.calendar.span(now)[1]
            account.used = 0
        return account.used

    def _reset(self, account: _Account) -> float:
        budget = account.budget
        if budget.measure.is_level:
            return 0.0
        if budget.calendar is None:
            return max(account.arrival - self._clock.tick(), 0.0)
        return max(account.end - self._clock.wall(), 0.0)

    def _account(self, hold: Hold) -> _Account:
        budget = hold.budget
        key = budget.scope, budget.name, hold.key
        account = self._accounts.get(key)
        if account is None:
            account = self._accounts[key] = _Account(key, budget)
            self._ring.append(account)
        elif account.budget is not budget:
            account.budget = budget  # after a reload: what was used stays used
        return account

    def _make_room(self, count: int) -> None:
        self._sweep(SWEEP)
        if len(self._accounts) + count > self._capacity:
            self._sweep(SWEEP_WHEN_FULL)
        if len(self._accounts) + count > self._capacity:
            raise StoreUnavailable

    def _sweep(self, count: int) -> None:
        """Look at the next accounts of the ring, and forget those that restrain nobody any more."""
        ring = self._ring
        for _ in range(min(count, len(ring))):
            account = ring.popleft()
            if account.held == 0 and self._used(account) == 0:
                del self._accounts[account.key]
            else:
                ring.append(account)

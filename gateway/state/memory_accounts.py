"""What operators see and forgive of limits and budgets in this process's memory. Nothing here suspends."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, final

from gateway.core.accounts import Standing, forgiven
from gateway.core.budgets import used_of
from gateway.core.limits import as_budgets

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.core.accounts import Account
    from gateway.core.ports import Clock
    from gateway.state.memory import Entry, MemoryStore
    from gateway.state.memory_budgets import MemoryBudgets

_as_budgets = lru_cache(maxsize=4096)(as_budgets)


@final
class MemoryAccounts:
    """Accounts in memory. Implements `gateway.core.accounts.Accounts`; both calls are exact and never fail.

    Args:
        budgets: Keeps budgets.
        store: Keeps limits of heads.
        clock: The time of both.
    """

    __slots__ = ("_budgets", "_clock", "_store")

    def __init__(self, budgets: MemoryBudgets, store: MemoryStore, clock: Clock) -> None:
        self._budgets = budgets
        self._store = store
        self._clock = clock

    async def show(self, accounts: Sequence[Account], /) -> list[Standing]:
        """Return how accounts stand."""
        standings = []
        for account in accounts:
            entry = self._entry(account)
            standings.append(
                self._budgets.standing(account) if entry is None else self._look(account, entry, 0)[1]
            )
        return standings

    async def forgive(self, accounts: Sequence[Account], most: int | None, /) -> list[int | None]:
        """Take off what was used of each, at most `most`."""
        taken: list[int | None] = []
        for account in accounts:
            entry = self._entry(account)
            if entry is None:
                taken.append(self._budgets.forgive(account, most))
            else:
                taken.append(self._look(account, entry, account.budget.quota if most is None else most)[0])
        return taken

    def _entry(self, account: Account) -> Entry | None:
        """Return what is kept of limits of heads, if the account is one of them and was ever charged."""
        entry = self._store.entry(account.budget.scope, account.key)
        return entry if entry is not None and account.budget in _as_budgets(entry.limits) else None

    def _look(self, account: Account, entry: Entry, most: int) -> tuple[int, Standing]:
        """Take off at most `most` of a limit; return how much, and how it stands then."""
        budget = account.budget
        if budget.measure.is_level:
            return 0, Standing(0, entry.running, 0.0)
        now = self._clock.tick()
        index = [rate.name for rate in entry.limits.rates].index(budget.name)
        used = used_of(budget, entry.arrivals[index], now)
        taken = min(used, most)
        arrival = entry.arrivals[index] = forgiven(budget, entry.arrivals[index], taken)
        return taken, Standing(used - taken, 0, max(arrival - now, 0.0) if used > taken else 0.0)

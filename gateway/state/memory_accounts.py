"""What operators see and forgive of budgets in this process's memory. Nothing here suspends."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.core.accounts import Account, Standing
    from gateway.state.memory_budgets import MemoryBudgets


@final
class MemoryAccounts:
    """Accounts in memory. Implements `gateway.core.accounts.Accounts`; both calls are exact and never fail.

    Args:
        budgets: Keeps them.
    """

    __slots__ = ("_budgets",)

    def __init__(self, budgets: MemoryBudgets) -> None:
        self._budgets = budgets

    async def show(self, accounts: Sequence[Account], /) -> list[Standing]:
        """Return how accounts stand."""
        return [self._budgets.standing(account) for account in accounts]

    async def forgive(self, accounts: Sequence[Account], most: int | None, /) -> list[int | None]:
        """Take off what was used of each, at most `most`."""
        return [self._budgets.forgive(account, most) for account in accounts]

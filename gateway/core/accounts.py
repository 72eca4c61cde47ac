"""What operators see of limits, and what they may do to them: show, and forgive what was used.

Never asked for a request. To forgive is the only change there is: it takes off what counts as used, at most
all of it, and touches no quota and nothing that is held. So nobody can ever use more within a window than
the quota and what was forgiven.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, final

from gateway.core.budgets import Budget  # noqa: TC001 - the compiler reads annotations of classes

if TYPE_CHECKING:
    from collections.abc import Sequence


@final
@dataclass(frozen=True)
class Account:
    """Whose part of a budget is meant.

    Args:
        budget: The budget.
        key: The values of its dimensions, as requests name them.
    """

    budget: Budget
    key: str


@final
@dataclass(frozen=True)
class Standing:
    """How an account stands. Amounts are in the smallest unit of the budget's measure.

    Args:
        used: More than the quota where an answer used more than anybody could foresee.
        held: Set aside for requests that run, or drawn by a gateway process that may need it within seconds.
        reset: Seconds until nothing counts as used any more.
    """

    used: int
    held: int
    reset: float


class Accounts(Protocol):
    """Looks into accounts, and takes off what was used. A port as those in `gateway.core.ports`."""

    async def show(self, accounts: Sequence[Account], /) -> list[Standing]:
        """Return how accounts stand, in their order.

        Raises:
            StoreUnavailable: Nobody knows.
        """

    async def forgive(self, accounts: Sequence[Account], most: int | None, /) -> list[int | None]:
        """Take off what was used of each account before the call, at most `most`; None takes off all.

        What is held stays held, and is charged when it is used. Of what is used while the call lasts, a
        part may be forgiven as well.

        Returns:
            How much was taken off, per account; None where nobody knows, because the store did not answer.
        """


def forgiven(budget: Budget, arrival: float, amount: int) -> float:
    """Return the arrival time of a rolling budget after an amount was taken off.

    Args:
        budget: A rolling budget.
        arrival: Stored theoretical arrival time.
        amount: At most what is used.
    """
    return arrival - amount * budget.interval

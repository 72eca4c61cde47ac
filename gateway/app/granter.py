"""Which limits concern an identity, how they stand, and what is forgiven of them at an operator's word.

Whatever is forgiven leaves one action per limit in the audit log, and one line in the log. It is not done
while the audit log is unwell: nobody gets more without a trace.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from gateway.admin.limits import NoSuchLimit, NotForgivable, Row, Taken, Untold
from gateway.core.accounts import Account
from gateway.core.budgets import Dimension
from gateway.core.ports import StoreUnavailable
from gateway.observe.action import adjustment
from gateway.stages.reserve.partition import account_with, word_of
from gateway.state.head_accounts import budgets_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from structlog.typing import FilteringBoundLogger

    from gateway.admin.limits import Order
    from gateway.core.accounts import Accounts
    from gateway.core.budgets import Budget
    from gateway.core.ports import Clock
    from gateway.core.route import Route
    from gateway.observe.audit import AuditLog

NOT_USED = "A limit of what runs at the same time is held, not used: it is free again when that ends."


@final
class Granter:
    """Looks after the limits of identities for operators. Implements `admin.LimitOperations`.

    Args:
        accounts: Keeps the budgets.
        routes: Returns the routes of now.
        audit: Where each change is written down.
        log: Likewise.
        clock: Time.
    """

    def __init__(
        self,
        accounts: Accounts,
        routes: Callable[[], Iterable[Route]],
        audit: AuditLog,
        log: FilteringBoundLogger,
        clock: Clock,
    ) -> None:
        self._accounts = accounts
        self._routes = routes
        self._audit = audit
        self._log = log
        self._clock = clock

    async def show(self, key: str, known: Mapping[str, str], /) -> tuple[list[Row], list[Untold]]:
        """Return how the limits of an identity stand, and which depend on more than is known.

        Raises:
            StoreUnavailable: Nobody knows.
        """
        found, untold = self._find(key, known)
        standings = await self._accounts.show(list(found.values()))
        rows = [
            Row(name, account.budget.measure.value, account.budget.quota, standing)
            for (name, account), standing in zip(found.items(), standings, strict=True)
        ]
        return rows, untold

    async def forgive(self, order: Order, by: str, /) -> tuple[list[Taken], list[Untold]]:
        """Take off what was used.

        Args:
            order: What.
            by: Who says so.

        Raises:
            NoSuchLimit: None of this name concerns identities.
            NotForgivable: It is of what runs at the same time, or depends on more than is known.
            StoreUnavailable: The audit log is unwell.
        """
        found, untold = self._find(order.key, order.known)
        if order.limit is None:
            found = {name: each for name, each in found.items() if _is_own(each.budget)}
        else:
            found, untold = {order.limit: _chosen(order.limit, found, untold)}, []
        if not self._audit.is_healthy:
            raise StoreUnavailable
        amounts: list[int | None] = [None] * len(found)
        try:
            amounts = await self._accounts.forgive(list(found.values()), order.most)
        finally:  # also if the process is told to end meanwhile: some of it may be done
            for name, amount in zip(found, amounts, strict=True):
                self._write(order, by, name, amount)
        taken = [
            Taken(name, account.budget.measure.value, amount)
            for (name, account), amount in zip(found.items(), amounts, strict=True)
        ]
        return taken, untold

    def _find(self, key: str, known: Mapping[str, str]) -> tuple[dict[str, Account], list[Untold]]:
        """Return the accounts of an identity by the names of their limits, in the order of the routes."""
        found: dict[str, Account] = {}
        untold: dict[str, Untold] = {}
        for route in self._routes():
            values = {**known, "identity": key, "route": route.name}
            for budget in (*budgets_of(route.limits), *route.budgets.budgets):
                words = [word_of(dimension) for dimension in budget.per]
                is_by_route = any(each.dimension is Dimension.ROUTE for each in budget.per)
                name = f"{route.name}/{budget.name}" if budget.scope or is_by_route else budget.name
                needs = tuple(word for word in words if word not in values)
                if needs:
                    untold[name] = Untold(name, needs)
                else:
                    found.setdefault(name, Account(budget, account_with(budget, values)))
        return found, list(untold.values())

    def _write(self, order: Order, by: str, name: str, taken: int | None) -> None:
        word = "reset" if order.most is None else "granted"
        self._audit.append_action(
            adjustment(
                word,
                by,
                self._clock.wall(),
                order.key,
                name,
                known=order.known,
                asked=order.most,
                taken=taken,
                reason=order.reason,
            )
        )
        self._log.warning(
            f"limit-{word}",
            by=by,
            key=order.key,
            limit=name,
            known=dict(order.known),
            asked=order.most,
            taken=taken,
            reason=order.reason,
        )


def _is_own(budget: Budget) -> bool:
    """Tell whether a budget is kept by identity and is used up: what others share is not reset unnamed."""
    return not budget.measure.is_level and any(each.dimension is Dimension.IDENTITY for each in budget.per)


def _chosen(limit: str, found: Mapping[str, Account], untold: Iterable[Untold]) -> Account:
    account = found.get(limit)
    if account is None:
        needs = [each.needs for each in untold if each.limit == limit]
        if not needs:
            raise NoSuchLimit
        raise NotForgivable(f"Say in `known` which is meant: {', '.join(needs[0])}.")
    if account.budget.measure.is_level:
        raise NotForgivable(NOT_USED)
    return account

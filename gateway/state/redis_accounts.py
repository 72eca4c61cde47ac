"""What operators see and forgive of a fleet's budgets, in Redis or Valkey.

One script looks at an account and takes off what was used, so no draw of any process comes in between. What
other processes have spent of their shares they report once a second. So where others hold something, an
account is forgiven twice: at once, and again after everybody has reported what was spent before the call.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, final

from gateway.core.accounts import Standing
from gateway.core.ports import StoreUnavailable
from gateway.state.connection import Answer, pack
from gateway.state.draw import IGNORED
from gateway.state.script import Script
from gateway.state.share import kind_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from gateway.core.accounts import Account
    from gateway.state.connection import Reply
    from gateway.state.redis_budgets import RedisBudgets

REPORTED: Final = 1.25
"""Seconds after which what any process had spent is known: they report once a second."""

ALL: Final = 2**53
"""More than any account can count: doubles of the script tell no more whole numbers apart."""


@final
class Look:
    """What the script said.

    Args:
        taken: Units taken off.
        standing: How the account stands then.
        others: Processes, beside ours, that hold something of it.
    """

    __slots__ = ("others", "standing", "taken")

    def __init__(self, taken: int, standing: Standing, others: int) -> None:
        self.taken = taken
        self.standing = standing
        self.others = others


def read(reply: Reply) -> Look | None:
    """Read the script's answer; None if it is none: what is not understood says nothing."""
    match reply:
        case [bytes(taken), bytes(used), bytes(held), bytes(reset), int(others)]:
            try:
                standing = Standing(int(float(used)), int(float(held)), float(reset))
                return Look(int(float(taken)), standing, others)
            except (ValueError, OverflowError):
                return None
        case _:
            return None


@final
class RedisAccounts:
    """Accounts of a fleet. Implements `gateway.core.accounts.Accounts`.

    Args:
        budgets: Draws this process's shares of them; its connection is used, after its own reports.
        wait: Waits for so many seconds; tests alone give another.
    """

    __slots__ = ("_budgets", "_script", "_wait")

    def __init__(
        self, budgets: RedisBudgets, *, wait: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        self._budgets = budgets
        self._script = Script("forgive")
        self._wait = wait

    async def show(self, accounts: Sequence[Account], /) -> list[Standing]:
        """Return how accounts stand.

        Raises:
            StoreUnavailable: No usable answer in time.
        """
        looks = [await self._ask(account, 0) for account in accounts]
        if None in looks:
            raise StoreUnavailable
        return [look.standing for look in looks if look is not None]

    async def forgive(self, accounts: Sequence[Account], most: int | None, /) -> list[int | None]:
        """Take off what was used of each, at most `most`; takes a second where other processes hold some."""
        whole = ALL if most is None else most
        looks = [await self._ask(account, whole) for account in accounts]
        open_ones = [
            index
            for index, look in enumerate(looks)
            if look is not None and look.others and look.taken < whole
        ]
        taken = [None if look is None else look.taken for look in looks]
        if open_ones:
            await self._wait(REPORTED)
        for index in open_ones:
            before = taken[index] or 0
            look = await self._ask(accounts[index], whole - before)
            taken[index] = None if look is None else before + look.taken
        return taken

    async def _ask(self, account: Account, most: int) -> Look | None:
        """Run the script once; None if nobody knows what it did."""
        try:
            connection, share = self._budgets.tell(account.budget, account.key)
        except StoreUnavailable:
            return None
        clock, wall = self._budgets.times()
        answer = Answer(asyncio.get_running_loop())
        connection.send(pack("SCRIPT", "LOAD", self._script.text), IGNORED)  # asked rarely: each time anew
        connection.send(
            pack(
                "EVALSHA",
                self._script.digest,
                1,
                share.place,
                clock,
                *kind_of(account.budget, wall),
                share.name,
                most,
            ),
            answer,
        )
        return read(await answer.future)

"""Budgets of a fleet, in Redis or Valkey: each process draws shares and spends them without asking.

A busy account costs no round trip: its share lasts for some seconds and is renewed in the background. A
quiet one costs exactly one, whatever the number of budgets: their commands leave in one write. Shares that
nobody needs go back within seconds; those of a process that died, when their lease lapses. Together,
everything used, set aside and held never exceeds a quota, but for answers that used more than anybody
could foresee, what a process that died had spent since its last report, a second before, and what one that
was cut off for longer than its lease reports late.

When the store does not answer within its timeout nobody knows whether there is room, so there is none;
unless the route says that a local share of its budgets may answer instead.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final, final

import hiredis

from gateway.core.budgets import Hold, Shortage, deny
from gateway.core.ports import StoreUnavailable
from gateway.state.connection import LOST, pack
from gateway.state.draw import IGNORED, Ask, Extension, Together
from gateway.state.link import FATAL, word
from gateway.state.script import Script
from gateway.state.share import Share, Shares
from gateway.state.topology import connect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from gateway.core.budgets import Budget, Denial
    from gateway.core.ports import Clock
    from gateway.state.connection import Connection, Reply
    from gateway.state.link import Server
    from gateway.state.memory_budgets import MemoryBudgets

RENEW_AFTER: Final = 4.0
"""Seconds after which a share that holds something is renewed, whether or not anything was spent."""

BATCH: Final = 128
"""Shares that are looked at in one step of a flush: some 2 ms."""


@final
class RedisBudgets:
    """Budgets in Redis or Valkey. Implements `gateway.core.budgets.Budgets`.

    Args:
        server: How to reach it.
        local: Answers for routes that may go on without the store.
        clock: `tick` is the time of shares, `wall` names calendar windows; the server's own clock decides.
        share: Part of the budgets that `local` may grant: one over the number of gateway processes.
        interval: Seconds between reports.
        prefix: What all keys begin with.
        blinding: Key of the digest that stands for an account; the same in the whole fleet.
        shares: Most shares that are remembered.
        report: Called with "lost" and why, and with "back" and "": transitions only.
        now: Gives the script its time; for tests alone. The server's clock otherwise.
    """

    __slots__ = (
        "_clock",
        "_dirty",
        "_interval",
        "_link",
        "_local",
        "_looked",
        "_now",
        "_part",
        "_parts",
        "_script",
        "_shares",
        "_task",
        "asked",
        "local_answers",
        "unavailable",
    )

    def __init__(
        self,
        server: Server,
        local: MemoryBudgets,
        clock: Clock,
        *,
        share: float = 0.5,
        interval: float = 1.0,
        prefix: str = "gateway:",
        blinding: bytes = b"",
        shares: int = 200_000,
        report: Callable[[str, str], None] = lambda _event, _why: None,
        now: Callable[[], float] | None = None,
    ) -> None:
        self._script = Script("draw")
        numbers = (1, 0, 0, 0, "probe", 1, 0, 0, 0, 0, 0, 0, 0)
        self._link = connect(
            server,
            self._script,
            lambda tag: pack(
                "EVALSHA", self._script.digest, 1, f"{prefix}{{{tag.decode()}}}:budget", "", "level", *numbers
            ),
            lambda _connection: None,
            report,
        )
        self._local = local
        self._clock = clock
        self._part = share
        self._parts: dict[Budget, Budget] = {}
        self._interval = interval
        self._shares = Shares(prefix, blinding, shares)
        self._now = now
        self._dirty: dict[Share, None] = {}
        self._looked = clock.tick()
        self._task: asyncio.Task[None] | None = None
        self.asked = 0
        self.local_answers = 0
        self.unavailable = 0

    def __len__(self) -> int:
        """Return how many shares are remembered."""
        return len(self._shares)

    @property
    def is_ready(self) -> bool:
        """True while there is a connection: in a cluster, any."""
        return self._link.is_ready

    @property
    def why(self) -> str:
        """Why there is no connection, in one word; the last reason if there is one again."""
        return self._link.why

    async def start(self) -> None:
        """Connect, and begin to report. Never raises."""
        await self._link.start()
        self._task = asyncio.get_running_loop().create_task(self._run(), name="state-budgets")

    async def stop(self) -> None:
        """Give everything back that is not set aside, and end the connection."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            for share in self._shares:
                if share.drawn > share.confirmed:
                    self._report(share, is_idle=True)
        await self._link.stop()

    async def reserve(self, holds: Sequence[Hold], /) -> Denial | None:
        """Set all amounts aside, or none, over the whole fleet; suspends only if a share is too small.

        Raises:
            StoreUnavailable: No usable answer in time, and the budgets do not allow a local share.
        """
        now = self._clock.tick()
        lacking = 0
        for hold in holds:
            share = self._shares.of(hold.budget, hold.key, now)
            hold.account = share
            if share.left(now) < hold.amount:
                lacking += 1
        if lacking:
            return await self._draw(holds, now)
        for hold in holds:
            share = self._shares.of(hold.budget, hold.key, now)
            share.take(hold.amount)
            self._dirty[share] = None
        return None

    def extend(self, hold: Hold, amount: int, refuse: Callable[[], None], /) -> None:
        """Set more aside for a request that runs: from the share, or as soon as the server answers."""
        if hold.is_local:
            self._local.extend(hold, amount, refuse)
            return
        share = hold.account
        if not isinstance(share, Share):
            return
        now = self._clock.tick()
        connection = self._link.at(share.place)
        have = min(share.left(now), amount)
        share.take(have)
        more = Extension(hold, share, have, amount - have, refuse)
        if have == amount:
            hold.amount += amount
        elif connection is None:
            more.unknown()
        else:
            hold.is_growing = True
            self._ask(share, amount - have, now, more.done)

    def settle(self, hold: Hold, used: int, /) -> None:
        """Charge what was used, and give the rest back to the share; the second call does nothing."""
        if hold.is_local:
            self._local.settle(hold, used)
            return
        share = hold.account
        if isinstance(share, Share):
            hold.account = None
            is_level = hold.budget.measure.is_level
            share.settle(hold.amount, 0 if is_level else used, self._clock.tick())
            if is_level:
                self._report(share, is_idle=True)  # at once: others may wait for it
            self._dirty[share] = None

    def flush(self) -> None:
        """Report what was spent, give back what is not needed, renew what runs. Sends; waits for nothing."""
        for _ in self._flush():
            pass

    def tell(self, budget: Budget, key: str, /) -> tuple[Connection, Share]:
        """Report one share whole, and keep no more of it than runs: for whoever asks about the account next.

        Returns:
            The connection, on which a command sent now comes after the report; and the share.

        Raises:
            StoreUnavailable: There is no connection, or no room for a share.
        """
        share = self._shares.of(budget, key, self._clock.tick())
        connection = self._link.at(share.place)
        if connection is None:
            raise StoreUnavailable
        if not share.is_over:
            self._report(share, is_idle=True)
        return connection, share

    def times(self) -> tuple[str, float]:
        """Return the time that scripts are given ("": the server's own), and seconds since the epoch."""
        return "" if self._now is None else repr(self._now()), self._clock.wall()

    def _flush(self) -> Iterator[float]:
        """Flush in steps, so that requests come between; yields the part of all that one step was."""
        now = self._clock.tick()
        seconds = max(now - self._looked, 0.001)
        self._looked = now
        dirty = list(self._dirty)
        self._dirty = {}
        for first in range(0, len(dirty), BATCH):
            for share in dirty[first : first + BATCH]:
                self._look(share, seconds)
            yield min(1.0, BATCH / len(dirty))

    def _look(self, share: Share, seconds: float) -> None:
        now = self._clock.tick()
        is_idle = share.look(seconds)
        is_due = now - share.sent > RENEW_AFTER and (share.running > 0 or share.drawn > share.spent)
        if not share.is_reported or is_due or share.surplus(now, is_idle=is_idle):
            self._report(share, is_idle=is_idle)
        if share.pace or not share.is_over:
            self._dirty[share] = None

    def touch(self, share: Share) -> None:
        """Look at a share with the next flush."""
        self._dirty[share] = None

    def again(self, ask: Ask) -> None:
        """The server has lost the script (restart, SCRIPT FLUSH): load it and send the command again."""
        connection = self._link.at(ask.share.place)
        if connection is None:
            ask.receive(LOST)
            return
        connection.send(pack("SCRIPT", "LOAD", self._script.text), IGNORED)
        connection.send(ask.command, ask)  # after the script, in the same write

    def judge(self, ask: Ask, reply: Reply) -> None:
        """Give the connection up if nothing better can come from it."""
        connection = self._link.at(ask.share.place)
        if connection is not None and isinstance(reply, hiredis.ReplyError) and word(reply) in FATAL:
            connection.abort(word(reply))

    async def _draw(self, holds: Sequence[Hold], now: float) -> Denial | None:
        """Take what the shares have, and draw the rest of all of them in one write."""
        if any(self._is_unreachable(hold, now) for hold in holds):
            return await self._without(holds)
        together = Together(asyncio.get_running_loop())
        asks = self._ask_all(holds, now, together)
        together.sent()
        try:
            await together.future
        except BaseException:  # the client has gone
            for _, _, ask in asks:
                ask.is_wanted = ask.answer is not None
            self._release(holds, asks)
            raise
        shortages = [
            Shortage(hold, ask.answer.room + have, ask.answer.used, ask.answer.reset)
            for hold, have, ask in asks
            if ask.answer is not None and not ask.answer.is_granted
        ]
        is_unknown = any(ask.answer is None for _, _, ask in asks)
        if not shortages and not is_unknown:
            return None
        self._release(holds, asks)
        return deny(shortages) if shortages else await self._without(holds)

    def _is_unreachable(self, hold: Hold, now: float) -> bool:
        """Tell whether a server must be asked that cannot be."""
        share = hold.account
        if not isinstance(share, Share) or share.left(now) >= hold.amount:
            return False
        return self._link.at(share.place) is None

    def _ask_all(self, holds: Sequence[Hold], now: float, together: Together) -> list[tuple[Hold, int, Ask]]:
        asks = []
        for hold in holds:
            share = self._shares.of(hold.budget, hold.key, now)
            have = min(share.left(now), hold.amount)
            share.take(have)
            self._dirty[share] = None
            if have < hold.amount:
                together.missing += 1
                ask = self._ask(share, hold.amount - have, now, together.one)
                asks.append((hold, have, ask))
        return asks

    def _release(self, holds: Sequence[Hold], asks: list[tuple[Hold, int, Ask]]) -> None:
        """Set nothing aside after all."""
        asked = {id(hold): (have, ask) for hold, have, ask in asks}
        for hold in holds:
            share, hold.account = hold.account, None
            amount = hold.amount
            if id(hold) in asked:
                have, ask = asked[id(hold)]
                is_granted = ask.answer is not None and ask.answer.is_granted and ask.is_wanted
                amount = hold.amount if is_granted else have
            if isinstance(share, Share):
                self._free(share, amount)

    def _free(self, share: Share, amount: int) -> None:
        if amount:
            share.untake(amount)
            self._dirty[share] = None

    def _ask(
        self,
        share: Share,
        need: int,
        now: float,
        done: Callable[[Ask], None] | None,
        *,
        back: int = 0,
    ) -> Ask:
        clock, wall = self.times()
        want = share.wanted() if need else 0
        if share.is_changed:
            share.is_changed = False
            back = share.slack
        command = share.command(self._script.digest, clock, wall, now, need, want, back)
        share.drawn -= back
        share.returning += back
        share.is_reported = True
        ask = Ask(self, share, need, back, now, command)
        ask.done = done
        self.asked += 1
        connection = self._link.at(share.place)
        if connection is None:
            ask.receive(LOST)
        else:
            connection.send(command, ask)
        return ask

    def _report(self, share: Share, *, is_idle: bool) -> None:
        if self._link.at(share.place) is not None:
            now = self._clock.tick()
            self._ask(share, 0, now, None, back=share.surplus(now, is_idle=is_idle))

    async def _without(self, holds: Sequence[Hold]) -> Denial | None:
        """Answer without the store: by the local share where the route allows it."""
        if not all(hold.budget.is_local_on_failure for hold in holds):
            for hold in holds:
                hold.account = None
            self.unavailable += 1
            raise StoreUnavailable
        self.local_answers += 1
        parts = [Hold(self._part_of(hold.budget), hold.key, hold.amount) for hold in holds]
        denial = await self._local.reserve(parts)
        for hold, part in zip(holds, parts, strict=True):
            hold.account = part.account
            hold.is_local = True
        return denial

    def _part_of(self, budget: Budget) -> Budget:
        part = self._parts.get(budget)
        if part is None:
            quota = max(1, int(budget.quota * self._part))
            period = budget.period * quota / (budget.quota * self._part)  # exact also where quotas are small
            part = self._parts[budget] = replace(budget, quota=quota, period=period)
        return part

    async def _run(self) -> None:
        while True:
            rest = 1.0
            for part in self._flush():
                rest -= part
                await asyncio.sleep(self._interval * part)
            await asyncio.sleep(self._interval * max(rest, 0.0))

"""Shares of a fleet's limits, drawn from Redis or Valkey by one process and spent without asking.

A busy account costs no round trip: its share lasts for some seconds and is filled up in the background. A
quiet one costs exactly one, however many limits a request meets: accounts of one key are drawn in one script
call, all calls of a request leave in one write. Shares that nobody needs go back within seconds; those of a
process that died, when their lease lapses. Together, everything used, set aside and held never exceeds a
limit, but for answers that used more than anybody could foresee, what a process that died had spent since
its last report, a second before, and what one that was cut off for longer than its lease reports late.

Knows nothing about requests: `redis` draws limits of heads with it, `redis_budgets` budgets.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from enum import Enum
from typing import TYPE_CHECKING, Final, final

import hiredis

from gateway.core.ports import StoreUnavailable
from gateway.state.accounts import Accounts
from gateway.state.connection import LOST, pack
from gateway.state.draw import IGNORED, Ask, Part, Together
from gateway.state.link import FATAL, word
from gateway.state.script import Script
from gateway.state.share import LEASE_SECONDS, Shares
from gateway.state.topology import connect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from gateway.core.budgets import Budget
    from gateway.core.ports import Clock
    from gateway.state.connection import Connection, Reply
    from gateway.state.link import Server
    from gateway.state.share import Share

RENEW_AFTER: Final = 4.0
"""Seconds after which a share that holds something is renewed, whether or not anything was spent."""

BATCH: Final = 128
"""Shares that are looked at in one step of a flush: some 2 ms."""


@final
class Outcome(Enum):
    """How a claim ended."""

    GRANTED = "granted"
    REFUSED = "refused"  # nothing is set aside
    UNKNOWN = "unknown"  # nothing is set aside; nobody knows whether there is room


@final
class RedisShares:
    """Shares in Redis or Valkey, and the one connection that they are drawn over.

    Args:
        server: How to reach it.
        clock: `tick` is the time of shares, `wall` names calendar windows; the server's own clock decides.
        interval: Seconds between reports.
        prefix: What all keys begin with.
        blinding: Key of the digest that stands for an account; the same in the whole fleet.
        capacity: Most shares that are remembered.
        report: Called with "lost" and why, and with "back" and "": transitions only.
        now: Gives the script its time; for tests alone. The server's clock otherwise.
    """

    __slots__ = (
        "_dirty",
        "_interval",
        "_looked",
        "_now",
        "_script",
        "_task",
        "asked",
        "clock",
        "link",
        "shares",
        "told",
        "trips",
    )

    def __init__(
        self,
        server: Server,
        clock: Clock,
        *,
        interval: float = 1.0,
        prefix: str = "gateway:",
        blinding: bytes = b"",
        capacity: int = 400_000,
        report: Callable[[str, str], None] = lambda _event, _why: None,
        now: Callable[[], float] | None = None,
    ) -> None:
        self._script = Script("draw")
        line = "level 1 0 0 0 probe 0 0 0 0 0 0 0"

        def probe(tag: bytes) -> bytes:
            place = f"{prefix}{{{tag.decode()}}}:account:"
            return pack("EVALSHA", self._script.digest, 1, place, "", "1", line)

        self.link = connect(server, self._script, probe, lambda _connection: None, report)
        self.clock = clock
        self.shares = Shares(Accounts(prefix, blinding), capacity)
        self._interval = interval
        self._now = now
        self._dirty: dict[Share, None] = {}
        self._looked = clock.tick()
        self._task: asyncio.Task[None] | None = None
        self.told: Callable[[str], None] = _ignore  # hears whose accounts somebody may change
        self.asked = 0  # commands
        self.trips = 0  # claims that waited for an answer

    async def start(self) -> None:
        """Connect, and begin to report. Never raises."""
        await self.link.start()
        self._task = asyncio.get_running_loop().create_task(self._run(), name="state-shares")

    async def stop(self) -> None:
        """Give everything back that is not set aside, and end the connection."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            self.report([share for share in self.shares if not share.is_over], is_idle=True)
        await self.link.stop()

    def mark(self, share: Share) -> None:
        """Look at a share that was taken from with the next flush."""
        self._dirty[share] = None

    async def draw(self, parts: Sequence[Part], now: float, ahead: Sequence[Part] = ()) -> Outcome:
        """Set the amounts of all parts aside, or of none: what shares have at once, the rest from the server.

        Args:
            parts: What a request needs.
            now: Monotonic seconds.
            ahead: What it may need later; drawn in the same write, as far as there is ample room.
        """
        at = self.link.at
        if any(at(part.share.tag) is None for part in parts):
            return Outcome.UNKNOWN
        self.trips += 1
        together = Together(asyncio.get_running_loop())
        asks = self._ask_all(parts, now, ahead, together)
        together.sent()
        try:
            await together.wait()
        except BaseException:  # the client has gone
            for ask in asks:
                ask.is_wanted = ask.is_known
            self._release(parts, asks)
            raise
        if all(ask.is_granted for ask in asks):
            return Outcome.GRANTED
        self._release(parts, asks)
        if all(part.share.left(now) >= part.amount for part in parts):
            for part in parts:  # drawn by others of us while this one was on its way
                part.share.take(part.amount)
            return Outcome.GRANTED
        if any(part.is_short for part in parts):
            return Outcome.REFUSED
        return Outcome.UNKNOWN

    def _ask_all(
        self, parts: Sequence[Part], now: float, ahead: Sequence[Part], together: Together
    ) -> list[Ask]:
        """Send one command per hash tag; those that nobody waits for first: they are answered by then."""
        groups: dict[bytes, list[Part]] = {}
        for part in parts:
            self._cover(part, now)
            groups.setdefault(part.share.tag, []).append(part)
        for part in ahead:
            groups.setdefault(part.share.tag, []).append(part)
        if len(groups) == 1:  # the common case
            together.missing += 1
            return [self.ask([*parts, *ahead], now, together.one)]
        asks = []
        waiting = {part.share.tag for part in parts if part.need}
        for tag in sorted(groups, key=waiting.__contains__):
            if tag in waiting:
                together.missing += 1
                asks.append(self.ask(groups[tag], now, together.one))
            elif any(part.want for part in groups[tag]):
                self.ask(groups[tag], now)
        return asks

    def cover(self, share: Share, amount: int, now: float) -> Part:
        """Set aside what the share has of an amount; the part says what is lacking."""
        part = Part(share, amount)
        self._cover(part, now)
        return part

    def _cover(self, part: Part, now: float) -> None:
        """Take what the share has; what is lacking has to be asked for."""
        share = part.share
        part.have = min(share.left(now), part.amount)
        part.need = part.amount - part.have
        if part.need:
            part.want = share.wanted()
        if part.have:
            share.take(part.have)
        self._dirty[share] = None

    def _release(self, parts: Sequence[Part], asks: list[Ask]) -> None:
        """Set nothing aside after all."""
        granted = {id(part) for ask in asks if ask.is_granted for part in ask.parts}
        for part in parts:
            amount = part.amount if id(part) in granted else part.have
            if amount:
                part.share.untake(amount)
                self.touch(part.share)

    def ask(self, parts: Sequence[Part], now: float, done: Callable[[Ask], None] | None = None) -> Ask:
        """Send one command about shares under one hash tag."""
        wall = self.clock.wall()
        keys, lines = [], []
        for part in parts:
            share = part.share
            if share.is_changed:
                share.is_changed = False
                part.back = share.slack
            part.spent = share.spent
            keys.append(share.place)
            lines.append(share.line(wall, now, part.need, part.want, part.back))
            share.drawn -= part.back
            share.returning += part.back
            share.is_reported = True
        command = pack(
            "EVALSHA", self._script.digest, len(keys), *keys, self.time(), repr(LEASE_SECONDS), *lines
        )
        ask = Ask(self, parts, now, command)
        ask.done = done
        self.asked += 1
        ask.connection = connection = self.link.at(keys[0])
        if connection is None:
            ask.receive(LOST)
        else:
            connection.send(command, ask)
        return ask

    def time(self) -> str:
        """Return the time that scripts are given; "": the server's own."""
        return "" if self._now is None else repr(self._now())

    def tell(self, budget: Budget, key: str) -> tuple[Connection, Share]:
        """Report one share whole, and keep no more of it than runs: for whoever asks about the account next.

        Returns:
            The connection, on which a command sent now comes after the report; and the share.

        Raises:
            StoreUnavailable: There is no connection, or no room for a share.
        """
        share = self.shares.of(budget, key, self.clock.tick())
        connection = self.link.at(share.tag)
        if connection is None:
            raise StoreUnavailable
        if not share.is_over:
            self.report((share,), is_idle=True)
        self.told(key)
        return connection, share

    def report(self, shares: Iterable[Share], *, is_idle: bool = False) -> None:
        """Tell the server what was spent, give back what is not needed, draw what soon will be.

        Args:
            shares: Of which shares; one command per hash tag.
            is_idle: True if none of them will be needed soon.
        """
        now = self.clock.tick()
        parts = []
        for share in shares:
            part = Part(share)
            part.back = share.surplus(now, is_idle=is_idle or share.is_idle)
            parts.append(part)
        self._send(parts, now)

    def _send(self, parts: Iterable[Part], now: float) -> None:
        """Send reports, one command per hash tag; what cannot be sent now is reported later."""
        groups: dict[bytes, list[Part]] = {}
        for part in parts:
            groups.setdefault(part.share.tag, []).append(part)
        for tag, group in groups.items():
            if self.link.at(tag) is not None:
                self.ask(group, now)

    def flush(self) -> None:
        """Report whatever has to be reported. Sends; waits for nothing."""
        for _ in self._flush():
            pass

    def _flush(self) -> Iterator[float]:
        """Flush in steps, so that requests come between; yields the part of all that one step was."""
        now = self.clock.tick()
        seconds = max(now - self._looked, 0.001)
        self._looked = now
        dirty = list(self._dirty)
        self._dirty = {}
        for first in range(0, len(dirty), BATCH):
            now = self.clock.tick()
            parts = [self._look(share, seconds, now) for share in dirty[first : first + BATCH]]
            self._send([part for part in parts if part is not None], now)
            yield min(1.0, BATCH / len(dirty))

    def _look(self, share: Share, seconds: float, now: float) -> Part | None:
        """Take note of a share's pace; return what there is to report."""
        share.look(seconds)
        if share.pace or not share.is_over:
            self._dirty[share] = None
        want = share.lacking()
        back = share.surplus(now, is_idle=share.is_idle)
        if share.is_reported and not want and not back and not self._is_due(share, now):
            return None
        part = Part(share, 0, want)
        part.back = back
        return part

    def _is_due(self, share: Share, now: float) -> bool:
        """Tell whether a share has to be renewed, or others may have been short of what lies idle in it."""
        if share.is_level and share.slack:
            return True
        return now - share.sent > RENEW_AFTER and (share.running > 0 or share.drawn > share.spent)

    def touch(self, share: Share) -> None:
        """Look at a share with the next flush; what may not be kept idle goes back at once."""
        if share.pace or not share.is_over:
            self._dirty[share] = None
        if share.is_level and share.slack > share.allowance:
            self.report((share,))

    def again(self, ask: Ask) -> None:
        """The server has lost the script (restart, SCRIPT FLUSH): load it and send the command again."""
        ask.connection = connection = self.link.at(ask.parts[0].share.tag)
        if connection is None:
            ask.receive(LOST)
            return
        connection.send(pack("SCRIPT", "LOAD", self._script.text), IGNORED)
        connection.send(ask.command, ask)  # after the script, in the same write

    def judge(self, ask: Ask, reply: Reply) -> None:
        """Give up the connection that a reply came over, if nothing better can come from it."""
        connection = ask.connection
        if connection is not None and isinstance(reply, hiredis.ReplyError) and word(reply) in FATAL:
            connection.abort(word(reply))

    async def _run(self) -> None:
        while True:
            rest = 1.0
            for part in self._flush():
                rest -= part
                await asyncio.sleep(self._interval * part)
            await asyncio.sleep(self._interval * max(rest, 0.0))


def _ignore(_key: str) -> None:
    """Nothing is known of accounts but what shares know."""

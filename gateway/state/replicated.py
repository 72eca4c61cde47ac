"""Revocations of a fleet: an index in every process, kept alike through Redis or Valkey.

A revocation holds in the process that takes it at once, and in the others as soon as the store has passed it
on. The store is not trusted: it can withhold, which shows as staleness and is bounded, and it can do nothing
else. What it loses, every process writes back. A lift counts once the store has it; removing anything from
the store lifts nothing.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final, final

import hiredis

from gateway.core.ports import StoreUnavailable
from gateway.core.revocation import check
from gateway.state.connection import Answer, pack
from gateway.state.link import FATAL, FULL, fault
from gateway.state.local_revocations import admit, begin, keep
from gateway.state.shared_log import BLOCK, TAG, SharedLog, Unreadable
from gateway.state.topology import follow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from gateway.core.ports import Clock
    from gateway.core.revocation import Lift, Revocation
    from gateway.state.connection import Connection, Reply
    from gateway.state.link import Server
    from gateway.state.revocation_journal import RevocationJournal
    from gateway.state.revocations import RevocationIndex
    from gateway.state.sealing import Seal
    from gateway.state.shared_log import News

PATIENCE: Final = 2.0
"""Seconds that the reading connection waits for an answer beyond its heartbeat: a pause, not a loss."""

START: Final = 2.0  # seconds that the start waits for everything to be read; then it goes on, and refuses
COMPARE: Final = 60.0  # seconds between two comparisons of everything: heals what nobody noticed
COMPARE_MANY: Final = 600.0  # the same, where there is much to compare
MANY: Final = 10_000
RETRY: Final = 1.0  # seconds until a comparison that could not mend everything is tried again
FORGET: Final = 86_400.0  # seconds after which what has ended is removed from the store

BLIND: Final = frozenset({"full", "foreign"})
"""What makes this process deaf to a part of the fleet: then nothing that it knows is current."""


@final
class _Unneeded:
    """Receives replies that nobody waits for."""

    __slots__ = ()

    def receive(self, reply: Reply, /) -> None:
        """Do nothing: what was not removed is removed when everything is read again."""


_UNNEEDED: Final = _Unneeded()


@final
class ReplicatedRevocations:
    """Keeps the index of one process of a fleet.

    Args:
        index: What holds.
        journal: Where this process keeps it, so that a store that lost everything costs nothing.
        server: How to reach the store; two connections of its own, one of them always waiting for news.
        seal: Of the fleet.
        clock: Its ticks say how old the last news are.
        prefix: What all keys begin with.
        report: Called with "lost" and why, and "back" and ""; with "foreign", "full", "forged" or
            "unkept" and "": transitions only.
    """

    __slots__ = (
        "_clock",
        "_compare_at",
        "_is_owing",
        "_is_unkept",
        "_journal",
        "_log",
        "_owed",
        "_reading",
        "_report",
        "_said",
        "_settled",
        "_task",
        "_up",
        "_writing",
        "forged",
        "index",
    )

    def __init__(
        self,
        index: RevocationIndex,
        journal: RevocationJournal,
        server: Server,
        seal: Seal,
        clock: Clock,
        *,
        prefix: str = "gateway:",
        report: Callable[[str, str], None] = lambda _event, _why: None,
    ) -> None:
        self.index = index
        self.forged = 0  # entries that nobody of the fleet has sealed
        self._journal = journal
        self._clock = clock
        self._log = log = SharedLog(prefix, seal)
        self._report = report
        self._said = ""
        self._up = asyncio.Event()
        self._settled = asyncio.Event()
        patient = replace(server, timeout=server.timeout + BLOCK + PATIENCE)
        self._reading = follow(
            patient, TAG, log.script, log.probe(), lambda _connection: self._up.set(), report
        )
        self._writing = follow(
            server, TAG, log.script, log.mark(), lambda _connection: None, self._hear_of_writing
        )
        self._task: asyncio.Task[None] | None = None
        self._compare_at = float("-inf")
        self._is_unkept = False  # the journal does not take what was heard
        self._is_owing = False  # the store lacks something that this process knows
        self._owed: dict[str, Revocation | Lift] = {}  # holds here, and is not on disk
        index.subscribe(self._note)

    async def start(self) -> None:
        """Read the journal, connect, and begin to follow. Waits until everything is known, but not for long.

        Raises:
            RevocationsBroken: The journal cannot be continued.
        """
        begin(self.index, self._journal)
        self._owed.clear()
        await self._writing.start()
        await self._reading.start()
        self._task = asyncio.get_running_loop().create_task(self._run(), name="revocations")
        self._task.add_done_callback(self._died)
        with suppress(TimeoutError):
            async with asyncio.timeout(START if self._reading.connection is not None else 0.0):
                await self._settled.wait()

    async def stop(self) -> None:
        """End both connections, release the journal."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        if self._reading.connection is not None:
            self._reading.connection.abort("stopped")  # it waits for news: nothing to be polite about
        await self._reading.stop()
        await self._writing.stop()
        self._journal.close()

    async def add(self, revocations: Sequence[Revocation], /) -> None:
        """Make revocations hold. See `core.revoking.RevocationSink`."""
        admit(self.index, revocations)
        holding = [each for each in revocations if self.index.get(each.id) == each]
        is_published = await self._publish(holding)  # first: the others are waiting for it
        await self._keep()
        if not is_published:
            raise StoreUnavailable

    async def lift(self, lift: Lift, /) -> None:
        """End a revocation before its time, everywhere or not at all.

        Raises:
            StoreUnavailable: Nobody knows whether the store has it; the revocation holds here.
        """
        check(lift)
        if not await self._publish((lift,)):
            raise StoreUnavailable
        await keep(self._journal, (lift,))
        self.index.apply((lift,))
        self._owed.pop(lift.id, None)

    # -- writing ----------------------------------------------------------------------------------------

    async def _publish(self, changes: Iterable[Revocation | Lift]) -> bool:
        """Write changes down for the fleet; False if that is not certain: all is compared again soon."""
        for command in self._log.writing(changes):
            if not await self._send(command):
                self._is_owing = True
                return False
        return True

    async def _send(self, command: bytes) -> bool:
        connection = self._writing.connection
        if connection is None:
            return False
        reply = await _reply(connection, command)
        if isinstance(reply, hiredis.ReplyError) and str(reply).startswith("NOSCRIPT"):
            connection.send(pack("SCRIPT", "LOAD", self._log.script.text), _UNNEEDED)
            reply = await _reply(connection, command)
        why = fault(reply)
        if why in FATAL:
            connection.abort(why)  # a replica now, say: the next one may be writable
        return why is None

    def _hear_of_writing(self, event: str, why: str) -> None:
        """Report what reading does not show: both are lost together, but only writing needs memory."""
        if event == FULL:
            self._report(event, why)

    def _note(self, news: tuple[Revocation | Lift, ...]) -> None:
        self._owed.update((change.id, change) for change in news)

    async def _keep(self) -> None:
        owed = list(self._owed.values())
        await keep(self._journal, owed)
        for change in owed:
            if self._owed.get(change.id) is change:
                del self._owed[change.id]

    # -- following --------------------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            self._up.clear()
            connection = self._reading.connection
            if connection is None:
                await self._up.wait()
                continue
            try:
                await self._follow(connection)
            except Unreadable as error:
                connection.abort(str(error))

    async def _follow(self, connection: Connection) -> None:
        """Read everything, then what comes; everything again where something may have been missed.

        Raises:
            Unreadable: This connection is of no more use.
        """
        is_whole, is_first = False, True
        while True:
            at = self._clock.tick()  # before asking: an answer is as old as the question
            if is_whole and at < self._compare_at:
                news = await self._log.wait(connection)
                await self._take(news)
                is_whole = news.is_whole and self._said not in BLIND
                if not news.is_all or not is_whole:
                    continue
            else:
                is_whole = await self._compare(connection, is_mending=not is_whole and not is_first)
                is_first = False
                if not is_whole:
                    await asyncio.sleep(RETRY if self._said in BLIND else BLOCK)
                    continue
            self.index.hear(at)
            self._settled.set()
            if self._is_owing:
                self._compare_at = min(self._compare_at, at + RETRY)

    async def _compare(self, connection: Connection, *, is_mending: bool) -> bool:
        """Take over what the store knows, and write back what it does not.

        Args:
            connection: To read from.
            is_mending: Mark and stream did not agree: somebody removed something. Write, so that they do.

        Returns:
            True if this process now knows all that the store knows.
        """
        self._is_owing = False
        before = self.index.left_out
        news = await self._log.everything(connection)
        self._said, was = "", self._said
        await self._take(news, was)
        if self.index.left_out == before:
            self.index.left_out = 0  # all that there is has found room
        known = set(news.changes)
        missing = [each for each in self.index.everything() if each not in known]
        if missing:
            await self._publish(missing)
        elif is_mending and not await self._send(self._log.mark()):
            return False
        self._forget(news.changes)
        self._compare_at = self._clock.tick() + (COMPARE if len(known) <= MANY else COMPARE_MANY)
        if self._said in BLIND:
            return False
        self.index.complete()
        return True

    def _forget(self, changes: list[Revocation | Lift]) -> None:
        """Remove from the store what ended so long ago that no clock of the fleet can doubt it."""
        long_ago = self._clock.wall() - FORGET
        ids = [each.id for each in changes if each.expires is not None and each.expires < long_ago]
        connection = self._writing.connection
        if ids and connection is not None:
            connection.send(self._log.forgetting(ids), _UNNEEDED)

    async def _take(self, news: News, was: str = "") -> None:
        """Take over what was read.

        Args:
            news: What.
            was: What was said before everything was read again: that is not said again.
        """
        before = self.index.left_out
        self.index.apply(news.changes)
        self.forged += news.forged
        if self._owed:
            await self._keep_for_later()
        if self.index.left_out > before:
            self._say("full", was)
        elif news.foreign:
            self._say("foreign", was)
        elif news.forged:
            self._say("forged", was)

    async def _keep_for_later(self) -> None:
        """Write down what others revoked; where that fails it holds all the same, and is tried again."""
        try:
            await self._keep()
        except StoreUnavailable:
            if not self._is_unkept:
                self._is_unkept = True
                self._report("unkept", "")
        else:
            self._is_unkept = False

    def _say(self, word: str, was: str) -> None:
        if self._said in BLIND or word == self._said:
            return
        self._said = word
        if word != was:
            self._report(word, "")

    def _died(self, task: asyncio.Task[None]) -> None:
        """A mistake of ours ended the task: nothing is heard any more, so soon nobody is believed."""
        if not task.cancelled() and (failure := task.exception()) is not None:
            self._report("lost", type(failure).__name__)


async def _reply(connection: Connection, command: bytes) -> Reply:
    answer = Answer(asyncio.get_running_loop())
    connection.send(command, answer)
    return await answer.future

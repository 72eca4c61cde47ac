"""Connections to all masters of a Redis Cluster, and which of them has a key.

A server that is lost takes its keys along and no others. What was moved is followed: the answer that says so
names the server, and the command, which did not run, is sent there. Who has what is asked again when
something moved or was lost, and now and then. Says once that a server was lost, and why, and once that the
cluster is whole again.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final, final

import hiredis
from redis.crc import key_slot

from gateway.state.connection import LOST, pack
from gateway.state.draw import IGNORED
from gateway.state.inquiry import inquire
from gateway.state.link import FATAL, FULL, Link, word
from gateway.state.locator import Fixed, Unlocated
from gateway.state.slots import QUESTION, SLOTS, probe_tag, read_redirection, read_slots

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.state.address import Address, ClusterAddress
    from gateway.state.connection import Connection, Receiver, Reply
    from gateway.state.link import Server
    from gateway.state.script import Script

HOPS: Final = 2
"""How often one command is sent on: to who has the slot, and to who is getting it."""

PERIOD: Final = 30.0
"""Seconds between two questions who has what, while nothing happens."""

RETRY: Final = 0.5
"""The same while the cluster is not whole."""

PAUSE: Final = 0.05
"""The same at least: many commands may learn of one move."""

GUEST_SECONDS: Final = 60.0
"""How long a server without slots of its own is kept that is getting some."""

MAX_GUESTS: Final = 64
"""Servers that are connected to because another one named them, at most."""

ASKING: Final = pack("ASKING")


@final
class Hop:
    """A command that was sent on; knows where to, for what comes back concerns that connection.

    Args:
        receiver: Who gets the reply.
    """

    __slots__ = ("connection", "count", "receiver")

    def __init__(self, receiver: Receiver) -> None:
        self.receiver = receiver
        self.connection: Connection | None = None
        self.count = 0

    def receive(self, reply: Reply, /) -> None:
        """Hand the reply over; give the connection up if nothing better can come from it."""
        if isinstance(reply, hiredis.ReplyError) and word(reply) in FATAL:
            if self.connection is not None:
                self.connection.abort(word(reply))
            reply = LOST
        self.receiver.receive(reply)


@final
class Cluster:
    """Connections that come back, one to each master.

    Args:
        server: How to reach them.
        place: Some of them.
        script: Loaded into each that lacks it.
        probe: Makes the packed command that a new connection is tried with, of a hash tag.
        on_up: Called with every new connection.
        report: Called with "lost" and why and where, for each; with "back" and "" when the cluster is whole.
            Once with "inline" and "" if they load no scripts.
    """

    __slots__ = (
        "_first",
        "_guests",
        "_is_inline",
        "_known",
        "_leaving",
        "_nodes",
        "_on_up",
        "_owned",
        "_owners",
        "_place",
        "_probe",
        "_report",
        "_script",
        "_stale",
        "_task",
        "_was_lost",
        "server",
        "why",
    )

    def __init__(
        self,
        server: Server,
        place: ClusterAddress,
        script: Script,
        probe: Callable[[bytes], bytes],
        on_up: Callable[[Connection], None],
        report: Callable[[str, str], None],
    ) -> None:
        self.server = server
        self.why = "not-started"
        self._place = place
        self._script = script
        self._probe = probe
        self._on_up = on_up
        self._report = report
        self._known = list(place.nodes)  # whom to ask, in this order
        self._nodes: dict[Address, Link] = {}
        self._owned: dict[Address, frozenset[int]] = {}
        self._owners: list[Link | None] = [None] * SLOTS
        self._leaving: list[Link] = []
        self._guests: dict[Address, float] = {}  # when something was last sent on to a server
        self._was_lost = False
        self._is_inline = False
        self._task: asyncio.Task[None] | None = None
        self._first = asyncio.Event()
        self._stale = asyncio.Event()

    def at(self, key: bytes) -> Connection | None:
        """Return the connection to the server that has a key, or keys of a hash tag; None if it is lost."""
        link = self._owners[key_slot(key)]
        return None if link is None else link.connection

    @property
    def connections(self) -> list[Connection]:
        """The connections that there are."""
        return [link.connection for link in self._nodes.values() if link.connection is not None]

    @property
    def is_ready(self) -> bool:
        """True while there is any connection."""
        return bool(self.connections)

    @property
    def lost(self) -> int:
        """How many servers cannot be used; at least one while keys belong to nobody."""
        lost = len(self._nodes) - len(self.connections)
        return lost or (1 if None in self._owners else 0)

    async def start(self) -> None:
        """Begin to connect, and wait until the first attempt succeeded or failed."""
        self._task = asyncio.get_running_loop().create_task(self._keep(), name="state-cluster")
        self._task.add_done_callback(self._died)
        await self._first.wait()

    async def stop(self) -> None:
        """End all connections and attempts."""
        task, self._task = self._task, None
        if task is not None and task.cancel():  # False: it has died, and that was said
            with suppress(asyncio.CancelledError):
                await task
        for link in (*self._nodes.values(), *self._leaving):
            await link.stop()

    # -- who has what -----------------------------------------------------------------------------------

    async def _keep(self) -> None:
        while True:
            self._stale.clear()
            try:
                asked, reply = await inquire(self.server, self._known, self.server.password, *QUESTION)
                await self._take(asked, read_slots(reply, asked, self._place))
            except Unlocated as error:
                self._lose(str(error))
            self._first.set()
            await asyncio.sleep(PAUSE)
            with suppress(TimeoutError):
                async with asyncio.timeout(RETRY if self._was_lost else PERIOD):
                    await self._stale.wait()

    async def _take(self, asked: Address, owned: dict[Address, frozenset[int]]) -> None:
        """Connect to whom there is, and leave who is gone."""
        now = asyncio.get_running_loop().time()
        self._guests = {each: at for each, at in self._guests.items() if now - at < GUEST_SECONDS}
        wanted = dict.fromkeys((*owned, *self._guests))
        known = dict.fromkeys((*owned, *self._place.nodes))
        self._known = [*(node for node in known if node != asked), asked]  # one alone may be behind the times
        self._owned = owned
        self._leaving += [self._nodes.pop(address) for address in list(self._nodes) if address not in wanted]
        fresh = [self._add(address) for address in wanted if address not in self._nodes]
        async with asyncio.TaskGroup() as group:
            for link in fresh:
                group.create_task(link.start())
        owners: list[Link | None] = [None] * SLOTS
        for address, slots in owned.items():
            for slot in slots:
                owners[slot] = self._nodes[address]
        self._owners = owners
        while self._leaving:
            await self._leaving[-1].stop()
            self._leaving.pop()
        if None in owners:
            self._lose("slots-unserved")
        self._judge()

    def _died(self, task: asyncio.Task[None]) -> None:
        """A mistake of ours ended the task: what moves is still followed, what is promoted is not found."""
        self._first.set()
        if not task.cancelled() and (failure := task.exception()) is not None:
            self._lose(type(failure).__name__, is_news=True)

    def _add(self, address: Address) -> Link:
        link = self._nodes[address] = Link(
            self.server,
            Fixed(address),
            self._script,
            partial(self._try, address),
            partial(self._up, address),
            partial(self._hear, address),
        )
        return link

    def _try(self, address: Address) -> bytes:
        """Return what a connection is tried with: something that only this server can answer."""
        slots = self._owned.get(address)
        return pack("PING") if not slots else self._probe(probe_tag(slots))

    def _up(self, address: Address, connection: Connection) -> None:
        connection.divert = partial(self._divert, address)
        self._on_up(connection)

    def _hear(self, address: Address, event: str, why: str) -> None:
        """Take what one connection reports."""
        if event == "lost":
            self._lose(f"{why} at {address.name}", is_news=True)
            self._stale.set()  # perhaps another has taken its place
        elif event == "back":
            self._judge()
        elif event == FULL:
            self._report(event, f"at {address.name}")
        elif not self._is_inline:
            self._is_inline = True
            self._report(event, why)

    def _lose(self, why: str, *, is_news: bool = False) -> None:
        self.why = why
        if is_news or not self._was_lost:
            self._was_lost = True
            self._report("lost", why)

    def _judge(self) -> None:
        """Say that the cluster is whole, if it is and was not."""
        if self._was_lost and self.lost == 0:
            self._was_lost = False
            self._report("back", "")

    # -- what was moved ---------------------------------------------------------------------------------

    def _divert(self, source: Address, command: bytes, receiver: Receiver, error: hiredis.ReplyError) -> bool:
        """Send a command on that met the wrong server; False if the error says something else."""
        found = read_redirection(str(error), source, self._place)
        if found is None:
            origin = self._nodes.get(source)
            return origin is not None and origin.note(command, receiver, error)
        link = self._nodes.get(found.address)
        if found.is_lasting:
            self._owners[found.slot] = link
        if found.is_lasting or link is None:
            self._stale.set()
        if found.address.is_safe and len(self._guests) < MAX_GUESTS:
            self._guests[found.address] = asyncio.get_running_loop().time()
        hop = receiver if isinstance(receiver, Hop) else Hop(receiver)
        hop.count += 1
        connection = None if link is None or hop.count > HOPS else link.connection
        if connection is None:
            hop.receive(LOST)
            return True
        if not found.is_lasting:
            connection.send(ASKING, IGNORED)
        hop.connection = connection
        connection.send(command, hop)
        return True

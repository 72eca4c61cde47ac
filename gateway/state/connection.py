"""One multiplexed connection to Redis: commands out, replies in, in order.

Commands of one loop tick leave in one write. Whoever sends gives a receiver; each receiver gets
exactly one reply, or `LOST`, and nothing is ever sent twice. One timer watches the oldest command:
when it is overdue the server is taken for dead and everything behind it is lost at once. Knows the
protocol (RESP2) and nothing about limits.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, Protocol, cast, final

import hiredis

from gateway.core.gate import Gate

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

MAX_REPLY: Final = 1024 * 1024
"""Bytes of one incomplete reply; ours are below 1 KiB, so more is no Redis."""

Reply = object
"""bytes, int, None, a list of these, `hiredis.ReplyError`, or `LOST`."""


@final
class Lost:
    """Type of `LOST`."""


LOST: Final = Lost()
"""Given to a receiver whose reply will not come: nobody knows whether the command ran."""

_NOTHING: Final = object()


def pack(*words: bytes | str | int) -> bytes:
    """Pack one command as RESP."""
    packed: bytes = hiredis.pack_command(words)  # type: ignore[arg-type]  # its stub knows 1-tuples alone
    return packed


class Receiver(Protocol):
    """Who waits for a reply."""

    def receive(self, reply: Reply, /) -> None:
        """Take the reply. Called exactly once; must not raise."""


@final
class Answer:
    """A receiver that a coroutine awaits."""

    __slots__ = ("future",)

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.future: asyncio.Future[Reply] = loop.create_future()

    def receive(self, reply: Reply, /) -> None:
        """Wake the coroutine, unless it has gone."""
        if not self.future.done():
            self.future.set_result(reply)


@final
class Direct:
    """A receiver that a line awaits which no task runs: it goes on in the very call that brings the reply."""

    __slots__ = ("gate", "reply")

    def __init__(self) -> None:
        self.gate = Gate()
        self.reply: Reply = LOST

    def receive(self, reply: Reply, /) -> None:
        """Let the line go on, unless it has gone."""
        self.reply = reply
        self.gate.open()


@final
class Connection:
    """One connection: an `asyncio.Protocol` in all but the base class, which cannot be compiled.

    Args:
        loop: The running loop.
        timeout: Seconds from sending a command to its reply.
        on_lost: Called once when the connection is gone, with a word that says why.

    Attributes:
        inline: Makes of a command what is sent where the server loads no scripts: see `script.inlined`. None
            where it does.
        divert: Given every error with its command and receiver; True if it sees to the receiver. None where
            nobody but the receiver cares.
    """

    __slots__ = (
        "_is_gathering",
        "_is_timed",
        "_loop",
        "_on_lost",
        "_outgoing",
        "_pending",
        "_reader",
        "_transport",
        "_unparsed",
        "divert",
        "inline",
        "timeout",
        "why",
    )

    def __init__(
        self, loop: asyncio.AbstractEventLoop, timeout: float, on_lost: Callable[[Connection], None]
    ) -> None:
        self.timeout = timeout
        self.why = ""
        self.inline: Callable[[bytes], bytes] | None = None
        self.divert: Callable[[bytes, Receiver, hiredis.ReplyError], bool] | None = None
        self._loop = loop
        self._on_lost = on_lost
        self._reader = hiredis.Reader(notEnoughData=_NOTHING)
        self._transport: asyncio.Transport | None = None
        self._outgoing: list[bytes] = []
        self._pending: deque[tuple[float, Receiver, bytes]] = deque()
        self._unparsed = 0
        self._is_timed = False
        self._is_gathering = False  # the transport itself sends what one tick writes together

    def send(self, command: bytes, receiver: Receiver) -> None:
        """Send a packed command with what else this loop tick sends. Never raises.

        Args:
            command: The command as RESP.
            receiver: Gets the reply; at once `LOST` if the connection is gone.
        """
        if self._transport is None:
            receiver.receive(LOST)
            return
        deadline = self._loop.time() + self.timeout
        self._pending.append((deadline, receiver, command))
        if self.inline is not None:
            command = self.inline(command)
        if self._is_gathering:
            self._transport.write(command)
        else:
            if not self._outgoing:
                self._loop.call_soon(self._flush)
            self._outgoing.append(command)
        if not self._is_timed:
            self._is_timed = True
            self._loop.call_at(deadline, self._check)

    async def ask(self, *words: bytes | str | int) -> Reply:
        """Send one command and wait for its reply: for setting up, not for requests."""
        answer = Answer(self._loop)
        self.send(pack(*words), answer)
        return await answer.future

    def abort(self, why: str) -> None:
        """Drop the connection; everything pending is lost. The first reason stays."""
        self.why = self.why or why
        if self._transport is not None:
            self._transport.abort()
            self._end()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are none by inheritance
        # uvloop's plain transports do; its TLS makes a record of every write
        is_plain = transport.get_extra_info("ssl_object") is None
        self._is_gathering = is_plain and type(transport).__module__.startswith("uvloop")

    def pause_writing(self) -> None:
        """The server reads slower than we write: nothing to do, commands are bounded by the requests."""

    def resume_writing(self) -> None:
        """The server has caught up."""

    def eof_received(self) -> bool:
        """The server says no more."""
        return False

    def data_received(self, data: bytes) -> None:
        """Hand every complete reply to its receiver."""
        reader, pending = self._reader, self._pending
        try:
            reader.feed(data)
            reply = reader.gets()
            while reply is not _NOTHING:
                self._unparsed = 0
                if not pending:
                    self.abort("unasked-reply")
                    return
                _, receiver, command = pending.popleft()
                divert = self.divert
                if (
                    divert is None
                    or not isinstance(reply, hiredis.ReplyError)
                    or not divert(command, receiver, reply)
                ):
                    receiver.receive(reply)
                reply = reader.gets()
        except hiredis.ProtocolError:
            self.abort("no-redis")
            return
        self._unparsed += len(data)
        if self._unparsed > MAX_REPLY:
            self.abort("reply-too-large")

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell everybody who waits."""
        del exc  # its class says nothing that helps: the peer is gone
        self.why = self.why or "closed"
        self._end()

    def _end(self) -> None:
        if self._transport is None:
            return
        self._transport = None
        self._outgoing.clear()
        pending, self._pending = self._pending, deque()
        self._on_lost(self)  # first: a receiver that tries again must not find this connection
        while pending:  # emptied as it goes: data_received may be iterating over it
            pending.popleft()[1].receive(LOST)

    def _flush(self) -> None:
        if self._transport is not None and self._outgoing:
            self._transport.write(b"".join(self._outgoing))
            self._outgoing.clear()

    def _check(self) -> None:
        """Look at the oldest command; replies come in order, so no other can be overdue before it."""
        self._is_timed = False
        if not self._pending:
            return
        deadline = self._pending[0][0]
        if deadline <= self._loop.time():
            self.abort("timeout")
            return
        self._is_timed = True
        self._loop.call_at(deadline, self._check)

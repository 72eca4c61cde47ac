"""The client's side: one connection, its requests one after the other.

Starts the line for each request as soon as its head is whole; answers pipelined requests in order.
A connection that broke a rule of framing is answered once and closed: nothing that follows on it can
be trusted. docs/behaviour.md says every bound and timeout.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import TYPE_CHECKING, Any, Final, cast, final

from gateway.core.call import Call
from gateway.core.ports import ClientGone
from gateway.core.refusal import Reason, Refusal, Refused
from gateway.wire.deadlines import NEVER
from gateway.wire.driver import Driver
from gateway.wire.incoming import CONTINUE
from gateway.wire.reader import Reader
from gateway.wire.reply import Reply

if TYPE_CHECKING:
    from gateway.core.identity import Peer
    from gateway.wire.flood import Floodgate
    from gateway.wire.incoming import Incoming
    from gateway.wire.service import Service

LINGER_SECONDS = 1.0  # how long a closed connection's last bytes are read and thrown away
_NO_LINGER: Final = struct.pack("ii", 1, 0)  # SO_LINGER: a reset instead of an orderly end


@final
class Downstream:
    """One client connection: an `asyncio.Protocol` in all but the base class, which cannot be compiled.

    Args:
        service: What all connections of a listener share.
    """

    __slots__ = (
        "_current",
        "_driver",
        "_is_lingering",
        "_is_reading",
        "_reader",
        "_reply",
        "_service",
        "_transport",
        "deadline",
        "is_full",
        "peer",
    )

    def __init__(self, service: Service) -> None:
        self._service = service
        self._transport: asyncio.Transport | None = None
        self._reader = Reader(self, service)
        self._current: Incoming | None = None  # the one that is served
        self._driver: Driver | None = None
        self._reply: Reply | None = None
        self._is_lingering = False
        self._is_reading = True
        self.deadline = NEVER
        self.is_full = False
        self.peer: Peer | None = None

    # -- asyncio.Protocol -------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected, its handshake done."""
        # a listener makes no other kind; uvloop's transports do not inherit from asyncio's
        self._transport = stream = cast("asyncio.Transport", transport)
        self.peer = self._service.welcome(self, transport)
        if self.peer is None:
            self._reader.is_doomed = True
            stream.abort()
            return
        self.deadline = self._service.now() + self._service.timeouts.head

    def connection_lost(self, _exc: Exception | None) -> None:
        """The client is gone; whatever runs for it ends."""
        self._transport = None
        self._reader.is_doomed = True
        self._service.farewell(self, self.peer)
        if self._driver is not None:
            self._driver.throw(ClientGone())  # `_finish` counts it
        for incoming in (self._current, self._reader.incoming, *self._reader.queue):
            if incoming is not None:
                incoming.drop()
        self._reader.queue.clear()
        self._current = self._reader.incoming = None

    def eof_received(self) -> bool:
        """The client says no more."""
        # a client that says no more is gone: its request must not go on costing GPU time
        if self._driver is not None and self._transport is not None:
            self._transport.abort()  # now, not when it has read what is still to be written
        return False

    def data_received(self, data: bytes) -> None:
        """Read, and serve what is whole."""
        if not self._reader.is_doomed:
            self._reader.feed(data)
            self._advance()

    def pause_writing(self) -> None:
        """The client reads slower than we write."""
        self.is_full = True
        self.deadline = self._service.now() + self._service.timeouts.write
        if self._reply is not None:
            self._reply.pause()

    def resume_writing(self) -> None:
        """The client has caught up."""
        self.is_full = False
        if self._driver is None:
            self.deadline = self._rest_deadline()
        elif self._current is None or self._current.is_complete:
            self.deadline = NEVER  # else it is the body's, and stays
        if self._reply is not None:
            self._reply.resume()
        self._advance()  # requests that came meanwhile

    # -- serving ------------------------------------------------------------------------------------

    def _advance(self) -> None:
        """Serve the next request if none is being served, and read on only if somebody wants it."""
        while (
            self._driver is None
            and self._reader.queue
            and self._transport is not None
            and not self._is_lingering
        ):
            if self.is_full:
                break  # answers that nobody reads would pile up
            self._serve(self._reader.queue.popleft())
        if self._driver is None and self._reader.incoming is not None and not self._reader.is_doomed:
            self.deadline = self._reader.incoming.began + self._service.timeouts.head
        if not self._is_lingering:
            self._regulate()

    def _regulate(self) -> None:
        """Stop reading while bytes would only pile up.

        These are: a body nobody asked for, requests in the queue, requests of a client that does not
        read its answers.
        """
        current = self._current
        if current is None:
            is_needed = not self._reader.queue and not self.is_full
        else:
            is_needed = not self._reader.queue and (current.is_complete or current.is_wanted)
        transport = self._transport
        if transport is None or is_needed == self._is_reading or transport.is_closing():
            return
        self._is_reading = is_needed
        if is_needed:
            transport.resume_reading()
        else:
            transport.pause_reading()

    def _serve(self, incoming: Incoming) -> None:
        service = self._service
        peer = self.peer
        if peer is None:
            return
        self._current = incoming
        reply = self._reply = Reply(self, incoming)
        self.deadline = NEVER
        if service.floodgate is not None:
            self._count(service.floodgate, peer, incoming)
        if incoming.fault is not None:
            self._reader.is_doomed = reply.is_closing = True
            service.handler.reject(service.new_id(), peer, incoming.fault, reply)
            self._finish(None)
            return
        head = incoming.head
        call = Call(
            service.new_id(), head.method, head.path, head.query, head.headers, peer, incoming, head.memo
        )
        self._driver = driver = Driver(service.handler.handle(call, reply), self._finish)
        service.active += 1
        driver.resume()

    def _count(self, floodgate: Floodgate, peer: Peer, incoming: Incoming) -> None:
        """Hold a request back if there were too many from where it comes."""
        seconds = floodgate.admit(peer, self._service.now(), is_request=True)
        if seconds:
            incoming.fault = Refusal(Reason.FLOODED, retry_after=max(seconds, 1.0))
        elif incoming.fault is not None:
            self.suspect()

    def _finish(self, error: BaseException | None) -> None:
        """The line of the current request has ended."""
        if self._driver is not None:
            self._driver = None
            self._service.active -= 1
        reply, incoming = self._reply, self._current
        self._reply = self._current = None
        if incoming is not None:
            incoming.drop()
        transport = self._transport
        if transport is None:
            return
        if error is not None or reply is None or not reply.is_ended:
            transport.abort()  # the line itself broke: nothing can be said for certain
            return
        if (
            reply.is_closing
            or self._service.is_draining
            or (self._reader.is_doomed and not self._reader.queue)
        ):
            self._linger(transport)
            return
        self.deadline = self._rest_deadline()
        if self._reader.queue:
            # not from here: a thousand pipelined requests would be a thousand frames deep
            asyncio.get_running_loop().call_soon(self._advance)
        elif self.is_full or not self._is_reading:
            self._regulate()

    def _rest_deadline(self) -> float:
        """Until when a connection may do without a request being served."""
        timeouts = self._service.timeouts
        if self.is_full:
            seconds = timeouts.write
        elif self._is_lingering:
            seconds = LINGER_SECONDS
        elif (
            self._reader.incoming is not None
        ):  # the beginning of a head came while another request was served
            seconds = timeouts.head
        else:
            seconds = timeouts.keep_alive
        return self._service.now() + seconds

    def _linger(self, transport: asyncio.Transport) -> None:
        """Close so that the client can still read our last bytes: RFC 9112, section 9.6."""
        self._reader.is_doomed = self._is_lingering = True
        while self._reader.queue:  # never to be served: their bodies are forgotten
            self._reader.queue.popleft().drop()
        if transport.can_write_eof() and not transport.is_closing():
            transport.write_eof()
            if not self._is_reading:
                self._is_reading = True
                transport.resume_reading()
            self.deadline = self._service.now() + LINGER_SECONDS
            if self.is_full:
                self.deadline += self._service.timeouts.write
        else:
            self.deadline = self._service.now() + self._service.timeouts.write
            transport.close()

    # -- for Incoming, Reply and the service ----------------------------------------------------------

    def want_body(self, incoming: Incoming, deadline: float) -> None:
        """The line waits for the rest of the body."""
        if incoming.head.wants_continue and incoming.received == 0:
            self.write(CONTINUE)
        self.deadline = deadline
        self._regulate()

    def suspect(self) -> None:
        """Somebody proved nothing: count it, for where it came from."""
        floodgate, peer = self._service.floodgate, self.peer
        if floodgate is not None and peer is not None:
            floodgate.fail(peer, self._service.now())

    def hold_memory(self, size: int) -> bool:
        """Ask for room for a piece of body; False if all connections together hold too much."""
        return self._service.hold_memory(size)

    def release_memory(self, size: int) -> None:
        """Give the room back."""
        self._service.release_memory(size)

    def write(self, data: bytes) -> None:
        """Write, if anybody is there."""
        if self._transport is not None:
            self._transport.write(data)

    @property
    def is_draining(self) -> bool:
        """True if no request should follow this one."""
        return self._service.is_draining

    def date(self) -> bytes:
        """The Date field's value."""
        return self._service.date()

    def close_if_idle(self) -> None:
        """Close between two requests: the process drains."""
        if self._transport is not None and self._driver is None and not self._reader.queue:
            self._transport.close()

    def reset(self) -> None:
        """Close so that the client sees a reset and no end."""
        if self._transport is not None:
            stream = self._transport.get_extra_info("socket")
            if stream is not None:
                stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
            self._transport.abort()

    def cut(self, reply: Reply, error: Exception) -> None:
        """Raise an error in the line that owns a reply, where it waits; a later request is not meant."""
        if self._driver is None or self._reply is not reply:
            return
        self._driver.throw(error)
        if self.is_full and self._transport is not None:
            self._transport.abort()  # what waits to be read is no longer the client's to have

    def retire(self) -> None:
        """Close now if no request is served, else after the one that is."""
        if self._reply is not None and self._driver is not None:
            self._reply.is_closing = True
        elif self._transport is not None:
            self._transport.close()

    def transport_info(self, name: str) -> Any:  # noqa: ANN401 - asyncio's own word for it
        """Return what the transport knows under a name, or None; None if there is no transport any more."""
        return None if self._transport is None else self._transport.get_extra_info(name)

    @property
    def is_ending(self) -> bool:
        """True if nothing is served any more: closed, or closing."""
        return self._is_lingering or self._transport is None or self._transport.is_closing()

    def distrust(self, refusal: Refusal) -> None:
        """End everything: who is at the other end is no longer believed.

        A running line ends with the refusal, as soon as this returns; what waits behind it is never
        served, and bytes that still come are not read.
        """
        transport = self._transport
        if transport is None:
            return
        self._reader.is_doomed = True
        reply = self._reply
        if self._driver is not None and reply is not None:
            reply.is_closing = True
            self._driver.throw(Refused(refusal))
        elif self.is_full:
            transport.abort()  # it does not read what we say
        else:
            self._linger(transport)

    def abort(self) -> None:
        """Close now, whatever is going on."""
        if self._transport is not None:
            self._transport.abort()

    def expire(self, _now: float) -> None:
        """A deadline has passed."""
        self.deadline = NEVER
        transport = self._transport
        if transport is None:
            return
        if self._is_lingering or transport.is_closing():
            transport.abort()
        elif self.is_full:
            if self._driver is not None:
                self._reply_too_slow(transport)
            else:
                transport.abort()
        elif self._driver is not None:
            if self._current is not None and not self._current.is_complete:
                self._reader.is_doomed = True
                self._current.fail(Refusal(Reason.BODY_TIMEOUT, "the body did not arrive in time"))
        elif self._reader.incoming is not None or self._reader.head_bytes:
            self._reader.doom(Refusal(Reason.HEAD_TIMEOUT, "the head did not arrive in time"))
            self._advance()
        else:
            transport.close()  # idle, or never said a word

    def _reply_too_slow(self, transport: asyncio.Transport) -> None:
        if self._reply is not None:
            self._reply.lose(Refusal(Reason.CLIENT_TOO_SLOW))
        transport.abort()

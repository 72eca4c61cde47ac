"""A transport in memory and the smallest line there is: what the tests of the wire stand on."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, final

from gateway.core.identity import Peer
from gateway.core.ports import ClientGone
from gateway.core.refusal import Refused
from gateway.core.route import Bounds
from gateway.wire.downstream import Downstream
from gateway.wire.service import ConnectionBounds, Service, Timeouts

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.core.call import Call
    from gateway.core.ports import Meter
    from gateway.core.refusal import Refusal
    from gateway.wire.reply import Reply

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


def post(body: bytes, path: str = "/", *fields: bytes) -> bytes:
    """A request with a body of known length."""
    lines = b"".join(field + b"\r\n" for field in fields)
    return b"POST %b HTTP/1.1\r\nHost: a\r\n%bContent-Length: %d\r\n\r\n%b" % (
        path.encode(),
        lines,
        len(body),
        body,
    )


@final
class FakeTransport(asyncio.Transport):
    """Keeps what is written; loses the connection in a later turn of the loop, as real ones do.

    Args:
        protocol: Who is told.
        room: Bytes that may be unread before writing is paused.
    """

    def __init__(self, protocol: asyncio.Protocol, *, room: int = 1 << 62, is_tls: bool = False) -> None:
        super().__init__({"peername": ("192.0.2.1", 4711)})
        self.protocol = protocol
        self.room = room
        self.is_tls = is_tls
        self.written = bytearray()
        self.unread = 0
        self.is_reading = True
        self.has_eof = False
        self.was_aborted = False
        self._is_closing = False
        self._is_full = False

    def write(self, data: Any) -> None:
        assert not self.has_eof, "written after the end"
        if self._is_closing:
            return
        self.written += data
        self.unread += len(data)
        if self.unread > self.room and not self._is_full:
            self._is_full = True
            self.protocol.pause_writing()

    def get_write_buffer_size(self) -> int:
        return self.unread if self._is_full else 0

    def drain(self) -> None:
        """The other end reads everything."""
        self.unread = 0
        if self._is_full:
            self._is_full = False
            self.protocol.resume_writing()

    def can_write_eof(self) -> bool:
        return not self.is_tls

    def write_eof(self) -> None:
        self.has_eof = True

    def pause_reading(self) -> None:
        assert self.is_reading
        self.is_reading = False

    def resume_reading(self) -> None:
        assert not self.is_reading
        self.is_reading = True

    def is_closing(self) -> bool:
        return self._is_closing

    def close(self) -> None:
        self._lose(None)

    def abort(self) -> None:
        self.was_aborted = True
        self._lose(None)

    def _lose(self, error: Exception | None) -> None:
        if not self._is_closing:
            self._is_closing = True
            with contextlib.suppress(RuntimeError):  # a line that a test left behind ends without a loop
                asyncio.get_running_loop().call_soon(self.protocol.connection_lost, error)


@final
class Clock:
    """Time that stands still until a test moves it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@final
class NoMeter:
    """Counts what passes."""

    def __init__(self) -> None:
        self.seen = b""
        self.is_finished = False

    def feed(self, data: bytes) -> None:
        self.seen += data

    def finish(self) -> None:
        self.is_finished = True


@final
class Line:
    """A handler that reads the body, writes down what it got, and answers.

    Args:
        bounds: Bounds of its one route.
        reads: False leaves the body alone.
        waits: True waits on `gate` before it answers, if it is not open by then.
    """

    def __init__(self, bounds: Bounds | None = None, *, reads: bool = True) -> None:
        self.bounds = bounds or Bounds()
        self.reads = reads
        self.seen: list[tuple[str, str, str, dict[bytes, bytes], bytes]] = []
        self.refused: list[str] = []
        self.gone = 0
        self.replies: list[Reply] = []
        self.answer: bytes = b"ok"
        self.wait_for: Any = None
        self.fault: BaseException | None = None
        self.meter: Meter = NoMeter()

    async def handle(self, call: Call, reply: Reply) -> None:
        """Serve one request."""
        self.replies.append(reply)
        try:
            body = b""
            if self.reads:
                body = await call.body.read(self.bounds.body, self.bounds.body_time)
            self.seen.append((call.method, call.path, call.query, dict(call.headers), body))
            if self.fault is not None:
                raise self.fault
            if self.wait_for is not None:
                await self.wait_for
            reply.send(200, b"", self.answer)
        except Refused as refused:
            self.refused.append(refused.refusal.reason.value)
            if reply.is_started:
                reply.abort(b"event: error\n\n")
            else:
                reply.send(400, b"", refused.refusal.reason.value.encode())
        except ClientGone:
            self.gone += 1
            raise

    def reject(self, id: str, peer: Peer, refusal: Refusal, reply: Reply) -> None:
        """Answer bytes that are no request."""
        self.refused.append(refusal.reason.value)
        reply.send(400, b"", refusal.reason.value.encode())


def make_service(
    line: Any,
    *,
    hosts: Iterable[str] = (),
    clock: Clock | None = None,
    timeouts: Timeouts | None = None,
    **bounds: int,
) -> Service:
    """A service whose peers all come from one address."""
    service = Service(
        line,
        lambda transport: Peer(transport.get_extra_info("peername")[0], 1),
        hosts=hosts,
        timeouts=timeouts,
        bounds=ConnectionBounds(**bounds),
    )
    if clock is not None:
        service.now = clock
    return service


def connect(
    service: Service, *, room: int = 1 << 62, is_tls: bool = False
) -> tuple[Downstream, FakeTransport]:
    """A client connection in memory."""
    downstream = Downstream(service)
    transport = FakeTransport(downstream, room=room, is_tls=is_tls)
    downstream.connection_made(transport)
    return downstream, transport


async def turn(times: int = 3) -> None:
    """Let the loop run what is due now."""
    for _ in range(times):
        await asyncio.sleep(0)


def statuses(written: bytes | bytearray) -> list[int]:
    """Status codes of the answers in what was written."""
    return [int(part[:3]) for part in bytes(written).split(b"HTTP/1.1 ")[1:]]

"""The way back to the client: whole answers of ours, and a backend's answer as it comes.

Implements `core.ports.Reply`. A piece of the answer goes from the backend's socket to the client's
in one synchronous call: no queue, no task, no copy but the framing. When the client reads slowly its
transport says so and the backend's socket is not read until it has caught up.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Final, final

from gateway.core.refusal import Reason, Refusal, Refused, Source, refuse
from gateway.wire.driver import Gate

if TYPE_CHECKING:
    from gateway.core.ports import Answer, Meter
    from gateway.core.route import Bounds
    from gateway.wire.downstream import Downstream
    from gateway.wire.incoming import Incoming

STATUS_LINES: Final = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus
}
LAST_CHUNK: Final = b"0\r\n\r\n"
NO_BODY: Final = frozenset({204, 304})
UNAUTHORIZED: Final = 401


_SIZES: Final = tuple([b"%x\r\n" % size for size in range(4096)])


def chunk(data: bytes) -> bytes:
    """Frame one piece as a chunk (RFC 9112, section 7.1)."""
    size = len(data)
    first = _SIZES[size] if size < len(_SIZES) else b"%x\r\n" % size
    return b"%b%b\r\n" % (first, data)


def status_line(status: int) -> bytes:
    """Return the status line, without a phrase for a status nobody has named."""
    return STATUS_LINES.get(status) or f"HTTP/1.1 {status} \r\n".encode()


@final
class Reply:
    """The answer to one request."""

    __slots__ = (
        "_answer",
        "_connection",
        "_gate",
        "_incoming",
        "_is_chunked",
        "_is_until_close",
        "_limit",
        "_meter",
        "bytes_out",
        "is_closing",
        "is_ended",
        "is_started",
        "status",
    )

    def __init__(self, connection: Downstream, incoming: Incoming) -> None:
        self._connection = connection
        self._incoming = incoming
        self._answer: Answer | None = None
        self._gate: Gate | None = None
        self._meter: Meter | None = None
        self._is_chunked = False
        self._is_until_close = False
        self._limit = 0
        self.is_started = False
        self.is_ended = False
        self.is_closing = incoming.head.is_closing
        self.status = 0
        self.bytes_out = 0

    def send(self, status: int, headers: bytes, body: bytes, /, *, close: bool = False) -> None:
        """Write a whole answer of ours. See `core.ports.Reply`."""
        self.is_started = self.is_ended = True
        self.status = status
        self.bytes_out = len(body)
        if status == UNAUTHORIZED:  # ours: a backend's own is none of the client's doing
            self._connection.suspect()
        if close or not self._incoming.is_complete or self._connection.is_draining:
            self.is_closing = True  # the rest of the request is not read: no next one can be found
        ending = b"Connection: close\r\n" if self.is_closing else b""
        body_out = b"" if self._incoming.head.method == "HEAD" else body
        self._connection.write(
            b"%bDate: %b\r\n%bContent-Length: %d\r\n%b\r\n%b"
            % (status_line(status), self._connection.date(), headers, len(body), ending, body_out)
        )

    async def relay(self, answer: Answer, headers: bytes, meter: Meter, bounds: Bounds, /) -> None:
        """Stream an answer back as it comes. See `core.ports.Reply`."""
        self._meter = meter
        self._limit = bounds.answer
        if answer.length is not None and answer.length > bounds.answer:
            raise refuse(Reason.ANSWER_TOO_LARGE, source=Source.UPSTREAM)
        head = self._head(answer, headers)
        connection = self._connection
        pieces, is_complete = answer.attach(self, bounds)
        self.is_started = True
        self.status = answer.status
        data = b"".join(pieces) if pieces else b""
        if data and self._refuses(data):
            connection.write(head)
            raise refuse(Reason.ANSWER_TOO_LARGE, source=Source.UPSTREAM)
        if is_complete:
            connection.write(head + self._framed_last(data))
        else:
            connection.write(head + self._framed(data) if data else head)
            self._answer = answer
            self._gate = Gate()
            if connection.is_full:
                answer.pause()
            try:
                await self._gate
            finally:
                self._answer = None
        meter.finish()
        self.is_ended = True

    def _head(self, answer: Answer, headers: bytes) -> bytes:
        status = answer.status
        line = status_line(status)
        if self._connection.is_draining:
            self.is_closing = True
        if self._incoming.head.method == "HEAD" or status in NO_BODY:
            framing = b""
        elif answer.length is not None:
            framing = b"Content-Length: %d\r\n" % answer.length
        elif self._incoming.head.version == "1.1":
            self._is_chunked = True
            framing = b"Transfer-Encoding: chunked\r\n"
        else:
            # HTTP/1.0 knows no chunks: the end of the connection is the end
            self.is_closing = self._is_until_close = True
            framing = b""
        if self.is_closing:
            framing += b"Connection: close\r\n"
        # RFC 9110, section 6.6.1: an answer that is passed on has a Date
        date = b"" if answer.memo.has_date else b"Date: %b\r\n" % self._connection.date()
        return b"%b%b%b%b\r\n" % (line, date, headers, framing)

    def _refuses(self, data: bytes) -> bool:
        self.bytes_out += len(data)
        if self.bytes_out > self._limit:
            self.bytes_out -= len(data)
            return True
        if self._meter is not None:
            self._meter.feed(data)
        return False

    def _framed(self, data: bytes) -> bytes:
        return chunk(data) if self._is_chunked else data

    def _framed_last(self, data: bytes) -> bytes:
        if not self._is_chunked:
            return data
        return chunk(data) + LAST_CHUNK if data else LAST_CHUNK

    # -- called by the answer, from the backend's socket -------------------------------------------

    def take(self, data: bytes) -> None:
        """Pass the next piece on."""
        if self._refuses(data):
            self.lose(Refusal(Reason.ANSWER_TOO_LARGE, source=Source.UPSTREAM))
            return
        self._connection.write(chunk(data) if self._is_chunked else data)

    def finish(self, data: bytes) -> None:
        """Pass the last piece on, and end."""
        if data and self._refuses(data):
            self.lose(Refusal(Reason.ANSWER_TOO_LARGE, source=Source.UPSTREAM))
            return
        if last := self._framed_last(data):
            self._connection.write(last)
        if self._gate is not None:
            self._gate.open()

    def lose(self, refusal: Refusal) -> None:
        """The answer can not go on."""
        if self._gate is not None:
            self._gate.open(Refused(refusal))

    # -- called by the connection -----------------------------------------------------------------

    def pause(self) -> None:
        """The client reads slower than the backend writes."""
        if self._answer is not None:
            self._answer.pause()

    def resume(self) -> None:
        """The client has caught up."""
        if self._answer is not None:
            self._answer.resume()

    def cut(self, refusal: Refusal, /) -> None:
        """End the line from outside. See `core.ports.Reply`."""
        self._connection.cut(self, Refused(refusal))

    def abort(self, last: bytes, /) -> None:
        """End an answer that has begun, visibly. See `core.ports.Reply`.

        An event stream gets one event more; then the connection closes without the last chunk (or
        short of the declared length), so that no client takes what it has for the whole.
        """
        self.is_ended = self.is_closing = True
        if last and self._is_chunked:
            self._connection.write(chunk(last))
        elif self._is_until_close:
            self._connection.reset()  # an orderly close would say that this was all

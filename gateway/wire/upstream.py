"""The backend's side: one connection, one exchange at a time, hostile until it proves otherwise.

Reads with llhttp, strictly; what a backend sends is framed again before a client sees it. Bytes that
nobody asked for close the connection. A connection is used again only after an answer that ended
where it said it would.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast, final

import httptools

from gateway.core.refusal import Reason, Refusal, Source
from gateway.wire.answer import Answer
from gateway.wire.deadlines import NEVER
from gateway.wire.framing import HOP_BY_HOP
from gateway.wire.known import KnownHead

if TYPE_CHECKING:
    import asyncio

    from gateway.core.outbound import Outbound
    from gateway.core.route import Bounds
    from gateway.wire.endpoint import Endpoint

MAX_HEAD_BYTES = 64 * 1024
MAX_HEADERS = 128
MAX_INTERIM = 8  # 1xx answers before the final one
NO_BODY = frozenset({204, 304})
DROPPED = frozenset(HOP_BY_HOP) | {b"transfer-encoding", b"content-length"}


@final
class Upstream:
    """One connection to an endpoint: an `asyncio.Protocol` in all but the base class.

    Args:
        endpoint: Where it leads; gets it back when it is free.
    """

    __slots__ = (
        "_answer",
        "_coding",
        "_final",
        "_has_excess",
        "_head_bytes",
        "_idle",
        "_interim",
        "_is_headed",
        "_is_paused",
        "_is_reusable",
        "_known",
        "_left",
        "_length",
        "_parser",
        "_pieces",
        "_skips_body",
        "_transport",
        "_until_close",
        "deadline",
        "endpoint",
    )

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._answer: Answer | None = None
        self._pieces: list[bytes] = []
        self._coding: bytes | None = None
        self._has_excess = False
        self._is_headed = False
        self._is_paused = False
        self._is_reusable = False
        self._skips_body = False
        self._until_close = False
        self._head_bytes = 0
        self._interim = 0
        self._idle = 0.0
        self._final = NEVER
        self._length: int | None = None
        self._known = KnownHead()
        self._left = 0  # bytes of body still to come for an answer whose head was known
        self.deadline = NEVER

    # -- for the pool -------------------------------------------------------------------------------

    @property
    def is_open(self) -> bool:
        """True if a request can be sent."""
        return self._transport is not None and not self._transport.is_closing()

    def send(self, outbound: Outbound, first_byte: float) -> Answer:
        """Send a request; the answer's gate opens with its head.

        Args:
            outbound: The request.
            first_byte: Seconds that the head may take.
        """
        endpoint = self.endpoint
        self._answer = answer = Answer(self, endpoint.name)
        self._skips_body = outbound.has_no_answer_body
        self._is_headed = self._until_close = self._has_excess = False
        self._head_bytes = self._interim = self._left = 0
        self._coding = None
        self.deadline = endpoint.now() + first_byte
        body = outbound.body
        transport = self._transport
        if transport is None:  # closed between two loop ticks
            self._fail(Refusal(Reason.BACKEND_DIED, note="closed before the request", source=Source.UPSTREAM))
        elif body or outbound.line[:1] == b"P":  # POST, PUT, PATCH: RFC 9110, section 8.6
            transport.write(
                b"%b%b%bContent-Length: %d\r\n\r\n%b"
                % (outbound.line, endpoint.head, outbound.headers, len(body), body)
            )
        else:
            transport.write(b"%b%b%b\r\n" % (outbound.line, endpoint.head, outbound.headers))
        return answer

    # -- asyncio.Protocol -----------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection stands."""
        # a connector makes no other kind; uvloop's transports do not inherit from asyncio's
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Read what the backend says."""
        answer = self._answer
        if answer is None:  # idle: nobody asked
            self.abort()
            return
        if self._left:
            self._read_body(data, answer)
            return
        is_first = not self._is_headed and not self._head_bytes
        if is_first and not self._skips_body:
            begin = self._known.match(data, answer)
            if begin:
                self._is_headed = self._is_reusable = True
                self._left = self._known.length
                self._read_body(data[begin:], answer)
                return
        self._parse(data, answer)
        if is_first and self._is_headed and not self._interim:
            self._known.keep(data, answer)
        if self._is_headed and self._answer is answer:
            self._deliver(answer)

    def _parse(self, data: bytes, answer: Answer) -> None:
        """Let llhttp read; what it must not take fails the answer."""
        was_headed = self._is_headed
        self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._fail(self._broken("switched protocols"))
            return
        except httptools.HttpParserError as error:
            if not answer.is_complete:  # else: excess after a whole answer
                self._fail(self._broken(str(error)))
                return
            self._has_excess = True
        if self._interim > MAX_INTERIM:
            self._fail(self._broken("interim answers"))
        elif len(answer.headers) > MAX_HEADERS or (
            self._head_bytes > MAX_HEAD_BYTES and self._is_overlong(answer, was_headed=was_headed)
        ):
            self._fail(self._broken("head too large"))

    def _read_body(self, data: bytes, answer: Answer) -> None:
        """Take the next piece of the body of an answer whose head was known."""
        left = self._left - len(data)
        if left < 0:  # more than was announced: nobody asked for it
            self._has_excess = True
            data = data[: self._left]
            left = 0
        self._left = left
        answer.is_complete = not left
        if data:
            self._pieces.append(data)
        self._deliver(answer)

    def _is_overlong(self, answer: Answer, *, was_headed: bool) -> bool:
        """Tell a head or trailers without an end from a body that came in one large piece."""
        if not self._is_headed:
            return True
        if was_headed:
            return not self._pieces and not answer.is_complete
        return sum(len(name) + len(value) for name, value in answer.headers) > MAX_HEAD_BYTES

    def pause_writing(self) -> None:
        """The backend reads slower than we write: nothing to do, requests are whole and bounded."""

    def resume_writing(self) -> None:
        """The backend has caught up."""

    def eof_received(self) -> bool:
        """The backend says no more."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is closed."""
        self._transport = None
        self.endpoint.lost(self)
        answer = self._answer
        if answer is None:
            return
        if self._until_close and exc is None:
            self._answer = None
            answer.end(b"")
            return
        note = "closed before its answer" if not self._is_headed else "closed within its answer"
        self._fail(Refusal(Reason.BACKEND_DIED, note=note, source=Source.UPSTREAM))

    # -- callbacks of llhttp ----------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """llhttp: a message begins."""
        # a second answer to one request is an attack on the next client of this connection
        self._has_excess = self._answer is None or self._answer.is_complete

    def on_header(self, name: bytes, value: bytes) -> None:
        """llhttp: a field, or a trailer."""
        answer = self._answer
        if self._is_headed or answer is None or self._has_excess:
            return  # trailers are not passed on
        name = name.lower()
        if name not in DROPPED:
            answer.headers.append((name, value.rstrip()))
        elif name == b"content-length":
            self._length = int(value)
        elif name == b"transfer-encoding":
            self._coding = value.rstrip().lower() if self._coding is None else b"repeated"

    def on_headers_complete(self) -> None:
        """llhttp: the head is whole."""
        answer = self._answer
        if answer is None or self._has_excess:
            return
        status = self._parser.get_status_code()
        if not 200 <= status < 600:  # noqa: PLR2004 - RFC 9110, section 15.2: below 200 interim
            # what is no status code, or switches protocols, is one interim answer too many
            is_interim = 100 <= status < 200 and status != 101  # noqa: PLR2004
            self._interim += 1 if is_interim else MAX_INTERIM + 1
            answer.headers.clear()
            self._length = self._coding = None
            return
        self._is_headed = True
        answer.status = status
        length, self._length = self._length, None
        if self._skips_body or status in NO_BODY:
            return
        answer.length = length
        self._until_close = length is None and self._coding is None

    def on_body(self, data: bytes) -> None:
        """llhttp: a piece of the body."""
        if not self._has_excess:
            self._pieces.append(data)

    def on_message_complete(self) -> None:
        """llhttp: the message has ended."""
        if not self._is_headed or self._has_excess:
            return  # an interim answer, or one that nobody asked for
        self._is_reusable = self._parser.should_keep_alive()
        self._until_close = False
        answer = self._answer
        if answer is not None:
            answer.is_complete = True

    # -- passing on -----------------------------------------------------------------------------------

    def _deliver(self, answer: Answer) -> None:
        """Give what one read brought to the answer: head, pieces, end."""
        if self._coding is not None and (self._coding != b"chunked" or answer.length is not None):
            self._fail(self._broken("transfer coding"))
            return
        if self._until_close and self.transport_info("ssl_object") is not None:
            # nobody can tell its end from a cut: uvloop hides whether close_notify came (RFC 9112, 9.8)
            self._fail(self._broken("neither length nor chunks, over TLS"))
            return
        pieces = self._pieces
        if pieces:
            self._pieces = []
            data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        else:
            data = b""
        if self._skips_body and self._is_headed:
            answer.is_complete = True  # HEAD: llhttp waits for a body that never comes
            self._is_reusable = False
            data = b""
        if answer.is_complete:
            self._release()
            answer.end(data)
            answer.head.open()
            return
        if data:
            self._head_bytes = 0
            answer.feed(data)
            self.deadline = min(self.endpoint.now() + self._idle, self._final)
        answer.head.open()

    def _release(self) -> None:
        self._answer = None
        self.deadline = NEVER
        self._final = NEVER
        transport = self._transport
        is_clean = self._is_reusable and not self._is_paused and not self._has_excess
        # an answer may come before the request has left: what is still unsent must never stand before
        # the next client's request
        if is_clean and transport is not None and not transport.get_write_buffer_size():
            self.endpoint.free(self)
        else:
            self.abort()

    def _fail(self, refusal: Refusal) -> None:
        answer, self._answer = self._answer, None
        self.abort()
        if answer is not None:
            answer.fail(refusal)

    def _broken(self, note: str) -> Refusal:
        return Refusal(Reason.BACKEND_PROTOCOL, note=note, source=Source.UPSTREAM)

    # -- for the answer ---------------------------------------------------------------------------------

    def stream(self, bounds: Bounds) -> None:
        """The answer is being passed on: from now on count silence and length."""
        now = self.endpoint.now()
        self._idle = bounds.idle
        self._final = now + bounds.answer_time
        self.deadline = min(now + bounds.idle, self._final)

    def pause(self) -> None:
        """Do not read."""
        if self._transport is not None and not self._is_paused:
            self._is_paused = True
            self.deadline = self._final  # silence is not the backend's now
            self._transport.pause_reading()

    def resume(self) -> None:
        """Read again."""
        if self._transport is not None and self._is_paused:
            self._is_paused = False
            self.deadline = min(self.endpoint.now() + self._idle, self._final)
            self._transport.resume_reading()

    def transport_info(self, name: str) -> Any:  # noqa: ANN401 - asyncio says no more
        """Return what the transport knows, as `asyncio.BaseTransport.get_extra_info`."""
        return None if self._transport is None else self._transport.get_extra_info(name)

    def abort(self) -> None:
        """Close now; the backend sees that its work is not wanted any more."""
        self._answer = None
        self.deadline = NEVER
        if self._transport is not None:
            self._transport.abort()

    def expire(self, now: float) -> None:
        """A deadline has passed."""
        if self._answer is None:
            self.abort()  # idle for too long
        elif not self._is_headed:
            self._fail(Refusal(Reason.BACKEND_TIMEOUT, note="first byte", source=Source.UPSTREAM))
        elif now >= self._final:
            self._fail(Refusal(Reason.ANSWER_TOO_LONG, source=Source.UPSTREAM))
        else:
            self._fail(Refusal(Reason.BACKEND_TIMEOUT, note="silence", source=Source.UPSTREAM))

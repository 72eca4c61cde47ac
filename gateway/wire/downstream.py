"""The client's side: one connection, its requests one after the other.

Reads with llhttp, strictly; starts the line for each request as soon as its head is whole; answers
pipelined requests in order. A connection that broke a rule of framing is answered once and closed:
nothing that follows on it can be trusted. docs/behaviour.md says every bound and timeout.
"""

from __future__ import annotations

import asyncio
import re
import socket
import struct
from collections import deque
from typing import TYPE_CHECKING, Final, cast, final

import httptools

from gateway.core.call import Call
from gateway.core.ports import ClientGone
from gateway.core.refusal import Reason, Refusal
from gateway.wire import framing
from gateway.wire.deadlines import NEVER
from gateway.wire.driver import Driver
from gateway.wire.incoming import CONTINUE, NO_HEAD, Head, Incoming
from gateway.wire.reply import Reply

if TYPE_CHECKING:
    from gateway.core.identity import Peer
    from gateway.wire.service import Service

MAX_PIPELINED = 32  # requests waiting behind the one that is served
MAX_TRAILERS = 32
MAX_SLACK_PER_BYTE = 8  # chunks of one byte need 5; extensions and trailers have no other bound in llhttp
LINGER_SECONDS = 1.0  # how long a closed connection's last bytes are read and thrown away
MAX_LENGTH_DIGITS = 10
_NO_LINGER: Final = struct.pack("ii", 1, 0)  # SO_LINGER: a reset instead of an orderly end
_LENGTH: Final = re.compile(rb"(?<=\r\n[Cc]ontent-[Ll]ength: )[0-9]+(?=\r\n)")
# Field names seen often: lower-cased once. Only names of well-formed requests could add to a cache, so there is none.
KNOWN_NAMES: Final = {
    spelled: name
    for name in (
        b"accept", b"accept-encoding", b"accept-language", b"authorization", b"connection", b"content-length",
        b"content-type", b"host", b"user-agent", b"traceparent", b"transfer-encoding", b"expect",
        b"x-request-id", b"x-stainless-arch", b"x-stainless-async", b"x-stainless-lang", b"x-stainless-os",
        b"x-stainless-package-version", b"x-stainless-read-timeout", b"x-stainless-retry-count",
        b"x-stainless-runtime", b"x-stainless-runtime-version", b"x-stainless-timeout",
    )
    for spelled in (name, name.title())
}  # fmt: skip


@final
class Downstream(asyncio.Protocol):
    """One client connection.

    Args:
        service: What all connections of a listener share.
    """

    __slots__ = (
        "_current",
        "_driver",
        "_fault",
        "_head",
        "_head_bytes",
        "_headers",
        "_incoming",
        "_is_doomed",
        "_is_headed",
        "_is_lingering",
        "_is_measuring",
        "_is_reading",
        "_left",
        "_parser",
        "_prefix",
        "_queue",
        "_reply",
        "_service",
        "_slack",
        "_suffix",
        "_target",
        "_trailers",
        "_transport",
        "deadline",
        "is_full",
        "peer",
    )

    def __init__(self, service: Service) -> None:
        self._service = service
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpRequestParser(self)
        self._queue: deque[Incoming] = deque()  # whole or arriving, behind the current one
        self._incoming: Incoming | None = None  # the one that the parser is in
        self._current: Incoming | None = None  # the one that is served
        self._driver: Driver | None = None
        self._reply: Reply | None = None
        # llhttp's message: what is known of it while its head is not whole
        self._target = b""
        self._headers: dict[bytes, bytes] = {}
        self._fault: Refusal | None = None
        self._is_headed = False
        self._head_bytes = 0
        self._trailers = 0
        self._slack = 0  # bytes of chunk framing and trailers
        # the last head that passed: see `_feed_known`
        self._prefix: bytes | None = None
        self._suffix = b""
        self._head = NO_HEAD
        self._left = 0  # bytes of body still to come for a request whose head was known
        self._is_doomed = False  # nothing more is parsed
        self._is_lingering = False
        self._is_measuring = False  # heads may be longer than the bound: what arrived at once was
        self._is_reading = True
        self.deadline = NEVER
        self.is_full = False
        self.peer: Peer | None = None

    # -- asyncio.Protocol -------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # a listener makes no other kind; uvloop's transports do not inherit from asyncio's
        self._transport = stream = cast("asyncio.Transport", transport)
        self.peer = self._service.welcome(self, transport)
        if self.peer is None:
            self._is_doomed = True
            stream.abort()
            return
        self.deadline = self._service.now() + self._service.timeouts.head

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._is_doomed = True
        self._service.farewell(self, self.peer)
        if self._driver is not None:
            self._driver.throw(ClientGone())  # `_finish` counts it
        for incoming in (self._current, self._incoming, *self._queue):
            if incoming is not None:
                incoming.drop()
        self._queue.clear()
        self._current = self._incoming = None

    def eof_received(self) -> bool:
        # a client that says no more is gone: its request must not go on costing GPU time
        if self._driver is not None and self._transport is not None:
            self._transport.abort()  # now, not when it has read what is still to be written
        return False

    def data_received(self, data: bytes) -> None:
        if self._is_doomed:
            return
        if self._left:
            data = self._feed_body(data)
        if data and self._prefix is not None and self._incoming is None and not self._head_bytes:
            data = self._feed_known(data, self._prefix)
        if data:
            self._feed_any(data)
        self._advance()

    def pause_writing(self) -> None:
        self.is_full = True
        self.deadline = self._service.now() + self._service.timeouts.write
        if self._reply is not None:
            self._reply.pause()

    def resume_writing(self) -> None:
        self.is_full = False
        if self._driver is None:
            self.deadline = self._rest_deadline()
        elif self._current is None or self._current.is_complete:
            self.deadline = NEVER  # else it is the body's, and stays
        if self._reply is not None:
            self._reply.resume()
        self._advance()  # requests that came meanwhile

    # -- parsing: callbacks of llhttp -------------------------------------------------------------

    def _feed_any(self, data: bytes) -> None:
        """Let llhttp read, and remember the head if it may come again."""
        is_at_start = self._incoming is None and not self._head_bytes
        waiting = len(self._queue)
        room = self._service.bounds.head - self._head_bytes
        if len(data) <= room or self._is_headed:
            self._feed(data)
        else:  # more bytes than a head may have: the head must end within `room`, a body may follow
            self._is_measuring = True  # pipelined heads further on are measured when they are whole
            self._feed(data[:room])
            if self._head_bytes and not self._is_headed:
                limit = self._service.bounds.head
                self._doom(Refusal(Reason.HEAD_TOO_LARGE, f"the head is larger than {limit} bytes"))
            if not self._is_doomed:
                self._feed(data[room:])
        if is_at_start and len(self._queue) > waiting:
            self._remember(data, self._queue[waiting])

    def _feed(self, data: bytes) -> None:
        self._head_bytes += len(data)
        incoming = self._incoming if self._is_headed else None
        received = 0 if incoming is None else incoming.received
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._doom(Refusal(Reason.UPGRADE_REFUSED, "this gateway does not switch protocols"))
        except httptools.HttpParserError as error:
            self._doom(_translate(error))
        if incoming is None:
            if self._incoming is not None and not self._is_headed and not self._head_bytes:
                self._is_measuring = True  # this head began behind the end of another request
        elif not incoming.is_complete and incoming.fault is None:
            self._slack += len(data) - (incoming.received - received)
            if self._slack > self._service.bounds.head + MAX_SLACK_PER_BYTE * incoming.received:
                self._doom(Refusal(Reason.FRAMING_REFUSED, "the chunks have more framing than body"))

    def _remember(self, data: bytes, first: Incoming) -> None:
        """Keep the head at the start of `data`: a kept connection mostly sends the same one again."""
        head = first.head
        self._prefix = None
        if first.fault is not None or head is NO_HEAD or head.wants_continue or head.is_closing:
            return
        end = data.find(b"\r\n\r\n") + 4
        raw = data[:end]
        fields = raw.lower()
        # empty lines before a request: `end` may be theirs (RFC 9112, section 2.2)
        if end < 4 or raw[:1] in b"\r\n" or b"\ntransfer-encoding:" in fields:  # noqa: PLR2004 - 3: not found
            return
        if b"\ncontent-length:" in fields:
            parts = _LENGTH.split(raw)
            if len(parts) != 2:  # noqa: PLR2004 - exactly one
                return
            self._prefix, self._suffix = parts
        else:
            self._prefix, self._suffix = raw, b""
        self._head = head

    def _feed_known(self, data: bytes, prefix: bytes) -> bytes:
        """Read requests whose head is, byte for byte, the last one that passed; return what is left.

        Equal bytes at the start of a message mean equal things, so nothing is decided anew; only the
        digits of Content-Length may differ, and they are read here: one to ten digits, no leading
        zero. Clients that keep a connection send their fields again and again, and reading them is
        the largest part of the wire's cost. Pinned by tests/unit/wire/test_downstream.py, which feeds
        every known head through both ways and compares.
        """
        head, suffix = self._head, self._suffix
        while data.startswith(prefix) and len(self._queue) < MAX_PIPELINED:
            start = len(prefix)
            length = 0
            if suffix:
                end = data.find(b"\r", start, start + MAX_LENGTH_DIGITS + 1)
                digits = data[start:end] if end > 0 else b""
                if not digits.isdigit() or digits[:1] == b"0" or not data.startswith(suffix, end):
                    return data
                length = int(digits)
                start = end + len(suffix)
            incoming = Incoming(self, head, self._service.now(), length)
            self._queue.append(incoming)
            if length:
                end = start + length
                incoming.feed(data[start:end])
                if len(data) < end:
                    self._left = end - len(data)
                    self._incoming = incoming
                    self._is_headed = True
                    return b""
                start = end
            incoming.is_complete = True
            if len(data) == start:
                return b""
            data = data[start:]
        return data

    def _feed_body(self, data: bytes) -> bytes:
        """Read on in the body of a request whose head was known; return what follows it."""
        incoming = self._incoming
        if incoming is None:
            return b""
        left = self._left
        piece = data if len(data) <= left else data[:left]
        self._left = left - len(piece)
        incoming.feed(piece)
        if self._left:
            return b""
        self._incoming = None
        self._is_headed = False
        incoming.end()
        return data[left:]

    def on_message_begin(self) -> None:
        self._incoming = Incoming(self, NO_HEAD, self._service.now())
        self._target = b""
        self._headers = {}
        self._fault = None
        self._is_headed = False
        self._trailers = self._slack = 0

    def on_url(self, target: bytes) -> None:
        self._target += target

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._fault is not None:
            return
        if self._is_headed:  # a trailer: never a header, whatever its name
            self._trailers += 1
            if self._trailers > MAX_TRAILERS and self._incoming is not None:
                self._incoming.fail(Refusal(Reason.HEADER_REFUSED, f"more than {MAX_TRAILERS} trailers"))
            return
        lower = KNOWN_NAMES.get(name)
        if lower is None:
            lower = name.lower()
            if not framing.check_name(lower):
                self._fault = Refusal(Reason.HEADER_REFUSED, "field names are letters, digits and dashes")
                return
        if not value.isascii():
            self._fault = Refusal(Reason.HEADER_REFUSED, "field values are ASCII")
            return
        headers = self._headers
        value = value.rstrip()
        if lower in headers:
            if lower in framing.SINGLETONS:
                self._fault = Refusal(Reason.HEADER_REFUSED, f"{lower.decode()} stands more than once")
                return
            value = headers[lower] + (b"; " if lower == b"cookie" else b", ") + value
        elif len(headers) >= self._service.bounds.headers:
            limit = self._service.bounds.headers
            self._fault = Refusal(Reason.HEAD_TOO_LARGE, f"more than {limit} header fields")
            return
        headers[lower] = value

    def on_headers_complete(self) -> None:
        incoming = self._incoming
        if incoming is None:
            return
        self._is_headed = True
        head = self._fault or self._check_head()
        if isinstance(head, Head):
            incoming.head = head
            incoming.length = head.length
        else:
            incoming.fault = head
        if len(self._queue) >= MAX_PIPELINED:
            incoming.fault = Refusal(Reason.OVERLOADED, f"more than {MAX_PIPELINED} requests are pipelined")
        self._queue.append(incoming)

    def on_body(self, data: bytes) -> None:
        if self._incoming is not None:
            self._incoming.feed(data)

    def on_message_complete(self) -> None:
        incoming = self._incoming
        self._incoming = None
        self._is_headed = False
        self._head_bytes = 0
        if incoming is not None:
            incoming.end()

    def _check_head(self) -> Head | Refusal:
        service = self._service
        headers = self._headers
        if self._parser.should_upgrade():  # CONNECT too; what follows is not HTTP
            return Refusal(Reason.UPGRADE_REFUSED, "this gateway does not switch protocols")
        method = self._parser.get_method().decode()
        version = self._parser.get_http_version()
        if version not in {"1.1", "1.0"}:
            return Refusal(Reason.VERSION_UNSUPPORTED, "this gateway speaks HTTP/1.1")
        if self._is_measuring:
            size = len(self._target) + sum(map(len, headers)) + sum(map(len, headers.values()))
            if size > service.bounds.head:
                return Refusal(Reason.HEAD_TOO_LARGE, f"the head is larger than {service.bounds.head} bytes")
        target = service.targets.get(self._target)
        if target is None:
            parsed = framing.parse_target(self._target)
            if isinstance(parsed, Refusal):
                return parsed
            target = service.remember_target(self._target, parsed)
        refusal = framing.check_host(headers, version, service.hosts) or framing.check_coding(
            headers, version
        )
        if refusal is not None:
            return refusal
        expect = headers.pop(b"expect", None)
        if expect is not None and expect.lower() != b"100-continue":
            return Refusal(Reason.EXPECTATION_REFUSED, "the only expectation taken is 100-continue")
        is_closing, refusal = framing.strip_hop_by_hop(headers)
        if refusal is not None:
            return refusal
        # the message's framing ends here; heads that are known share their fields, not their lengths
        headers.pop(b"transfer-encoding", None)
        length = int(headers.pop(b"content-length", b"0"))  # llhttp took it: digits only, no overflow
        return Head(
            method,
            *target,
            version,
            headers,
            length,
            is_closing=is_closing or version == "1.0",
            wants_continue=expect is not None and version == "1.1",
        )

    # -- serving ------------------------------------------------------------------------------------

    def _advance(self) -> None:
        """Serve the next request if none is being served, and read on only if somebody wants it."""
        while self._driver is None and self._queue and self._transport is not None and not self._is_lingering:
            if self.is_full:
                break  # answers that nobody reads would pile up
            self._serve(self._queue.popleft())
        if self._driver is None and self._incoming is not None and not self._is_doomed:
            self.deadline = self._incoming.began + self._service.timeouts.head
        if not self._is_lingering:
            self._regulate()

    def _regulate(self) -> None:
        """Stop reading while bytes would only pile up.

        These are: a body nobody asked for, requests in the queue, requests of a client that does not
        read its answers.
        """
        current = self._current
        if current is None:
            is_needed = not self._queue and not self.is_full
        else:
            is_needed = not self._queue and (current.is_complete or current.is_wanted)
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
        if incoming.fault is not None:
            self._is_doomed = reply.is_closing = True
            service.handler.reject(service.new_id(), peer, incoming.fault, reply)
            self._finish(None)
            return
        head = incoming.head
        call = Call(service.new_id(), head.method, head.path, head.query, head.headers, peer, incoming)
        self._driver = driver = Driver(service.handler.handle(call, reply), self._finish)
        service.active += 1
        driver.resume()

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
        if reply.is_closing or self._service.is_draining or (self._is_doomed and not self._queue):
            self._linger(transport)
            return
        self.deadline = self._rest_deadline()
        if self._queue:
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
        elif self._incoming is not None:  # the beginning of a head came while another request was served
            seconds = timeouts.head
        else:
            seconds = timeouts.keep_alive
        return self._service.now() + seconds

    def _linger(self, transport: asyncio.Transport) -> None:
        """Close so that the client can still read our last bytes: RFC 9112, section 9.6."""
        self._is_doomed = self._is_lingering = True
        while self._queue:  # never to be served: their bodies are forgotten
            self._queue.popleft().drop()
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

    def _doom(self, refusal: Refusal) -> None:
        """The bytes are no request. What came whole before them is still answered, in order."""
        self._is_doomed = True
        incoming, self._incoming = self._incoming, None
        if incoming is not None and self._is_headed:
            incoming.fail(refusal)
            return
        broken = incoming or Incoming(self, NO_HEAD, self._service.now())
        broken.fault = refusal
        self._queue.append(broken)

    # -- for Incoming, Reply and the service ----------------------------------------------------------

    def want_body(self, incoming: Incoming, deadline: float) -> None:
        """The line waits for the rest of the body."""
        if incoming.head.wants_continue and incoming.received == 0:
            self.write(CONTINUE)
        self.deadline = deadline
        self._regulate()

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
        if self._transport is not None and self._driver is None and not self._queue:
            self._transport.close()

    def reset(self) -> None:
        """Close so that the client sees a reset and no end."""
        if self._transport is not None:
            stream = self._transport.get_extra_info("socket")
            if stream is not None:
                stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
            self._transport.abort()

    def abort(self) -> None:
        """Close now, whatever is going on."""
        if self._transport is not None:
            self._transport.abort()

    def expire(self, now: float) -> None:
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
                self._is_doomed = True
                self._current.fail(Refusal(Reason.BODY_TIMEOUT, "the body did not arrive in time"))
        elif self._incoming is not None or self._head_bytes:
            self._doom(Refusal(Reason.HEAD_TIMEOUT, "the head did not arrive in time"))
            self._advance()
        else:
            transport.close()  # idle, or never said a word

    def _reply_too_slow(self, transport: asyncio.Transport) -> None:
        if self._reply is not None:
            self._reply.lose(Refusal(Reason.CLIENT_TOO_SLOW))
        transport.abort()


def _translate(error: httptools.HttpParserError) -> Refusal:
    """Sort llhttp's complaints; its text goes to the record alone."""
    text = str(error)
    if isinstance(error, httptools.HttpParserInvalidMethodError):
        return Refusal(Reason.METHOD_REFUSED, "the method is not known", note=text)
    if isinstance(error, httptools.HttpParserInvalidURLError):
        return Refusal(Reason.TARGET_REFUSED, "the target has characters that are not taken", note=text)
    if "Length" in text or "Encoding" in text or "chunk" in text:
        return Refusal(Reason.FRAMING_REFUSED, "the message length is not certain", note=text)
    if "HTTP version" in text:
        return Refusal(Reason.VERSION_UNSUPPORTED, "this gateway speaks HTTP/1.1", note=text)
    return Refusal(Reason.REQUEST_MALFORMED, "the bytes are not an HTTP/1.1 request", note=text)

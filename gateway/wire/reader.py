"""From bytes to requests: one client connection's parser, and the rules that llhttp leaves open.

Puts every request into `queue` as soon as its head is whole, in order, together with the one whose
bytes turned out to be none; reads nothing behind that. Serves nothing and writes nothing.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, final

import httptools

from gateway.core.refusal import Reason, Refusal
from gateway.wire import framing
from gateway.wire.incoming import NO_HEAD, Head, Incoming

if TYPE_CHECKING:
    from gateway.wire.downstream import Downstream
    from gateway.wire.service import Service

MAX_PIPELINED = 32  # requests waiting behind the one that is served
MAX_TRAILERS = 32
MAX_SLACK_PER_BYTE = 8  # chunks of one byte need 5; extensions and trailers have no other bound in llhttp
# Field names seen often, lower-cased once. A fixed table: a cache could be filled by anybody.
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
class Reader:
    """Reads the requests of one connection.

    Args:
        connection: Whose bytes they are; requests hold on to it.
        service: For bounds, hosts and remembered targets.
    """

    __slots__ = (
        "_connection",
        "_fault",
        "_head",
        "_headers",
        "_is_headed",
        "_is_measuring",
        "_left",
        "_parser",
        "_prefix",
        "_service",
        "_slack",
        "_suffix",
        "_target",
        "_trailers",
        "head_bytes",
        "incoming",
        "is_doomed",
        "queue",
    )

    def __init__(self, connection: Downstream, service: Service) -> None:
        self._connection = connection
        self._service = service
        self._parser = httptools.HttpRequestParser(self)
        self.queue: deque[Incoming] = deque()  # whole or arriving, not yet served
        self.incoming: Incoming | None = None  # the one that is being read
        self.is_doomed = False  # nothing more is read
        # llhttp's message: what is known of it while its head is not whole
        self._target = b""
        self._headers: dict[bytes, bytes] = {}
        self._fault: Refusal | None = None
        self._is_headed = False
        self.head_bytes = 0
        self._trailers = 0
        self._slack = 0  # bytes of chunk framing and trailers
        self._is_measuring = False  # heads may be longer than the bound: what arrived at once was
        # the last head that passed: see `_feed_known`
        self._prefix: bytes | None = None
        self._suffix = b""
        self._head = NO_HEAD
        self._left = 0  # bytes of body still to come for a request whose head was known

    def feed(self, data: bytes) -> None:
        """Read what has arrived."""
        if self.is_doomed:
            return
        if self._left:
            data = self._feed_body(data)
        if data and self._prefix is not None and self.incoming is None and not self.head_bytes:
            data = self._feed_known(data, self._prefix)
        if data:
            self._feed_any(data)

    def doom(self, refusal: Refusal) -> None:
        """The bytes are no request. What came whole before them is still answered, in order."""
        self.is_doomed = True
        incoming, self.incoming = self.incoming, None
        if incoming is not None and self._is_headed:
            incoming.fail(refusal)
            return
        broken = incoming or Incoming(self._connection, NO_HEAD, self._service.now())
        broken.fault = refusal
        self.queue.append(broken)

    def _feed_any(self, data: bytes) -> None:
        """Let llhttp read, and remember the head if it may come again."""
        is_at_start = self.incoming is None and not self.head_bytes
        waiting = len(self.queue)
        room = self._service.bounds.head - self.head_bytes
        if len(data) <= room or self._is_headed:
            self._feed(data)
        else:  # more bytes than a head may have: the head must end within `room`, a body may follow
            self._is_measuring = True  # pipelined heads further on are measured when they are whole
            self._feed(data[:room])
            if self.head_bytes and not self._is_headed:
                limit = self._service.bounds.head
                self.doom(Refusal(Reason.HEAD_TOO_LARGE, f"the head is larger than {limit} bytes"))
            if not self.is_doomed:
                self._feed(data[room:])
        if is_at_start and len(self.queue) > waiting:
            self._remember(data, self.queue[waiting])

    def _feed(self, data: bytes) -> None:
        self.head_bytes += len(data)
        incoming = self.incoming if self._is_headed else None
        received = 0 if incoming is None else incoming.received
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.doom(Refusal(Reason.UPGRADE_REFUSED, "this gateway does not switch protocols"))
        except httptools.HttpParserError as error:
            self.doom(_translate(error))
        if incoming is None:
            if self.incoming is not None and not self._is_headed and not self.head_bytes:
                self._is_measuring = True  # this head began behind the end of another request
        elif not incoming.is_complete and incoming.fault is None:
            self._slack += len(data) - (incoming.received - received)
            if self._slack > self._service.bounds.head + MAX_SLACK_PER_BYTE * incoming.received:
                self.doom(Refusal(Reason.FRAMING_REFUSED, "the chunks have more framing than body"))

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
        parts = framing.split_at_length(raw, fields)
        if parts is not None:
            self._prefix, self._suffix = parts
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
        while data.startswith(prefix) and len(self.queue) < MAX_PIPELINED:
            start = len(prefix)
            length = 0
            if suffix:
                length, end = framing.leading_number(data, start)
                after = end + len(suffix)
                if not length or data[end:after] != suffix:
                    return data
                start = after
            incoming = Incoming(self._connection, head, self._service.now(), length)
            self.queue.append(incoming)
            if length:
                end = start + length
                incoming.feed(data[start:end])
                if len(data) < end:
                    self._left = end - len(data)
                    self.incoming = incoming
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
        incoming = self.incoming
        if incoming is None:
            return b""
        left = self._left
        piece = data if len(data) <= left else data[:left]
        self._left = left - len(piece)
        incoming.feed(piece)
        if self._left:
            return b""
        self.incoming = None
        self._is_headed = False
        incoming.end()
        return data[left:]

    def on_message_begin(self) -> None:
        """llhttp: a message begins."""
        self.incoming = Incoming(self._connection, NO_HEAD, self._service.now())
        self._target = b""
        self._headers = {}
        self._fault = None
        self._is_headed = False
        self._trailers = self._slack = 0

    def on_url(self, target: bytes) -> None:
        """llhttp: a piece of the target."""
        self._target += target

    def on_header(self, name: bytes, value: bytes) -> None:
        """llhttp: a field, or a trailer."""
        if self._fault is not None:
            return
        if self._is_headed:  # a trailer: never a header, whatever its name
            self._trailers += 1
            if self._trailers > MAX_TRAILERS and self.incoming is not None:
                self.incoming.fail(Refusal(Reason.HEADER_REFUSED, f"more than {MAX_TRAILERS} trailers"))
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
        """llhttp: the head is whole."""
        incoming = self.incoming
        if incoming is None:
            return
        self._is_headed = True
        head = self._fault or self._check_head()
        if isinstance(head, Head):
            incoming.head = head
            incoming.length = head.length
        else:
            incoming.fault = head
        if len(self.queue) >= MAX_PIPELINED:
            incoming.fault = Refusal(Reason.OVERLOADED, f"more than {MAX_PIPELINED} requests are pipelined")
        self.queue.append(incoming)

    def on_body(self, data: bytes) -> None:
        """llhttp: a piece of the body."""
        if self.incoming is not None:
            self.incoming.feed(data)

    def on_message_complete(self) -> None:
        """llhttp: the message has ended."""
        incoming = self.incoming
        self.incoming = None
        self._is_headed = False
        self.head_bytes = 0
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

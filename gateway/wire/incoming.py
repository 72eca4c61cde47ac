"""One request as it arrives: its head as fields, its body as bytes under a bound.

Implements `core.ports.Body`. Fed by the downstream connection's parser callbacks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from gateway.core.memo import RequestMemo
from gateway.core.refusal import Reason, Refusal, Refused, refuse
from gateway.wire.driver import Gate

if TYPE_CHECKING:
    from gateway.wire.downstream import Downstream

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


@final
class Head:
    """What a request head says, once every rule of framing has passed. Shared, so never changed.

    Args:
        method: Upper-case method.
        path: Canonical path.
        query: Query without the question mark.
        version: "1.1" or "1.0".
        headers: Lower-case names to values, hop-by-hop fields gone.
        length: Declared length of the body; 0 if there is none or it is chunked.
        is_closing: True if the client wants the connection closed, or HTTP/1.0 does.
        wants_continue: True if the client waits for `100 Continue`.
    """

    __slots__ = (
        "headers",
        "is_closing",
        "length",
        "memo",
        "method",
        "path",
        "query",
        "version",
        "wants_continue",
    )

    def __init__(
        self,
        method: str,
        path: str,
        query: str,
        version: str,
        headers: dict[bytes, bytes],
        length: int,
        *,
        is_closing: bool,
        wants_continue: bool,
    ) -> None:
        self.method = method
        self.path = path
        self.query = query
        self.version = version
        self.headers = headers
        self.length = length
        self.is_closing = is_closing
        self.wants_continue = wants_continue
        self.memo = RequestMemo()


NO_HEAD: Final = Head("", "", "", "1.1", {}, 0, is_closing=True, wants_continue=False)


@final
class Incoming:
    """A request between its first byte and its last.

    Args:
        connection: Where it arrives.
        head: Its head; `NO_HEAD` while that is not known, or not a head.
        began: Loop time of its first byte.
    """

    __slots__ = (
        "_gate",
        "_held",
        "_limit",
        "_pieces",
        "began",
        "connection",
        "fault",
        "head",
        "is_complete",
        "length",
        "received",
    )

    def __init__(self, connection: Downstream, head: Head, began: float, length: int = 0) -> None:
        self.connection = connection
        self.head = head
        self.began = began
        self.length = length  # declared; 0 if chunked or absent
        self.received = 0
        self.is_complete = False
        self.fault: Refusal | None = None
        self._limit = -1  # nobody has asked for the body yet
        self._pieces: list[bytes] = []
        self._held = 0  # bytes in them
        self._gate: Gate | None = None

    @property
    def is_wanted(self) -> bool:
        """True once the line has asked for the body."""
        return self._limit >= 0

    def feed(self, data: bytes) -> None:
        """Take the next piece of the body."""
        if self.fault is not None:
            return
        size = len(data)
        self.received += size
        if 0 <= self._limit < self.received:
            self.fail(Refusal(Reason.BODY_TOO_LARGE, f"the body is larger than {self._limit} bytes"))
        elif not self.connection.hold_memory(size):
            self.fail(Refusal(Reason.OVERLOADED, "too many request bodies are in memory", retry_after=1))
        else:
            self._held += size
            self._pieces.append(data)

    def end(self) -> None:
        """The last piece has arrived."""
        self.is_complete = True
        if self._gate is not None:
            self._gate.open()

    def fail(self, refusal: Refusal) -> None:
        """The body can not be taken; whoever reads it is told."""
        self.fault = refusal
        self.drop()
        if self._gate is not None:
            self._gate.open()

    def drop(self) -> None:
        """Forget the body's bytes."""
        if self._held:
            self.connection.release_memory(self._held)
            self._held = 0
            self._pieces = []

    async def read(self, limit: int, seconds: float, /) -> bytes:
        """Read the whole body, under bounds. See `core.ports.Body`."""
        if self.length > limit or self.received > limit:
            raise refuse(Reason.BODY_TOO_LARGE, f"the body is larger than {limit} bytes")
        self._limit = limit
        if not self.is_complete and self.fault is None:
            self._gate = Gate()
            self.connection.want_body(self, self.began + seconds)
            await self._gate
        if self.fault is not None:
            raise Refused(self.fault)
        pieces = self._pieces
        if not pieces:
            return b""
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

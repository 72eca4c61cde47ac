"""A backend's answer: its head, and the pieces of its body until somebody takes them.

Implements `core.ports.Answer` for one exchange. The connection below it may serve another exchange
later; an answer that was closed has no way to touch it any more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from gateway.core.memo import AnswerMemo
from gateway.core.refusal import Refused
from gateway.wire.driver import Gate

if TYPE_CHECKING:
    from gateway.core.ports import Sink
    from gateway.core.refusal import Refusal
    from gateway.core.route import Bounds
    from gateway.wire.turnstile import Turnstile
    from gateway.wire.upstream import Upstream


@final
class Answer:
    """One answer, from the request sent to its last byte."""

    __slots__ = (
        "_connection",
        "_fault",
        "_pieces",
        "_sink",
        "_turnstile",
        "endpoint",
        "head",
        "headers",
        "is_complete",
        "length",
        "memo",
        "status",
    )

    def __init__(self, connection: Upstream, endpoint: str) -> None:
        self._connection: Upstream | None = connection
        self._fault: Refusal | None = None
        self._pieces: list[bytes] = []
        self._sink: Sink | None = None
        self._turnstile: Turnstile | None = None
        self.endpoint = endpoint
        self.head = Gate()  # opens when the head is there
        self.headers: list[tuple[bytes, bytes]] = []
        self.is_complete = False
        self.memo = AnswerMemo()
        self.length: int | None = None  # declared; None: chunked, or until the connection closes
        self.status = 0

    def occupy(self, turnstile: Turnstile) -> None:
        """Leave a turnstile as soon as the backend has done its part, or nobody waits for it any more."""
        if self.is_complete or self._fault is not None:
            turnstile.leave()
        else:
            self._turnstile = turnstile

    def _leave(self) -> None:
        turnstile, self._turnstile = self._turnstile, None
        if turnstile is not None:
            turnstile.leave()

    def attach(self, sink: Sink, bounds: Bounds) -> tuple[list[bytes], bool]:
        """Send what comes from now on to `sink`.

        Returns:
            The pieces that came before, and whether they are all.

        Raises:
            Refused: The answer broke off before anything was passed on.
        """
        if self._fault is not None:
            raise Refused(self._fault)
        pieces, self._pieces = self._pieces, []
        if not self.is_complete:
            self._sink = sink
            if self._connection is not None:
                self._connection.stream(bounds)
        return pieces, self.is_complete

    def feed(self, data: bytes) -> None:
        """Take a piece of the body from the connection."""
        if self._sink is not None:
            self._sink.take(data)
        else:
            self._pieces.append(data)

    def end(self, data: bytes) -> None:
        """Take the last piece (or b"")."""
        self.is_complete = True
        self._connection = None
        if self._sink is not None:
            sink, self._sink = self._sink, None
            sink.finish(data)
        elif data:
            self._pieces.append(data)
        self._leave()

    def fail(self, refusal: Refusal) -> None:
        """The connection broke, or the backend broke the protocol."""
        self._connection = None
        self._fault = refusal
        self.head.open(Refused(refusal))  # nothing happens if somebody was given the head
        if self._sink is not None:
            sink, self._sink = self._sink, None
            sink.lose(refusal)
        self._leave()

    def pause(self) -> None:
        """Do not read from the backend for now."""
        if self._connection is not None:
            self._connection.pause()

    def resume(self) -> None:
        """Read from the backend again."""
        if self._connection is not None:
            self._connection.resume()

    def close(self) -> None:
        """Abort the connection if the answer is not complete. See `core.ports.Answer`."""
        self._sink = None
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abort()
        self._leave()

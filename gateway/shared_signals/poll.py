"""Delivery by poll (RFC 8936): the gateway asks, and acknowledges what is durable with its next question.

Also asks the transmitter to prove now and then that the stream lives (SSF 1.0, section 8.1.4): a stream that
is silent looks exactly like a world in which nothing is revoked.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Final, Protocol, final

from gateway.core.ports import StoreUnavailable
from gateway.credentials.documents import DocumentError, parse_object
from gateway.credentials.fetch import FetchError
from gateway.credentials.periodic import Periodic
from gateway.shared_signals.receiver import Rejected

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gateway.core.ports import Clock
    from gateway.credentials.fetch import Fetched
    from gateway.shared_signals.receiver import Receiver

MAX_EVENTS: Final = 64  # per answer
MAX_ANSWER_BYTES: Final = 1024 * 1024
MAX_ROUNDS: Final = 32  # answers in a row that say there is more
ACCEPTED: Final = frozenset({200, 202, 204})


class Asking(Protocol):
    """Posts JSON to the transmitter; see `gateway.credentials.fetch.Fetcher.post`."""

    async def __call__(self, url: str, document: object, /) -> Fetched:
        """Return the answer.

        Raises:
            FetchError: There is none.
        """


@final
class Poller:
    """Polls one transmitter.

    Args:
        endpoint: Its poll endpoint.
        ask: Posts to it, with the authorization that it wants.
        receiver: Takes the tokens.
        interval: Seconds between two polls while there is nothing.
        report: Told what went wrong, in one word, for the log.
    """

    __slots__ = ("_acknowledged", "_ask", "_endpoint", "_errors", "_loop", "_receiver", "_report")

    def __init__(
        self,
        endpoint: str,
        ask: Asking,
        receiver: Receiver,
        interval: float,
        report: Callable[[str], None],
    ) -> None:
        self._endpoint = endpoint
        self._ask = ask
        self._receiver = receiver
        self._report = report
        self._acknowledged: list[str] = []
        self._errors: dict[str, dict[str, str]] = {}
        self._loop = Periodic("signals", interval, self.poll)

    def start(self) -> None:
        """Begin to poll."""
        self._loop.start()

    async def stop(self) -> None:
        """End."""
        await self._loop.stop()

    async def poll(self) -> None:
        """Ask until there is no more. A failure is reported; what was not acknowledged comes again."""
        for _ in range(MAX_ROUNDS):
            try:
                answer = await self._ask(self._endpoint, self._question())
                document = parse_object(answer.body, MAX_ANSWER_BYTES)
            except FetchError as failure:
                self._report(failure.word)
                return
            except DocumentError:
                self._report("malformed")
                return
            self._acknowledged, self._errors = [], {}
            sets = document.get("sets")
            if not isinstance(sets, dict):
                self._report("malformed")
                return
            if not await self._take(sets):
                return
            if document.get("moreAvailable") is not True and not self._acknowledged and not self._errors:
                return

    def _question(self) -> Mapping[str, object]:
        question: dict[str, object] = {"maxEvents": MAX_EVENTS, "returnImmediately": True}
        if self._acknowledged:
            question["ack"] = self._acknowledged
        if self._errors:
            question["setErrs"] = self._errors
        return question

    async def _take(self, sets: Mapping[str, object]) -> bool:
        """Take the tokens of one answer; False if they could not be made durable."""
        for name, token in list(sets.items())[:MAX_EVENTS]:
            if not isinstance(token, str):
                self._errors[name] = {"err": "invalid_request"}
                continue
            try:
                taken = await self._receiver.take(token.encode())
            except Rejected as rejected:
                self._report(rejected.code)
                self._errors[name] = {"err": rejected.code}
            except StoreUnavailable:
                self._report("store-unavailable")
                return False
            else:
                # acknowledged under the name that the answer gives it: another one is the transmitter's fault
                self._acknowledged.append(name)
                if taken != name:
                    self._report("name-mismatch")
        return True


@final
class Heartbeat:
    """Asks for verification events, and notices silence.

    Args:
        endpoint: The transmitter's verification endpoint.
        stream: Id of the stream.
        ask: Posts to it.
        receiver: Knows when the transmitter was heard last.
        clock: Time.
        interval: Seconds between two questions; three of them without a word are silence.
        report: Told "silent" once, and "back" once.
    """

    __slots__ = (
        "_ask",
        "_clock",
        "_endpoint",
        "_interval",
        "_loop",
        "_receiver",
        "_report",
        "_stream",
        "is_silent",
    )

    def __init__(
        self,
        endpoint: str,
        stream: str,
        ask: Asking,
        receiver: Receiver,
        clock: Clock,
        interval: float,
        report: Callable[[str], None],
    ) -> None:
        self._endpoint = endpoint
        self._stream = stream
        self._ask = ask
        self._receiver = receiver
        self._clock = clock
        self._interval = interval
        self._report = report
        self.is_silent = False
        self._loop = Periodic("signals heartbeat", interval, self.beat)

    def start(self) -> None:
        """Begin."""
        self._loop.start()

    async def stop(self) -> None:
        """End."""
        await self._loop.stop()

    async def beat(self) -> None:
        """Look whether the transmitter was heard, and ask it to say something."""
        is_silent = self._clock.tick() - self._receiver.heard_at > 3 * self._interval
        if is_silent != self.is_silent:
            self.is_silent = is_silent
            self._report("silent" if is_silent else "back")
        try:
            question = {"stream_id": self._stream, "state": secrets.token_urlsafe(16)}
            await self._ask(self._endpoint, question)
        except FetchError as failure:
            self._report(failure.word)

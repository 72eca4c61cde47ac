"""What the line needs from the outside, as doubles: they keep what they are told and fail where told to.

A double fails by its `fails` attribute: the exception is raised where the real part could raise it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.core.limits import Ledger
from gateway.core.memo import AnswerMemo
from gateway.core.ports import Credential
from gateway.core.signals import History

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gateway.core.budgets import Denial, Hold
    from gateway.core.call import Call
    from gateway.core.exchange import Exchange, Usage
    from gateway.core.limits import RouteLimits
    from gateway.core.outbound import Outbound
    from gateway.core.permit import Permit, Reservation, Vetted
    from gateway.core.ports import Answer, Meter, Sink
    from gateway.core.prompt import Prompt
    from gateway.core.route import Bounds

WALL = 1_800_000_000.25  # Friday, 15 January 2027, 08:00:00 UTC


class ManualClock:
    """A clock that only tests move; each look at `tick` takes a microsecond, so that stamps have an order."""

    def __init__(self, wall: float = WALL) -> None:
        self.now = wall
        self.ticks = 1000.0

    def wall(self) -> float:
        """Return the date."""
        return self.now

    def tick(self) -> float:
        """Return the duration's clock."""
        self.ticks += 1e-6
        return self.ticks


class Failing:
    """Raises what it was given, once it is asked to.

    Args:
        events: Where every call of every double is noted, in order.
    """

    name = ""

    def __init__(self, events: list[str] | None = None) -> None:
        self.events: list[str] = [] if events is None else events
        self.fails: BaseException | None = None
        self.then: Callable[[], None] | None = None

    def happen(self, event: str) -> None:
        """Note a call; do what the test wants done then; fail if it should."""
        self.events.append(event)
        if self.then is not None:
            self.then()
        if self.fails is not None:
            raise self.fails


class FakeBody(Failing):
    """A body that is all there.

    Args:
        data: The bytes.
    """

    def __init__(self, data: bytes = b"{}", events: list[str] | None = None) -> None:
        super().__init__(events)
        self.data = data
        self.asked: tuple[int, float] | None = None

    async def read(self, limit: int, seconds: float, /) -> bytes:
        """Return it."""
        self.asked = limit, seconds
        self.happen("body.read")
        return self.data


class FakeAnswer:
    """The head of an answer, and its body in pieces."""

    def __init__(
        self,
        headers: Sequence[tuple[bytes, bytes]] = ((b"content-type", b"application/json"),),
        pieces: Sequence[bytes] = (b"{}",),
        status: int = 200,
    ) -> None:
        self.status = status
        self.headers = headers
        self.memo = AnswerMemo()
        self.endpoint = "10.0.0.1:8000"
        self.length: int | None = None
        self.pieces = pieces
        self.closed = 0

    def attach(self, sink: Sink, bounds: Bounds, /) -> tuple[Sequence[bytes], bool]:
        """Give everything."""
        return self.pieces, True

    def pause(self) -> None:
        """Nothing comes by itself."""

    def resume(self) -> None:
        """Nothing comes by itself."""

    def close(self) -> None:
        """Count."""
        self.closed += 1


class FakeReply(Failing):
    """The way back, which ends here.

    `fails` is raised before the first byte, `fails_later` after all pieces.
    """

    def __init__(self, events: list[str] | None = None) -> None:
        super().__init__(events)
        self.is_started = False
        self.status = 0
        self.bytes_out = 0
        self.headers = b""
        self.body = b""
        self.is_closing = False
        self.aborted: bytes | None = None
        self.fails_later: BaseException | None = None

    def send(self, status: int, headers: bytes, body: bytes, /, *, close: bool = False) -> None:
        """Keep an answer of ours."""
        assert not self.is_started, "an answer is sent once"
        self.events.append("reply.send")
        self.is_started = True
        self.status, self.headers, self.body, self.is_closing = status, headers, body, close
        self.bytes_out = len(body)

    async def relay(self, answer: Answer, headers: bytes, meter: Meter, bounds: Bounds, /) -> None:
        """Keep the answer of a backend."""
        self.happen("reply.relay")
        assert not self.is_started, "an answer is sent once"
        self.is_started = True
        self.status, self.headers = answer.status, headers
        pieces, _ = answer.attach(self, bounds)
        for piece in pieces:
            self.take(piece)
            meter.feed(piece)
        if self.fails_later is not None:
            raise self.fails_later
        meter.finish()

    def take(self, data: bytes, /) -> None:
        """Keep a piece."""
        self.body += data
        self.bytes_out += len(data)

    def finish(self, data: bytes, /) -> None:
        """Keep the last piece."""
        self.take(data)

    def lose(self, refusal: object, /) -> None:
        """No test loses an answer this way."""
        raise AssertionError(refusal)

    def cut(self, refusal: object, /) -> None:
        """No test cuts an answer this way."""
        raise AssertionError(refusal)

    def abort(self, last: bytes, /) -> None:
        """Keep the last words."""
        assert self.is_started
        assert self.aborted is None
        self.events.append("reply.abort")
        self.aborted = last


class FakeStore(Failing):
    """Limits that grant everything, unless told otherwise; counts what is held."""

    def __init__(self, events: list[str] | None = None) -> None:
        super().__init__(events)
        self.ledger = Ledger(lease="lease")
        self.asked: list[str] = []
        self.ahead: list[Callable[[], Sequence[Hold]] | None] = []
        self.held: list[object] = []
        self.settled: list[Ledger] = []

    async def admit(
        self, key: str, limits: RouteLimits, ahead: Callable[[], Sequence[Hold]] | None = None, /
    ) -> Ledger:
        """Grant."""
        self.asked.append(key)
        self.ahead.append(ahead)
        self.happen("store.admit")
        if self.ledger.refused is None:
            self.held.append(self.ledger)
        return self.ledger

    def settle(self, ledger: Ledger, /) -> None:
        """Take back."""
        self.events.append("store.settle")
        self.settled.append(ledger)
        if ledger in self.held:
            self.held.remove(ledger)


class FakeBudgets(Failing):
    """Budgets that have room, unless told otherwise; counts what is held."""

    def __init__(self, events: list[str] | None = None) -> None:
        super().__init__(events)
        self.denial: Denial | None = None
        self.held: list[Hold] = []
        self.settled: list[tuple[str, int]] = []
        self.extended: list[tuple[str, int]] = []
        self.has_more = True

    async def reserve(self, holds: Sequence[Hold], /) -> Denial | None:
        """Grant."""
        self.happen("budgets.reserve")
        if self.denial is None:
            self.held.extend(holds)
        return self.denial

    def extend(self, hold: Hold, amount: int, refuse: Callable[[], None], /) -> None:
        """Give more, if there is."""
        self.extended.append((hold.budget.name, amount))
        if self.has_more:
            hold.amount += amount
        else:
            refuse()

    def settle(self, hold: Hold, used: int, /) -> None:
        """Take back."""
        self.events.append("budgets.settle")
        self.settled.append((hold.budget.name, used))
        self.held.remove(hold)


class FakeCounters(Failing):
    """Behaviour that is always the same."""

    def __init__(self, events: list[str] | None = None) -> None:
        super().__init__(events)
        self.requests: list[str] = []
        self.outcomes: list[Exchange] = []

    def request(self, key: str, prompt: Prompt, /) -> History:
        """Return one request."""
        self.requests.append(key)
        self.happen("counters.request")
        return History(requests=1.0)

    def outcome(self, exchange: Exchange, /) -> None:
        """Keep it."""
        self.outcomes.append(exchange)


class FakeBackends(Failing):
    """A model that answers at once."""

    def __init__(self, events: list[str] | None = None) -> None:
        super().__init__(events)
        self.answer = FakeAnswer()
        self.asked: list[tuple[Outbound, Permit, Reservation, Vetted]] = []

    async def open(
        self, outbound: Outbound, permit: Permit, reservation: Reservation, vetted: Vetted, /
    ) -> Answer:
        """Answer."""
        self.asked.append((outbound, permit, reservation, vetted))
        self.happen("backends.open")
        return self.answer


CREDENTIAL = Credential("jti-1", b"X-Gateway-Assertion: signed-by-the-gateway\r\n")


class FakeOnward(Failing):
    """A signature that is none; it has to be waited for if `is_cold`."""

    is_cold = False

    def find(self, call: Call, permit: Permit, now: float, /) -> Credential | None:
        """Sign at once."""
        if self.is_cold:
            return None
        self.happen("onward.find")
        return CREDENTIAL

    async def obtain(self, call: Call, permit: Permit, now: float, /) -> Credential:
        """Sign after a wait."""
        self.happen("onward.obtain")
        return CREDENTIAL


class FakeRecorder(Failing):
    """A record that is kept."""

    def __init__(self, events: list[str] | None = None) -> None:
        super().__init__(events)
        self.is_healthy = True
        self.exchanges: list[Exchange] = []

    def __call__(self, exchange: Exchange, /) -> None:
        """Record."""
        self.events.append("record")
        self.exchanges.append(exchange)


class FakeMeter(Failing):
    """Makes itself the meter of every answer."""

    def __call__(self, usage: Usage, content_type: bytes, /) -> Meter:
        """Return itself."""
        self.happen("meter")
        return self

    def feed(self, data: bytes, /) -> None:
        """Read nothing."""

    def finish(self) -> None:
        """Write nothing."""

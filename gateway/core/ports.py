"""What the line needs from the outside: roles, implemented by wire, state, credentials, observe."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, final

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gateway.core.budgets import Hold
    from gateway.core.call import Call
    from gateway.core.exchange import Exchange, Usage
    from gateway.core.identity import Identity
    from gateway.core.limits import Ledger, RouteLimits
    from gateway.core.memo import AnswerMemo
    from gateway.core.outbound import Outbound
    from gateway.core.permit import Permit, Reservation, Vetted
    from gateway.core.prompt import Prompt
    from gateway.core.refusal import Refusal
    from gateway.core.revocation import Revocation
    from gateway.core.route import Bounds
    from gateway.core.signals import History, Risk, Signal


class ClientGone(BaseException):
    """The client closed its connection; thrown into the line wherever it waits.

    A `BaseException`, as `asyncio.CancelledError` is: no stage may take it for a failure.
    """


class Clock(Protocol):
    """Two clocks: one for dates, one for durations."""

    def wall(self) -> float:
        """Seconds since the epoch."""

    def tick(self) -> float:
        """Monotonic seconds."""


class Body(Protocol):
    """The body of a call."""

    async def read(self, limit: int, seconds: float, /) -> bytes:
        """Read the whole body; answers `Expect: 100-continue` first, where the client waits for it.

        Args:
            limit: Largest size, bytes; a longer declared length is refused before a byte is read.
            seconds: Largest time, measured from the first byte of the head.

        Raises:
            Refused: `BODY_TOO_LARGE`, `BODY_TIMEOUT`, `OVERLOADED`, or a framing reason.
            ClientGone: The client closed the connection.
        """


class Meter(Protocol):
    """Reads what an answer used while its bytes pass. Never changes them, never raises."""

    def feed(self, data: bytes, /) -> None:
        """Look at the next piece of the answer's body."""

    def finish(self) -> None:
        """The answer is over: write down what is still known."""


class MeterFactory(Protocol):
    """Makes a meter for one answer."""

    def __call__(self, usage: Usage, content_type: bytes, /) -> Meter:
        """Return a meter that writes to `usage`."""


class Sink(Protocol):
    """Takes the body of an answer piece by piece, in the call that read it from the backend."""

    def take(self, data: bytes, /) -> None:
        """Take a piece."""

    def finish(self, data: bytes, /) -> None:
        """Take the last piece, perhaps b""."""

    def lose(self, refusal: Refusal, /) -> None:
        """There will be no more."""


class Answer(Protocol):
    """The head of a backend's answer; its body is taken by `Reply.relay`."""

    @property
    def status(self) -> int:
        """Status code."""

    @property
    def headers(self) -> Sequence[tuple[bytes, bytes]]:
        """Lower-case names and values, hop-by-hop fields gone."""

    @property
    def memo(self) -> AnswerMemo:
        """What was made of this head before."""

    @property
    def endpoint(self) -> str:
        """The endpoint that answers."""

    @property
    def length(self) -> int | None:
        """Declared length of the body, or None: only its end will tell."""

    def attach(self, sink: Sink, bounds: Bounds, /) -> tuple[Sequence[bytes], bool]:
        """Send what comes from now on to `sink`, under `bounds.idle` and `bounds.answer_time`.

        Returns:
            The pieces of the body that came before, and whether they are all.

        Raises:
            Refused: The answer broke off before anything was passed on.
        """

    def pause(self) -> None:
        """Do not read from the backend for now."""

    def resume(self) -> None:
        """Read from the backend again."""

    def close(self) -> None:
        """Give the connection back, or abort it if the answer is not complete. Idempotent."""


class Reply(Protocol):
    """The way back to the client."""

    @property
    def is_started(self) -> bool:
        """True once a byte of the answer has been written."""

    @property
    def status(self) -> int:
        """Status written, or 0."""

    @property
    def bytes_out(self) -> int:
        """Bytes of body written."""

    def send(self, status: int, headers: bytes, body: bytes, /, *, close: bool = False) -> None:
        """Write a whole answer of ours.

        Args:
            status: Status code.
            headers: Complete field lines, each ended by CRLF, without framing fields.
            body: The body.
            close: Close the connection afterwards.
        """

    async def relay(self, answer: Answer, headers: bytes, meter: Meter, bounds: Bounds, /) -> None:
        """Stream an answer back as it comes, with backpressure, under `bounds`.

        Raises:
            Refused: `BACKEND_DIED`, `BACKEND_PROTOCOL`, `ANSWER_TOO_LARGE`, `ANSWER_TOO_LONG`,
                `BACKEND_TIMEOUT` or `CLIENT_TOO_SLOW`; the answer may have begun by then.
            ClientGone: The client closed the connection.
        """

    def abort(self, last: bytes, /) -> None:
        """End an answer that has begun, visibly: `last` if it is an event stream, no clean end."""

    def cut(self, refusal: Refusal, /) -> None:
        """End the line from outside: `Refused` is raised where it waits. Nothing happens if it has ended."""


class Store(Protocol):
    """Exact shared state: limits. One `admit` per request, and no other call before the answer."""

    async def admit(
        self, key: str, limits: RouteLimits, ahead: Callable[[], Sequence[Hold]] | None = None, /
    ) -> Ledger:
        """Charge one request against all limits, or none.

        Args:
            key: Of the identity.
            limits: Of the route.
            ahead: Tells what budgets the request may want later, as far as its head shows; called only if
                the store is asked, and asked along then. Nothing of it is set aside.

        Raises:
            StoreUnavailable: The store did not answer in time, and the limits do not say that a
                local share may answer instead.
        """

    def settle(self, ledger: Ledger, /) -> None:
        """Give back what a granted ledger holds. Never blocks, never raises; idempotent."""


class Once(Protocol):
    """What may be used once in the whole fleet: proofs of possession, nonces, event ids."""

    async def claim(self, name: bytes, seconds: float, /) -> bool:
        """Claim a name for a time.

        Args:
            name: A digest, never a credential.
            seconds: For how long nobody else may claim it.

        Returns:
            True for exactly one of all who claim it within that time.

        Raises:
            StoreUnavailable: Nobody knows.
        """


class Revocations(Protocol):
    """What is no longer believed, replicated into this process. No I/O."""

    @property
    def version(self) -> int:
        """Changes with every change: who was found clear under another one is looked at again."""

    @property
    def is_current(self) -> bool:
        """False if what is known may be older than the bound: nobody may be believed then."""

    def find(self, identity: Identity, /) -> Revocation | None:
        """Return a revocation that concerns an identity, or None."""


class StoreUnavailable(Exception):
    """The store did not answer; nobody knows whether the request may pass, so it may not."""


class Counters(Protocol):
    """Additive shared state: what identities did lately. Synchronous; never raises."""

    def request(self, key: str, prompt: Prompt, /) -> History:
        """Count a request that came as far as its body; return the history, this one included."""

    def outcome(self, exchange: Exchange, /) -> None:
        """Count how an identified exchange ended."""


class Detector(Protocol):
    """One question about an identity's behaviour. Pure, synchronous, total."""

    @property
    def name(self) -> str:
        """Name in configuration and record."""

    def __call__(self, history: History, prompt: Prompt, /) -> Signal | None:
        """Return a signal, or None if there is nothing to say."""


class Inspector(Protocol):
    """All body checks of one route."""

    def __call__(self, body: bytes, call: Call, /) -> tuple[Prompt, bytes, bytes] | Refusal:
        """Parse and check a body.

        Returns:
            The prompt, the body that goes on (re-serialised from what was checked) and its content
            type (b"" for none); or why not.
        """


class Policy(Protocol):
    """The rules of one route. A deny rule beats every allow; silence denies; errors deny."""

    def enter(self, identity: Identity, call: Call, now: float, /) -> Refusal | None:
        """Decide what the head alone can deny; None lets the body be read."""

    def decide(
        self, identity: Identity, call: Call, prompt: Prompt, risk: Risk, now: float, /
    ) -> str | Refusal:
        """Return the name of the rule that allows exactly this prompt, or why it may not pass."""


class Assurance(Protocol):
    """How well a caller must be authenticated on one route (RFC 9470)."""

    def __call__(self, identity: Identity, now: float, /) -> Refusal | None:
        """Look at a verified caller whom some rule could allow.

        Args:
            identity: Who asks; with a token.
            now: Seconds since the epoch.

        Returns:
            None if that is enough; else `STEP_UP_REQUIRED` with what to ask the issuer for, `STEP_UP_FAILED`
            if the issuer was asked already, `PROOFS_MISSING`, or `TOKEN_UNBOUND`.
        """


@final
class Credential:
    """What a backend is shown of who asks.

    Args:
        name: Names it in the record: `jti` of an assertion, digest of a token; never the credential.
        fields: Header field lines, each with CRLF.
    """

    __slots__ = ("fields", "name")

    def __init__(self, name: str, fields: bytes) -> None:
        self.name = name
        self.fields = fields


class Onward(Protocol):
    """Tells a backend who asks, in the gateway's own words or in those of an authorization server."""

    def find(self, call: Call, permit: Permit, now: float, /) -> Credential | None:
        """Return the credential for a permit if that needs no waiting, or None. No I/O."""

    async def obtain(self, call: Call, permit: Permit, now: float, /) -> Credential:
        """Get the credential for a permit.

        Raises:
            Refused: `BACKEND_TOKEN`: there is none to be had.
        """


class Backends(Protocol):
    """The only way to a model."""

    async def open(
        self, outbound: Outbound, permit: Permit, reservation: Reservation, vetted: Vetted, /
    ) -> Answer:
        """Send a request to an endpoint of its backend and wait for the head of the answer.

        The proofs are demanded here so that no call can be written that lacks one.

        Raises:
            Refused: One of the `BACKEND_*` reasons.
            ClientGone: The client closed its connection; the request is aborted.
        """


class Recorder(Protocol):
    """Writes the record, the log line, the metrics and the trace of one exchange."""

    @property
    def is_healthy(self) -> bool:
        """False while records can not be written: nobody may be served then."""

    def __call__(self, exchange: Exchange, /) -> None:
        """Record; synchronous, never raises."""


class KeySet(Protocol):
    """Public keys of one issuer."""

    def find(self, kid: str | None, algorithm: str, /) -> object | None:
        """Return the verification key, or None. No I/O."""

    async def refresh(self) -> bool:
        """Fetch once per window if that could help; True if the keys may have changed."""

    @property
    def is_usable(self) -> bool:
        """False if there are no keys, or they are older than the hard age."""

    @property
    def generation(self) -> int:
        """Grows with every change of the keys: what was verified under an older one is void."""

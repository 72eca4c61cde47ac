"""What identities did lately in the whole fleet: local counters, and their sums from Redis.

A request is only ever counted in memory. What was counted goes to Redis in the background, every
half a second in one pipeline, and the answer brings back what the fleet counted. So what one process
saw, another knows within an interval of its own next request of that identity. Counts whose reply is
lost are not sent again: rather one too few than one twice. Decides nothing.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from hashlib import blake2b
from struct import Struct
from typing import TYPE_CHECKING, Final, final

import hiredis

from gateway.core.signals import History
from gateway.state.accounts import TAG_BYTES
from gateway.state.connection import pack
from gateway.state.counters import MemoryCounters, ModelBits, count_outcome
from gateway.state.link import FATAL, word
from gateway.state.script import Script
from gateway.state.sketch import MODEL_BITS, PROMPT_BITS
from gateway.state.topology import connect

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.core.exchange import Exchange
    from gateway.core.ports import Clock
    from gateway.core.prompt import Prompt
    from gateway.state.connection import Connection, Reply
    from gateway.state.link import Server

BATCH: Final = 256
"""Identities per pipeline: about 5 ms of the server's time, so that claims do not wait behind it."""

MODEL_BYTES: Final = MODEL_BITS // 8
PROMPT_BYTES: Final = PROMPT_BITS // 8
SUMS: Final = Struct("<8d")
NOTHING: Final = (bytes(SUMS.size), bytes(MODEL_BYTES), bytes(PROMPT_BYTES))
"""Counts that change nothing: what a new connection is tried with."""

REPLY_BYTES: Final = SUMS.size + 2 * MODEL_BYTES + 2 * PROMPT_BYTES


@final
class _Delta:
    """What this process counted for one identity since it last told Redis; receives the sums."""

    __slots__ = ("counters", "counts", "done", "key", "models", "place", "prompts")

    def __init__(self, key: str, place: bytes, counters: RedisCounters) -> None:
        self.key = key
        self.place = place  # its key in the store
        self.counters = counters
        self.counts = History()
        self.models = 0
        self.prompts = 0
        self.done: asyncio.Future[None] | None = None

    def receive(self, reply: Reply, /) -> None:
        """Take the sums of the fleet."""
        self.counters.merge(self, reply)
        if self.done is not None and not self.done.done():
            self.done.set_result(None)

    def packed(self) -> tuple[bytes, bytes, bytes]:
        """Return counts and sketches as the script takes them."""
        return (
            SUMS.pack(*_numbers(self.counts)),
            self.models.to_bytes(MODEL_BYTES, "little"),
            self.prompts.to_bytes(PROMPT_BYTES, "little"),
        )


@final
class RedisCounters:
    """Behaviour counters of a fleet. Implements `gateway.core.ports.Counters`.

    Args:
        server: How to reach Redis; a connection of its own, so that no claim waits behind counters.
        clock: Its `tick` is the time of the local counters; Redis uses its own.
        half_life: Seconds in which a counter halves; the same in the whole fleet.
        identities: Most identities that are remembered here.
        interval: Seconds between two flushes.
        prefix: What all keys begin with.
        blinding: Key of the digests that stand for identities and models; the same in the fleet.
        report: Called with "lost" and why, and with "back" and "": transitions only.
        now: Gives the script its time; for tests alone.
    """

    __slots__ = (
        "_bits",
        "_blinding",
        "_capacity",
        "_dirty",
        "_half_life",
        "_interval",
        "_link",
        "_loading",
        "_local",
        "_now",
        "_prefix",
        "_script",
        "_task",
        "lost",
    )

    def __init__(
        self,
        server: Server,
        clock: Clock,
        *,
        half_life: float = 600.0,
        identities: int = 100_000,
        interval: float = 0.5,
        prefix: str = "gateway:",
        blinding: bytes = b"",
        report: Callable[[str, str], None] = lambda _event, _why: None,
        now: Callable[[], float] | None = None,
    ) -> None:
        self._script = Script("count")
        self._link = connect(
            server,
            self._script,
            lambda tag: pack("EVALSHA", self._script.digest, 1, self._place(tag), "", 1, *NOTHING),
            lambda _connection: None,
            report,
        )
        self._local = MemoryCounters(clock, half_life=half_life, identities=identities, seed=blinding)
        self._bits = ModelBits(blinding)
        self._half_life = half_life
        self._capacity = identities
        self._interval = interval
        self._prefix = prefix.encode()
        self._blinding = blinding
        self._now = now
        self._dirty: dict[str, _Delta] = {}
        self._task: asyncio.Task[None] | None = None
        self._loading: set[Connection] = set()
        self.lost = 0

    @property
    def is_ready(self) -> bool:
        """True while there is a connection. Without one, counting goes on locally."""
        return self._link.is_ready

    async def start(self) -> None:
        """Connect, and begin to flush. Never raises."""
        await self._link.start()
        self._task = asyncio.get_running_loop().create_task(self._run(), name="state-counters")

    async def stop(self) -> None:
        """Flush once more, and end the connection."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            await self.flush()
        await self._link.stop()

    def request(self, key: str, prompt: Prompt, /) -> History:
        """Count a request that came as far as its body; return the live history, this one included."""
        delta = self._delta(key)
        delta.counts.requests += 1.0
        if prompt.model is not None:
            delta.models |= self._bits[prompt.model]
        if prompt.fingerprint:
            delta.prompts |= 1 << prompt.fingerprint % PROMPT_BITS
        return self._local.request(key, prompt)

    def outcome(self, exchange: Exchange, /) -> None:
        """Count how an identified exchange ended."""
        identity = exchange.identity
        if identity is not None:
            count_outcome(self._delta(identity.key).counts, exchange)
            self._local.outcome(exchange)

    async def flush(self) -> None:
        """Send what was counted, and wait for the sums; keeps everything if there is no connection."""
        self._loading.clear()
        keys = list(self._dirty)  # what is counted from now on waits for the next flush
        for first in range(0, len(keys), BATCH):
            batches: dict[Connection, list[_Delta]] = {}
            for key in keys[first : first + BATCH]:
                delta = self._dirty.get(key)
                connection = None if delta is None else self._link.at(delta.place)
                if delta is not None and connection is not None:
                    del self._dirty[key]
                    batches.setdefault(connection, []).append(delta)
            for answered in [self._send(*batch) for batch in batches.items()]:
                await answered

    def merge(self, delta: _Delta, reply: Reply) -> None:
        """Take over the fleet's sums for one identity; for the delta's own reply alone."""
        if isinstance(reply, bytes) and len(reply) == REPLY_BYTES:
            self._adopt(delta.key, reply)
        elif isinstance(reply, hiredis.ReplyError) and word(reply) == "script-missing":
            self._keep(delta)  # it did not run
            self._load(delta)
        else:
            self.lost += 1
            if isinstance(reply, hiredis.ReplyError) and word(reply) in FATAL:
                self._give_up(delta, word(reply))

    def receive(self, reply: Reply, /) -> None:
        """Ignore the reply to loading the script: the next flush shows whether it is there."""

    def _adopt(self, key: str, reply: bytes) -> None:
        tally = self._local.tally(key)
        later = self._dirty.get(key)  # counted while the sums were on their way
        at = SUMS.size
        halves = []
        for length in (MODEL_BYTES, MODEL_BYTES, PROMPT_BYTES, PROMPT_BYTES):
            halves.append(int.from_bytes(reply[at : at + length], "little"))
            at += length
        models, prompts = tally.models, tally.prompts
        models.current, models.previous, prompts.current, prompts.previous = halves
        numbers = list(SUMS.unpack_from(reply))
        if later is not None:
            models.current |= later.models
            prompts.current |= later.prompts
            numbers = [mine + more for mine, more in zip(numbers, _numbers(later.counts), strict=True)]
        _assign(tally.history, numbers)
        tally.history.models = models.estimate()
        tally.history.prompts = prompts.estimate()

    def _give_up(self, delta: _Delta, why: str) -> None:
        connection = self._link.at(delta.place)
        if connection is not None:
            connection.abort(why)

    def _load(self, delta: _Delta) -> None:
        """Load the script, once per flush: every count of a pipeline misses it."""
        connection = self._link.at(delta.place)
        if connection is not None and connection not in self._loading:
            self._loading.add(connection)
            connection.send(pack("SCRIPT", "LOAD", self._script.text), self)

    def _keep(self, delta: _Delta) -> None:
        """Put back what did not run."""
        newer = self._dirty.setdefault(delta.key, delta)
        if newer is not delta:
            pairs = zip(_numbers(newer.counts), _numbers(delta.counts), strict=True)
            _assign(newer.counts, [one + other for one, other in pairs])
            newer.models |= delta.models
            newer.prompts |= delta.prompts

    def _delta(self, key: str) -> _Delta:
        delta = self._dirty.get(key)
        if delta is None:
            if len(self._dirty) >= self._capacity:  # the store has been away for long
                del self._dirty[next(iter(self._dirty))]
                self.lost += 1
            digest = blake2b(key.encode(), digest_size=TAG_BYTES, key=self._blinding).hexdigest()
            delta = self._dirty[key] = _Delta(key, self._place(digest.encode()), self)
        return delta

    def _place(self, tag: bytes) -> bytes:
        return b"%b{%b}:behaviour" % (self._prefix, tag)

    def _send(self, connection: Connection, batch: list[_Delta]) -> asyncio.Future[None]:
        """Send counts; the future ends with the last reply."""
        batch[-1].done = done = asyncio.get_running_loop().create_future()
        now = "" if self._now is None else repr(self._now())
        half_life = repr(self._half_life)
        for delta in batch:
            words = (self._script.digest, 1, delta.place, now, half_life)
            connection.send(pack("EVALSHA", *words, *delta.packed()), delta)
        return done

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._interval)
            await self.flush()


def _numbers(history: History) -> tuple[float, ...]:
    """Return the eight additive counters in the order of the script."""
    return (
        history.requests,
        history.refusals,
        history.denials,
        history.malformed,
        history.credentials,
        history.input_bytes,
        history.output_bytes,
        history.tokens,
    )


def _assign(history: History, numbers: list[float]) -> None:
    """Set the eight additive counters."""
    (
        history.requests,
        history.refusals,
        history.denials,
        history.malformed,
        history.credentials,
        history.input_bytes,
        history.output_bytes,
        history.tokens,
    ) = numbers

"""What identities did lately, in this process's memory: decayed counters that cost next to nothing.

Counters halve in every half-life. They are decayed in place, when touched, and only when that would
change them by a thousandth. Which identities are remembered is bounded; the one longest untouched
among a few is forgotten. Decides nothing: detectors do.
"""

from __future__ import annotations

from collections import deque
from hashlib import blake2b
from typing import TYPE_CHECKING, Final, final

from gateway.core.refusal import Reason, Source
from gateway.core.signals import History
from gateway.state.sketch import MODEL_BITS, PROMPT_BITS, Sketch

if TYPE_CHECKING:
    from gateway.core.exchange import Exchange
    from gateway.core.ports import Clock
    from gateway.core.prompt import Prompt

GRAIN: Final = 1 / 1024
"""Part of a half-life below which nothing decays: an error of 0.07 %, and it does not add up."""

CANDIDATES: Final = 8
"""Identities compared when one must be forgotten."""

MAX_MODELS: Final = 4096
"""Model names whose bit is remembered. Names come from clients, so this must be bounded."""

DENIALS: Final = frozenset(
    {Reason.ROUTE_UNKNOWN, Reason.SCOPE_MISSING, Reason.NO_RULE_ALLOWS, Reason.DENIED_BY_RULE}
)
"""Refusals that probing for permissions meets."""

MALFORMED: Final = frozenset(
    {
        Reason.CONTENT_TYPE,
        Reason.CONTENT_ENCODING,
        Reason.JSON_INVALID,
        Reason.JSON_DUPLICATE_KEY,
        Reason.JSON_TOO_DEEP,
        Reason.JSON_NUMBER,
        Reason.SCHEMA_VIOLATION,
        Reason.BODY_UNEXPECTED,
    }
)
"""Refusals that fuzzing meets."""


def count_outcome(history: History, exchange: Exchange) -> None:
    """Add how an exchange ended to counters.

    A request that never came as far as its body is counted here; others were when they came. Only
    what the client is to blame for counts as its refusal.
    """
    if exchange.prompt is None:
        history.requests += 1.0
    history.input_bytes += exchange.bytes_in
    history.output_bytes += exchange.bytes_out
    usage = exchange.usage
    if usage.input_tokens is not None:
        history.tokens += usage.input_tokens
    if usage.output_tokens is not None:
        history.tokens += usage.output_tokens
    refusal = exchange.refusal
    if refusal is not None and refusal.source is Source.CLIENT:
        history.refusals += 1.0
        if refusal.reason in DENIALS:
            history.denials += 1.0
        elif refusal.reason in MALFORMED:
            history.malformed += 1.0


def decay(history: History, factor: float) -> None:
    """Multiply all counters; the estimates of distinct things are not counters."""
    history.requests *= factor
    history.refusals *= factor
    history.denials *= factor
    history.malformed *= factor
    history.credentials *= factor
    history.input_bytes *= factor
    history.output_bytes *= factor
    history.tokens *= factor


@final
class ModelBits:
    """Which bit of a sketch a model name sets.

    Args:
        seed: Key of the digest, the same in the whole fleet: with one, clients cannot choose names
            that share a bit. At most 64 bytes.
    """

    __slots__ = ("_known", "_seed")

    def __init__(self, seed: bytes) -> None:
        self._seed = seed
        self._known: dict[str, int] = {}

    def __getitem__(self, model: str) -> int:
        """Return a number with one bit set."""
        bit = self._known.get(model)
        if bit is None:
            if len(self._known) >= MAX_MODELS:
                self._known.clear()
            digest = blake2b(model.encode("utf-8", "surrogatepass"), digest_size=1, key=self._seed).digest()
            bit = self._known[model] = 1 << digest[0] % MODEL_BITS
        return bit


@final
class Tally:
    """What one identity did: counters up to `at`, and sketches of the window `window`."""

    __slots__ = ("at", "history", "key", "models", "prompts", "window")

    def __init__(self, key: str, now: float, window: int) -> None:
        self.key = key
        self.at = now
        self.window = window
        self.history = History()
        self.models = Sketch(MODEL_BITS)
        self.prompts = Sketch(PROMPT_BITS)


@final
class MemoryCounters:
    """Behaviour counters in memory. Implements `gateway.core.ports.Counters`.

    Args:
        clock: Its `tick` is the time of the counters.
        half_life: Seconds in which a counter halves.
        identities: Most identities that are remembered.
        seed: Key of the digest of model names.
    """

    __slots__ = ("_bits", "_capacity", "_clock", "_grain", "_half_life", "_ring", "_tallies")

    def __init__(
        self, clock: Clock, *, half_life: float = 600.0, identities: int = 100_000, seed: bytes = b""
    ) -> None:
        self._clock = clock
        self._half_life = half_life
        self._grain = half_life * GRAIN
        self._capacity = identities
        self._bits = ModelBits(seed)
        self._tallies: dict[str, Tally] = {}
        self._ring: deque[Tally] = deque()

    def __len__(self) -> int:
        """Return how many identities are remembered."""
        return len(self._tallies)

    def request(self, key: str, prompt: Prompt, /) -> History:
        """Count a request that came as far as its body.

        Returns:
            The identity's history, this request included. It is the live object: it changes with
            the next call.
        """
        tally = self.tally(key)
        history = tally.history
        history.requests += 1.0
        model = prompt.model
        if model is not None:
            bit, models = self._bits[model], tally.models
            if not models.current & bit:
                models.current |= bit
                history.models = models.estimate()
        fingerprint = prompt.fingerprint
        if fingerprint:
            bit, prompts = 1 << fingerprint % PROMPT_BITS, tally.prompts
            if not prompts.current & bit:
                prompts.current |= bit
                history.prompts = prompts.estimate()
        return history

    def outcome(self, exchange: Exchange, /) -> None:
        """Count how an identified exchange ended."""
        identity = exchange.identity
        if identity is not None:
            count_outcome(self.tally(identity.key).history, exchange)

    def tally(self, key: str) -> Tally:
        """Return what is known of an identity, decayed to now; remembers it from now on."""
        now = self._clock.tick()
        tally = self._tallies.get(key)
        if tally is None:
            return self._make(key, now)
        if now - tally.at > self._grain:
            self._age(tally, now)
        return tally

    def _age(self, tally: Tally, now: float) -> None:
        decay(tally.history, 0.5 ** ((now - tally.at) / self._half_life))
        tally.at = now
        window = int(now / self._half_life)
        if window != tally.window:
            for sketch in (tally.models, tally.prompts):
                sketch.turn(window - tally.window)
            tally.window = window
            tally.history.models = tally.models.estimate()
            tally.history.prompts = tally.prompts.estimate()

    def _make(self, key: str, now: float) -> Tally:
        if len(self._tallies) >= self._capacity:
            self._forget()
        tally = self._tallies[key] = Tally(key, now, int(now / self._half_life))
        self._ring.append(tally)
        return tally

    def _forget(self) -> None:
        """Forget the longest untouched of the next few identities of the ring."""
        ring = self._ring
        candidates = [ring.popleft() for _ in range(min(CANDIDATES, len(ring)))]
        candidates.sort(key=lambda tally: tally.at, reverse=True)
        del self._tallies[candidates.pop().key]
        ring.extend(candidates)

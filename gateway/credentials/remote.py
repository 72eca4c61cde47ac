"""The public keys of one issuer, fetched over the network, and how they stay fresh.

They are fetched again when the issuer says so, within bounds; one fetch at a time; unknown key ids cause
one per window, so that nobody can make this gateway attack an issuer. A failing issuer never empties the
set: the last good keys serve until their hard age, and then none do.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Protocol, final

from gateway.credentials.destinations import DestinationError, parse_url
from gateway.credentials.discovery import SET_TYPES, DiscoveryError
from gateway.credentials.fetch import FetchError
from gateway.credentials.jwk import MAX_SET_BYTES, JwksError, parse_set
from gateway.credentials.jwks import REFRESH_WINDOW, Keys
from gateway.credentials.key_news import Herald
from gateway.credentials.periodic import JITTER, Periodic

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.core.ports import Clock
    from gateway.credentials.fetch import Fetched, Fetcher
    from gateway.credentials.key_news import Tell

SHORTEST: Final = 300.0  # seconds between refreshes, whatever `max-age` says; also if it says nothing
LONGEST: Final = 3600.0  # a removed key is dead within this time
HARD_AGE: Final = 24 * 3600.0  # seconds that the last good keys outlive a failing source
FLIGHT_SECONDS: Final = 10.0  # metadata and keys together
SOONEST: Final = 1.0  # seconds to the look at keys that are about to reach their hard age


class Source(Protocol):
    """Where a key set comes from."""

    @property
    def name(self) -> str:
        """What debuggers show."""

    async def fetch(self, failures: int, herald: Herald) -> Fetched:
        """Fetch the set; `failures`: how often in a row it could not be had.

        Raises:
            FetchError: Nothing was fetched.
            DiscoveryError: It is not known where the set is.
        """

    async def close(self) -> None:
        """Close all connections."""


@final
class Endpoint:
    """A set at a URL of the configuration.

    Args:
        url: See `destinations.parse_url`.
        fetcher: Asks; closed by `close`.

    Raises:
        DestinationError: The URL is refused.
    """

    __slots__ = ("_fetcher", "_url", "name")

    def __init__(self, url: str, fetcher: Fetcher) -> None:
        self.name = parse_url(url).host
        self._url = url
        self._fetcher = fetcher

    async def fetch(self, _failures: int, _herald: Herald, /) -> Fetched:
        """Fetch the set. See `Source`."""
        return await self._fetcher.get(self._url, accept=SET_TYPES, limit=MAX_SET_BYTES)

    async def close(self) -> None:
        """Close all connections."""
        await self._fetcher.close()


@final
class UrlKeySet:
    """Keys from a server. Implements `core.ports.KeySet`.

    Args:
        source: Where they come from; closed by `stop`.
        clock: Time.
        refresh: Seconds between refreshes; None: what the answer's `max-age` says, within bounds.
        hard_age: Seconds after which keys that could not be refreshed are dropped.
        window: Seconds in which unknown key ids cause one fetch; shorter than usual at most.
        flight_seconds: Seconds that one fetch may take, metadata included.
        tell: Takes what operators may want to know.

    Attributes:
        on_change: Called after every change of the keys, once `generation` has grown; must not raise.

    Raises:
        ValueError: The window is longer than `REFRESH_WINDOW`, which bounds what strangers can cause.
    """

    __slots__ = (
        "_clock",
        "_failures",
        "_fetched_at",
        "_flight",
        "_flight_seconds",
        "_hard_age",
        "_herald",
        "_interval",
        "_keys",
        "_loop",
        "_refresh",
        "_tried_at",
        "_window",
        "generation",
        "on_change",
        "source",
    )

    def __init__(
        self,
        source: Source,
        clock: Clock,
        *,
        refresh: float | None = None,
        hard_age: float = HARD_AGE,
        window: float = REFRESH_WINDOW,
        flight_seconds: float = FLIGHT_SECONDS,
        tell: Tell | None = None,
    ) -> None:
        if window > REFRESH_WINDOW:
            raise ValueError(f"the window is longer than {REFRESH_WINDOW} seconds")
        self.generation = 0
        self.on_change: Callable[[], None] | None = None
        self.source = source
        self._clock = clock
        self._refresh = refresh
        self._interval = SHORTEST if refresh is None else refresh
        self._hard_age = hard_age
        # an operator who has the keys fetched more often than that has nothing against it
        self._window = min(window, self._interval)
        self._flight_seconds = flight_seconds
        self._herald = Herald(clock, tell)
        self._failures = 0
        self._keys: Keys | None = None
        self._fetched_at = float("-inf")
        self._tried_at = float("-inf")
        self._flight: asyncio.Task[bool] | None = None
        self._loop = Periodic(f"keys of {source.name}", self.pause, self._renew)

    async def start(self) -> None:
        """Fetch once, then keep fresh. A failure is no error: without keys, tokens are refused."""
        await self._renew()
        self._loop.start()

    async def stop(self) -> None:
        """End the background task, any fetch, and the source's connections."""
        await self._loop.stop()
        flight = self._flight
        if flight is not None:
            flight.cancel()
            await asyncio.wait({flight})
        await self.source.close()

    @property
    def is_usable(self) -> bool:
        """True while there are keys younger than the hard age."""
        return self._keys is not None and self._age() < self._hard_age

    def find(self, kid: str | None, algorithm: str, /) -> object | None:
        """Return the verification key, or None. No I/O."""
        keys = self._keys
        return keys.find(kid, algorithm) if keys is not None and self.is_usable else None

    async def refresh(self) -> bool:
        """Fetch, unless that was tried within the window; joins a fetch that is under way.

        Returns:
            True if the keys may have changed.
        """
        if self._flight is None and self._clock.tick() - self._tried_at < self._window:
            return False
        return await self._join()

    def pause(self) -> float:
        """Return the seconds until the next refresh: fewer after failures, and before keys die."""
        pause = self._interval
        if self._failures:
            pause = min(pause, self._window * 2.0 ** min(self._failures - 1, 16))
        if self._keys is not None:
            pause = min(pause, max((self._hard_age - self._age()) / (1 + JITTER), SOONEST))
        return pause

    def _age(self) -> float:
        return self._clock.tick() - self._fetched_at

    async def _renew(self) -> None:
        try:
            await self._join()
        finally:  # whatever came of it
            if self._keys is not None and not self.is_usable:
                self._herald.expired()
                self._replace(None)

    async def _join(self) -> bool:
        flight = self._flight
        if flight is None:
            self._tried_at = self._clock.tick()
            # A task of its own: a client that goes away must not end the fetch of all others.
            flight = self._flight = asyncio.get_running_loop().create_task(self._fetch(), name="jwks")
        await asyncio.wait({flight})
        return not flight.cancelled() and flight.result()

    async def _fetch(self) -> bool:
        before = self.generation
        try:
            async with asyncio.timeout(self._flight_seconds):
                fetched = await self.source.fetch(self._failures, self._herald)
            keys = Keys(parse_set(fetched.body))
        except FetchError as failure:
            self._fail(failure.word)
        except TimeoutError:
            self._fail("timeout")
        except (DestinationError, DiscoveryError, JwksError) as refused:
            self._fail(str(refused))
        else:
            self._take(keys, fetched.max_age)
        finally:
            self._flight = None
        return self.generation != before

    def _fail(self, why: str) -> None:
        self._failures += 1
        self._herald.failed(why)

    def _take(self, keys: Keys, max_age: float | None) -> None:
        self._failures = 0
        self._fetched_at = self._clock.tick()
        if self._refresh is None:
            # twice within the hard age, so that one failure alone ends nothing
            self._interval = min(max(max_age or 0.0, SHORTEST), LONGEST, max(self._hard_age / 2, SOONEST))
        self._herald.worked()
        if self._keys is None or keys.content != self._keys.content:
            self._herald.changed(keys.kids, len(keys.content))
            self._replace(keys)

    def _replace(self, keys: Keys | None) -> None:
        self._keys = keys
        self.generation += 1
        if self.on_change is not None:
            self.on_change()

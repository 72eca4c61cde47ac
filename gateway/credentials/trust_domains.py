"""One trust domain: its bundle, and how that stays fresh. Answers without I/O; waits only in `refresh`.

Serves as the key set of the domain's JWT-SVIDs (`core.ports.KeySet`), and holds the authorities of its
X.509-SVIDs. A failing source never empties it: the last good bundle counts until its hard age, and
then nobody of the domain is believed. A bundle that is empty is obeyed at once, one that is older than the
one in use is not: it could bring back what was withdrawn.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Protocol, final

from gateway.credentials.bundles import MAX_BUNDLE_BYTES, Bundle, BundleError, parse_bundle
from gateway.credentials.destinations import DestinationError, parse_url
from gateway.credentials.fetch import FetchError
from gateway.credentials.files import read_bounded
from gateway.credentials.key_news import Herald
from gateway.credentials.periodic import JITTER, Periodic

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cryptography import x509

    from gateway.core.ports import Clock
    from gateway.credentials.fetch import Fetcher
    from gateway.credentials.key_news import Tell

NEVER: Final = float("inf")
REFRESH_WINDOW: Final = 30.0  # seconds: unknown key ids cause one look per window
SHORTEST: Final = 10.0  # seconds between refreshes, whatever the bundle's hint says
USUAL: Final = 300.0  # if it says nothing (Trust Domain and Bundle, section 4.1.2)
LONGEST: Final = 3600.0
SOONEST: Final = 1.0  # seconds to the look at a bundle that is about to reach its hard age


class Unavailable(Exception):
    """A bundle could not be had; the text is a word or sentence of ours."""


class BundleSource(Protocol):
    """Where a bundle comes from."""

    @property
    def name(self) -> str:
        """What debuggers show."""

    @property
    def may_go_back(self) -> bool:
        """True if an older bundle is meant as it is: whoever writes the file decides."""

    async def read(self) -> bytes | None:
        """Return the bundle; None if it has surely not changed.

        Raises:
            Unavailable: It cannot be had.
        """

    async def close(self) -> None:
        """Close all connections."""


@final
class BundleFile:
    """A bundle in a file, read again when that has changed.

    Args:
        path: The file.
    """

    __slots__ = ("_path", "_seen", "name")

    may_go_back = True

    def __init__(self, path: Path) -> None:
        self.name = path.name
        self._path = path
        self._seen: tuple[int, int, int] | None = None

    def load(self) -> bytes:
        """Read it now.

        Raises:
            OSError: It cannot be read.
            ValueError: It is too large.
        """
        status = self._path.stat()
        self._seen = status.st_mtime_ns, status.st_size, status.st_ino
        return read_bounded(self._path, MAX_BUNDLE_BYTES)

    async def read(self) -> bytes | None:
        """Read it if it has changed. See `BundleSource`."""
        try:
            status = self._path.stat()
            if self._seen == (status.st_mtime_ns, status.st_size, status.st_ino):
                return None
            return self.load()
        except (OSError, ValueError) as unreadable:
            self._seen = None
            raise Unavailable("unreadable") from unreadable

    async def close(self) -> None:
        """Close nothing."""


@final
class BundleEndpoint:
    """A bundle at an endpoint of the profile `https_web` (Trust Domain and Bundle, section 5.2.1).

    Args:
        url: See `destinations.parse_url`.
        fetcher: Asks; closed by `close`.

    Raises:
        DestinationError: The URL is refused.
    """

    __slots__ = ("_fetcher", "_url", "name")

    may_go_back = False

    def __init__(self, url: str, fetcher: Fetcher) -> None:
        self.name = parse_url(url).host
        self._url = url
        self._fetcher = fetcher

    async def read(self) -> bytes | None:
        """Ask for it. See `BundleSource`."""
        try:
            return (await self._fetcher.get(self._url, limit=MAX_BUNDLE_BYTES)).body
        except FetchError as failure:
            raise Unavailable(failure.word) from failure
        except DestinationError as refused:
            raise Unavailable(str(refused)) from refused

    async def close(self) -> None:
        """Close all connections."""
        await self._fetcher.close()


@final
class TrustDomain:
    """A trust domain. Implements `core.ports.KeySet` for its JWT-SVIDs.

    Args:
        name: The trust domain.
        source: Where its bundle comes from; closed by `stop`.
        clock: Time.
        bundle: What was read already, or None.
        refresh: Seconds between two looks; None: as the bundle says, within bounds.
        hard_age: Seconds after which a bundle that could not be renewed is dropped.
        tell: Takes what operators may want to know.

    Attributes:
        on_change: Called after every change, once `generation` has grown; must not raise.
    """

    __slots__ = (
        "_bundle",
        "_clock",
        "_failures",
        "_flight",
        "_hard_age",
        "_herald",
        "_loop",
        "_read_at",
        "_refresh",
        "_source",
        "_tried_at",
        "generation",
        "name",
        "on_change",
    )

    def __init__(
        self,
        name: str,
        source: BundleSource,
        clock: Clock,
        *,
        bundle: Bundle | None = None,
        refresh: float | None = None,
        hard_age: float = NEVER,
        tell: Tell | None = None,
    ) -> None:
        self.name = name
        self.generation = 0 if bundle is None else 1
        self.on_change: Callable[[], None] | None = None
        self._source = source
        self._clock = clock
        self._bundle = bundle
        self._refresh = refresh
        self._hard_age = hard_age
        self._herald = Herald(clock, tell)
        self._failures = 0
        self._flight: asyncio.Task[None] | None = None
        self._read_at = clock.tick()
        self._tried_at = float("-inf")
        self._loop = Periodic(f"bundle of {name}", self.pause, self._renew)

    async def start(self) -> None:
        """Look once, then keep fresh. A failure is no error: without a bundle nobody is believed."""
        await self._renew()
        self._loop.start()

    async def stop(self) -> None:
        """End the background task, a look under way, and the source's connections."""
        await self._loop.stop()
        flight = self._flight
        if flight is not None:
            flight.cancel()
            await asyncio.wait({flight})
        await self._source.close()

    @property
    def authorities(self) -> tuple[x509.Certificate, ...]:
        """Who vouches for the domain's X.509-SVIDs now."""
        return self._bundle.authorities if self._bundle is not None and self.is_usable else ()

    @property
    def is_usable(self) -> bool:
        """True while there is a bundle younger than the hard age."""
        return self._bundle is not None and self._age() < self._hard_age

    def find(self, kid: str | None, algorithm: str, /) -> object | None:
        """Return the key of the domain's JWT-SVIDs, or None. No I/O."""
        bundle = self._bundle
        return bundle.keys.find(kid, algorithm) if bundle is not None and self.is_usable else None

    async def refresh(self) -> bool:
        """Look for a newer bundle, at most once per window.

        Returns:
            True if it may have changed.
        """
        window = min(REFRESH_WINDOW, self._usual())
        if self._flight is None and self._clock.tick() - self._tried_at < window:
            return False
        before = self.generation
        await self._join()
        return self.generation != before

    def pause(self) -> float:
        """Return the seconds until the next look: fewer after failures, and before the bundle dies."""
        pause = self._usual()
        if self._failures:
            pause = min(pause, REFRESH_WINDOW * 2.0 ** min(self._failures - 1, 16))
        if self._bundle is not None:
            pause = min(pause, max((self._hard_age - self._age()) / (1 + JITTER), SOONEST))
        return pause

    def _usual(self) -> float:
        if self._refresh is not None:
            return self._refresh
        hint = None if self._bundle is None else self._bundle.refresh_hint
        return USUAL if hint is None else min(max(hint, SHORTEST), LONGEST)

    def _age(self) -> float:
        return self._clock.tick() - self._read_at

    async def _renew(self) -> None:
        try:
            await self._join()
        finally:  # whatever came of it
            if self._bundle is not None and not self.is_usable:
                self._herald.expired()
                self._bundle = None
                self._changed()

    async def _join(self) -> None:
        flight = self._flight
        if flight is None:
            self._tried_at = self._clock.tick()
            # A task of its own: a line that waits is none, and who goes away must not end it for others.
            flight = self._flight = asyncio.get_running_loop().create_task(self._look(), name="bundle")
        await asyncio.wait({flight})
        if not flight.cancelled():
            flight.result()  # a bug of ours is heard where it is waited for

    async def _look(self) -> None:
        try:
            data = await self._source.read()
            if data is not None:
                self._take(parse_bundle(data))
        except (Unavailable, BundleError) as failure:
            self._failures += 1
            self._herald.failed(str(failure))
        finally:
            self._flight = None

    def _take(self, bundle: Bundle) -> None:
        if self._goes_back(bundle):
            raise BundleError("the bundle is older than the one in use")
        self._failures = 0
        self._read_at = self._clock.tick()
        self._herald.worked()
        held, self._bundle = self._bundle, bundle
        if held is None or _content(held) != _content(bundle):
            self._herald.changed(bundle.keys.kids, len(bundle.authorities) + len(bundle.keys.content))
            self._changed()

    def _goes_back(self, bundle: Bundle) -> bool:
        held = self._bundle
        if self._source.may_go_back or held is None or held.sequence is None or bundle.sequence is None:
            return False
        return bundle.sequence < held.sequence

    def _changed(self) -> None:
        self.generation += 1
        if self.on_change is not None:
            self.on_change()


def _content(bundle: Bundle) -> tuple[frozenset[x509.Certificate], object]:
    return frozenset(bundle.authorities), bundle.keys.content

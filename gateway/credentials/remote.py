"""The public keys of one issuer, fetched from its JWKS endpoint.

The URL comes from the configuration alone. https only (http for a loopback address), no redirects,
no proxies from the environment, no cookies, a bounded body and time. One fetch at a time; unknown key
ids cause one per window, so that nobody can make this gateway attack an issuer.
"""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
from typing import TYPE_CHECKING, Final, final
from urllib.parse import urlsplit

import aiohttp

from gateway.credentials.jwk import MAX_SET_BYTES, JwksError, parse_set
from gateway.credentials.jwks import REFRESH_WINDOW, Keys
from gateway.credentials.periodic import Periodic

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gateway.core.ports import Clock

INTERVAL: Final = 300.0  # seconds between refreshes: a removed key is dead within this time
HARD_AGE: Final = 24 * 3600.0  # seconds that the last good keys outlive a failing source
FETCH_TIME: Final = 5.0  # seconds, from connecting to the last byte
OK: Final = 200


def check_url(url: str) -> None:
    """Refuse a URL that keys must not come from.

    Raises:
        ValueError: Not https, unless it names a loopback address; or credentials in it.
    """
    parts = urlsplit(url)
    if parts.username is not None or parts.password is not None or not parts.hostname:
        raise ValueError("JWKS URL must name a host, and carry no credentials")
    if parts.scheme == "https":
        return
    try:
        is_loopback = ipaddress.ip_address(parts.hostname).is_loopback
    except ValueError:
        is_loopback = parts.hostname == "localhost"
    if parts.scheme != "http" or not is_loopback:
        raise ValueError("JWKS URL must be https, or http on a loopback address")


@final
class UrlKeySet:
    """Keys from a JWKS endpoint. Implements `core.ports.KeySet`.

    Args:
        url: The endpoint; see `check_url`.
        clock: Time.
        ca: PEM bundle that alone may sign the endpoint's certificate; None: the system's.
        interval: Seconds between refreshes.
        hard_age: Seconds after which keys that could not be refreshed are dropped.
        fetch_time: Seconds that one fetch may take.
        on_failure: Told the name of the failure, for the log.

    Raises:
        ValueError: The URL is refused.
        OSError: The bundle cannot be read.
    """

    __slots__ = (
        "_ca",
        "_clock",
        "_fetch_time",
        "_fetched_at",
        "_flight",
        "_hard_age",
        "_keys",
        "_loop",
        "_on_failure",
        "_tried_at",
        "generation",
        "url",
    )

    def __init__(
        self,
        url: str,
        clock: Clock,
        *,
        ca: Path | None = None,
        interval: float = INTERVAL,
        hard_age: float = HARD_AGE,
        fetch_time: float = FETCH_TIME,
        on_failure: Callable[[str], None] | None = None,
    ) -> None:
        check_url(url)
        self.url = url
        self.generation = 0
        self._clock = clock
        self._ca = ssl.create_default_context(cafile=ca) if ca is not None else True
        self._hard_age = hard_age
        self._fetch_time = fetch_time
        self._on_failure = on_failure
        self._keys: Keys | None = None
        self._fetched_at = float("-inf")
        self._tried_at = float("-inf")
        self._flight: asyncio.Task[bool] | None = None
        self._loop = Periodic(f"keys of {urlsplit(url).hostname}", interval, self._renew)

    async def start(self) -> None:
        """Fetch once, then keep fresh. A failure is no error: without keys, tokens are refused."""
        await self._renew()
        self._loop.start()

    async def stop(self) -> None:
        """End the background task and any fetch."""
        await self._loop.stop()
        flight = self._flight
        if flight is not None:
            flight.cancel()
            await asyncio.wait({flight})

    @property
    def is_usable(self) -> bool:
        """True while there are keys younger than the hard age."""
        return self._keys is not None and self._clock.tick() - self._fetched_at < self._hard_age

    def find(self, kid: str | None, algorithm: str, /) -> object | None:
        """Return the verification key, or None. No I/O."""
        keys = self._keys
        return keys.find(kid, algorithm) if keys is not None and self.is_usable else None

    async def refresh(self) -> bool:
        """Fetch, unless that was tried within the window; joins a fetch that is under way.

        Returns:
            True if the keys may have changed.
        """
        if self._flight is None and self._clock.tick() - self._tried_at < REFRESH_WINDOW:
            return False
        return await self._join()

    async def _renew(self) -> None:
        await self._join()
        if self._keys is not None and not self.is_usable:
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
            keys = Keys(parse_set(await self._download()))
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as failure:
            if self._on_failure is not None:
                self._on_failure(type(failure).__name__)
        else:
            self._fetched_at = self._clock.tick()
            if self._keys is None or keys.content != self._keys.content:
                self._replace(keys)
        finally:
            self._flight = None
        return self.generation != before

    def _replace(self, keys: Keys | None) -> None:
        self._keys = keys
        self.generation += 1

    async def _download(self) -> bytes:
        timeout = aiohttp.ClientTimeout(total=self._fetch_time)
        async with (
            aiohttp.ClientSession(
                timeout=timeout,
                trust_env=False,
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={
                    "Accept": "application/jwk-set+json, application/json",
                    "Accept-Encoding": "identity",
                },
            ) as session,
            session.get(self.url, allow_redirects=False, ssl=self._ca) as response,
        ):
            if response.status != OK:
                raise JwksError(f"the endpoint answered {response.status}")
            body = bytearray()
            async for chunk in response.content.iter_any():
                body += chunk
                if len(body) > MAX_SET_BYTES:
                    raise JwksError(f"the set is larger than {MAX_SET_BYTES} bytes")
            return bytes(body)

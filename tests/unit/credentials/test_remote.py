"""`remote`: keys from an endpoint that may be slow, huge, gone or hostile."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from gateway.credentials.development import DevelopmentPki
from gateway.credentials.jwk import MAX_SET_BYTES
from gateway.credentials.remote import HARD_AGE, REFRESH_WINDOW, UrlKeySet, check_url
from gateway.credentials.signing import Signer, generate_key, key_set
from gateway.credentials.tls import server_context

from .parts import FixedClock

if TYPE_CHECKING:
    from pathlib import Path

ONE = Signer(generate_key("ES256"), kid="one")
TWO = Signer(generate_key("ES256"), kid="two")

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Endpoint:
    """An issuer's endpoint whose answer a test decides."""

    def __init__(self) -> None:
        self.hits: list[str] = []
        self.url = ""
        self.say: Answer = self.keys(ONE)

    @staticmethod
    def keys(*signers: Signer) -> Answer:
        async def answer(_: web.Request) -> web.StreamResponse:
            return web.Response(body=key_set(*signers))

        return answer

    @staticmethod
    def status(code: int, **headers: str) -> Answer:
        async def answer(_: web.Request) -> web.StreamResponse:
            return web.Response(status=code, headers=headers, body=key_set(TWO))

        return answer

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.hits.append(request.path)
        return await self.say(request)


async def serve(endpoint: Endpoint, ssl_context: object = None) -> web.AppRunner:
    """Start an endpoint on a free port."""
    app = web.Application()
    app.router.add_get("/{path:.*}", endpoint.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=ssl_context)
    await site.start()
    port = runner.addresses[0][1]
    endpoint.url = f"http{'s' if ssl_context else ''}://127.0.0.1:{port}/jwks"
    return runner


@pytest.fixture
async def endpoint() -> AsyncIterator[Endpoint]:
    """An endpoint with the first key."""
    one = Endpoint()
    runner = await serve(one)
    yield one
    await runner.cleanup()


async def test_keys_are_fetched_at_the_start(endpoint: Endpoint) -> None:
    """After `start`, tokens verify without any further fetch."""
    keys = UrlKeySet(endpoint.url, FixedClock())
    assert (False, None, 0) == (keys.is_usable, keys.find("one", "ES256"), keys.generation)
    await keys.start()
    await keys.stop()

    assert (True, 1) == (keys.is_usable, keys.generation)
    assert keys.find("one", "ES256") is not None
    assert ["/jwks"] == endpoint.hits


async def test_one_fetch_per_window(endpoint: Endpoint) -> None:
    """However many unknown key ids come, the issuer sees one request per window."""
    clock = FixedClock()
    keys = UrlKeySet(endpoint.url, clock)
    assert await keys.refresh()
    for _ in range(20):
        assert not await keys.refresh()
    assert 1 == len(endpoint.hits)
    clock.now += REFRESH_WINDOW
    endpoint.say = endpoint.keys(TWO)

    assert await keys.refresh()
    assert (2, None) == (keys.generation, keys.find("one", "ES256"))
    assert 2 == len(endpoint.hits)


async def test_same_keys_void_nothing(endpoint: Endpoint) -> None:
    """A fetch that brings the same keys in another order changes no generation."""
    clock = FixedClock()
    endpoint.say = endpoint.keys(ONE, TWO)
    keys = UrlKeySet(endpoint.url, clock)
    await keys.refresh()
    clock.now += REFRESH_WINDOW
    endpoint.say = endpoint.keys(TWO, ONE)

    assert (False, 1) == (await keys.refresh(), keys.generation)


async def test_waiters_share_one_fetch_and_may_leave(endpoint: Endpoint) -> None:
    """Concurrent requests join the fetch under way; one that is cancelled does not end it."""
    arrived, go_on = asyncio.Event(), asyncio.Event()

    async def slow(_: web.Request) -> web.StreamResponse:
        arrived.set()
        await go_on.wait()
        return web.Response(body=key_set(ONE))

    endpoint.say = slow
    keys = UrlKeySet(endpoint.url, FixedClock())
    waiters = [asyncio.ensure_future(keys.refresh()) for _ in range(5)]
    await arrived.wait()
    waiters[0].cancel()
    go_on.set()
    results = [await waiter for waiter in waiters[1:]]

    assert [True] * 4 == results
    assert 1 == len(endpoint.hits)


@pytest.mark.parametrize(
    "answer",
    [
        Endpoint.status(500),
        Endpoint.status(404),
        Endpoint.status(204),
        Endpoint.status(302, Location="/other"),
    ],
)
async def test_bad_answers_keep_the_last_good_keys(endpoint: Endpoint, answer: Answer) -> None:
    """Errors and redirects change nothing; redirects are never followed."""
    clock = FixedClock()
    failures: list[str] = []
    keys = UrlKeySet(endpoint.url, clock, on_failure=failures.append)
    await keys.refresh()
    clock.now += REFRESH_WINDOW
    endpoint.say = answer

    assert not await keys.refresh()
    assert (1, 1) == (len(failures), keys.generation)
    assert keys.find("one", "ES256") is not None
    assert ["/jwks", "/jwks"] == endpoint.hits


async def test_nothing_is_decompressed(endpoint: Endpoint) -> None:
    """A small compressed body cannot become a large one: it is read as it is, and is no JSON."""

    async def compressed(_: web.Request) -> web.StreamResponse:
        return web.Response(headers={"Content-Encoding": "gzip"}, body=gzip.compress(key_set(ONE)))

    endpoint.say = compressed
    failures: list[str] = []

    assert not await UrlKeySet(endpoint.url, FixedClock(), on_failure=failures.append).refresh()
    assert ["JwksError"] == failures


async def test_huge_answers_are_cut_off(endpoint: Endpoint) -> None:
    """A body without end costs a bounded number of bytes."""

    async def flood(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(b" " * 65536)
        except ConnectionError:
            return response

    endpoint.say = flood
    failures: list[str] = []
    keys = UrlKeySet(endpoint.url, FixedClock(), on_failure=failures.append)

    assert not await keys.refresh()
    assert ["JwksError"] == failures
    assert MAX_SET_BYTES < 2**19


async def test_silence_is_cut_off(endpoint: Endpoint) -> None:
    """An endpoint that never answers costs one bounded wait."""

    async def silence(_: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    endpoint.say = silence
    failures: list[str] = []
    keys = UrlKeySet(endpoint.url, FixedClock(), fetch_time=0.05, on_failure=failures.append)
    await keys.refresh()

    assert not keys.is_usable
    assert 1 == len(failures)


async def test_keys_die_at_their_hard_age(endpoint: Endpoint) -> None:
    """Old keys serve for a day without their issuer, then nothing is accepted any more."""
    clock = FixedClock()
    keys = UrlKeySet(endpoint.url, clock, interval=0.0)
    await keys.refresh()
    endpoint.say = endpoint.status(500)
    clock.now += HARD_AGE - 1
    assert keys.find("one", "ES256") is not None
    clock.now += 1
    assert (False, None) == (keys.is_usable, keys.find("one", "ES256"))
    await keys.start()
    await keys.stop()

    assert 2 == keys.generation


async def test_removed_keys_die_in_the_background(endpoint: Endpoint) -> None:
    """Nobody needs to ask: the loop notices that a key is gone."""
    keys = UrlKeySet(endpoint.url, FixedClock(), interval=0.0)
    await keys.start()
    endpoint.say = endpoint.keys(TWO)
    while keys.generation == 1:
        await asyncio.sleep(0.001)
    await keys.stop()

    assert keys.find("one", "ES256") is None


async def test_stop_ends_a_fetch(endpoint: Endpoint) -> None:
    """Shutting down waits for no issuer; who waited for the fetch is told that nothing changed."""
    arrived = asyncio.Event()

    async def silence(_: web.Request) -> web.StreamResponse:
        arrived.set()
        await asyncio.Event().wait()
        raise AssertionError

    endpoint.say = silence
    keys = UrlKeySet(endpoint.url, FixedClock())
    waiter = asyncio.ensure_future(keys.refresh())
    await arrived.wait()
    await keys.stop()

    assert not await waiter


async def test_own_authority_is_the_only_one(tmp_path: Path) -> None:
    """With `ca`, the endpoint is believed under that authority alone; without, under the system's."""
    pki = DevelopmentPki(tmp_path)
    pki.init()
    issued = pki.issue("idp", "server", dns=["127.0.0.1"])
    one = Endpoint()
    runner = await serve(one, server_context(*issued, pki.clock, client_certificate="none"))
    trusting = UrlKeySet(one.url, FixedClock(), ca=pki.ca("gateway"))
    failures: list[str] = []
    wary = [
        UrlKeySet(one.url, FixedClock(), ca=ca, on_failure=failures.append)
        for ca in (pki.ca("clients"), None)
    ]

    assert await trusting.refresh()
    assert [False, False] == [await keys.refresh() for keys in wary]
    assert ["ClientConnectorCertificateError"] * 2 == failures
    await runner.cleanup()


@pytest.mark.parametrize(
    "url", ["https://idp.example/jwks", "http://127.0.0.1:1/j", "http://[::1]/j", "http://localhost/j"]
)
def test_good_urls(url: str) -> None:
    """Https anywhere, http on this machine."""
    check_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://idp.example/jwks",
        "http://10.0.0.1/j",
        "file:///etc/passwd",
        "ftp://127.0.0.1/",
        "https://u:p@idp.example/",
        "https://u@idp.example/",
        "https:///x",
        "jwks",
    ],
)
def test_bad_urls(url: str) -> None:
    """No plain http over a network, no files, no credentials."""
    with pytest.raises(ValueError, match="URL"):
        UrlKeySet(url, FixedClock())

"""`remote`: keys from an issuer that rotates, is slow, huge, gone or hostile, over real sockets."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from gateway.credentials.destinations import DestinationError
from gateway.credentials.development import DevelopmentPki
from gateway.credentials.fetch import Fetcher
from gateway.credentials.jwk import MAX_SET_BYTES
from gateway.credentials.jwks import REFRESH_WINDOW
from gateway.credentials.remote import HARD_AGE, LONGEST, SHORTEST, Endpoint, UrlKeySet
from gateway.credentials.signing import Signer, generate_key, key_set
from gateway.credentials.tls import server_context

from .parts import FixedClock
from .providers import Exchange, Provider, answering, dripping, providing, silence

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from gateway.credentials.key_news import KeyNews

KEY = generate_key("ES256")
ONE = Signer(KEY, kid="one")
TWO = Signer(generate_key("ES256"), kid="two")
MANY = [Signer(KEY, kid=f"k{number}") for number in range(65)]


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    """An issuer with the first key."""
    async with providing() as one:
        one.say = answering(key_set(ONE))
        yield one


@asynccontextmanager
async def fetching(
    provider: Provider, clock: FixedClock | None = None, **more: Any
) -> AsyncIterator[tuple[UrlKeySet, list[KeyNews]]]:
    """A key set of that issuer, not started, and what it tells."""
    clock = clock or FixedClock()
    news: list[KeyNews] = []
    keys = UrlKeySet(Endpoint(f"{provider.origin}/jwks", Fetcher(clock)), clock, tell=news.append, **more)
    yield keys, news
    await keys.stop()


def whys(news: list[KeyNews]) -> list[str]:
    """Reasons of failures."""
    return [each.why for each in news if each.event == "keys-unavailable"]


async def test_keys_are_fetched_at_the_start(provider: Provider) -> None:
    """After `start`, tokens verify without any further fetch."""
    async with fetching(provider) as (keys, news):
        assert (False, None, 0) == (keys.is_usable, keys.find("one", "ES256"), keys.generation)
        await keys.start()

        assert (True, 1) == (keys.is_usable, keys.generation)
        assert keys.find("one", "ES256") is not None
        assert [("keys-changed", "", 1, ("one",))] == news
    assert ["/jwks"] == provider.targets
    assert "application/jwk-set+json, application/json" == provider.asked[0].fields["Accept"]


async def test_one_fetch_per_window(provider: Provider) -> None:
    """However many unknown key ids come, the issuer sees one request per window."""
    clock = FixedClock()
    async with fetching(provider, clock) as (keys, _):
        assert await keys.refresh()
        for _ in range(20):
            assert not await keys.refresh()
        assert 1 == len(provider.asked)
        clock.now += REFRESH_WINDOW
        provider.say = answering(key_set(TWO))

        assert await keys.refresh()
        assert (2, None) == (keys.generation, keys.find("one", "ES256"))
        assert 2 == len(provider.asked)


async def test_a_flood_of_unknown_keys_costs_one_fetch_per_window(provider: Provider) -> None:
    """A thousand requests at once with key ids that nobody knows: one fetch, and one more a window later."""
    clock = FixedClock()
    async with fetching(provider, clock) as (keys, _):
        for window in range(1, 4):
            flood = [asyncio.ensure_future(keys.refresh()) for _ in range(1000)]
            results = {await each for each in flood}
            assert {window == 1} == results
            assert window == len(provider.asked)
            clock.now += REFRESH_WINDOW


async def test_a_window_is_never_longer(provider: Provider) -> None:
    """Code may shorten the window; with frequent refreshes it is as short as they are."""
    clock = FixedClock()
    async with fetching(provider, clock, refresh=2.0) as (keys, _):
        await keys.refresh()
        clock.now += 2.0
        await keys.refresh()
        assert 2 == len(provider.asked)
    with pytest.raises(ValueError, match="longer"):
        async with fetching(provider, window=31.0):
            pass


async def test_same_keys_void_nothing(provider: Provider) -> None:
    """A fetch that brings the same keys in another order changes no generation."""
    clock = FixedClock()
    provider.say = answering(key_set(ONE, TWO))
    async with fetching(provider, clock) as (keys, news):
        await keys.refresh()
        clock.now += REFRESH_WINDOW
        provider.say = answering(key_set(TWO, ONE))

        assert (False, 1) == (await keys.refresh(), keys.generation)
        assert 1 == len(news)


async def test_waiters_share_one_fetch_and_may_leave(provider: Provider) -> None:
    """Concurrent requests join the fetch under way; one that is cancelled does not end it."""
    arrived, go_on = asyncio.Event(), asyncio.Event()

    async def slow(exchange: Exchange) -> None:
        arrived.set()
        await go_on.wait()
        await exchange.answer(key_set(ONE))

    provider.say = slow
    async with fetching(provider) as (keys, _):
        waiters = [asyncio.ensure_future(keys.refresh()) for _ in range(5)]
        await arrived.wait()
        waiters[0].cancel()
        go_on.set()
        results = [await waiter for waiter in waiters[1:]]

    assert [True] * 4 == results
    assert 1 == len(provider.asked)


FLOOD = dripping(b"HTTP/1.1 200 OK\r\n\r\n", b" " * MAX_SET_BYTES)


@pytest.mark.parametrize(
    ("say", "why"),
    [
        (answering(key_set(TWO), 500), "status-500"),
        (answering(key_set(TWO), 404), "status-404"),
        (answering(b"", 204), "status-204"),
        (answering(key_set(TWO), 302, {"Location": "/other"}), "redirect"),
        (answering(b"<html>"), "the document is not a JSON object in UTF-8"),
        (answering(b'{"keys":[],"keys":[]}'), "the document nests too deeply or names a member twice"),
        (answering(b'{"keys":[]}'), "the set has no key that verifies signatures"),
        (answering(key_set(*MANY)), "the set has more than 64 keys"),
        (answering(key_set(TWO), fields={"Content-Encoding": "gzip"}), "encoding"),
        (FLOOD, "too-large"),
        (silence, "timeout"),
        (dripping(b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n", b"{"), "timeout"),
    ],
)
async def test_bad_answers_keep_the_last_good_keys(provider: Provider, say: Any, why: str) -> None:
    """Whatever an issuer says or does not say, keys that were good stay; redirects are not followed."""
    clock = FixedClock()
    async with fetching(provider, clock) as (keys, news):
        await keys.refresh()
        clock.now += REFRESH_WINDOW
        provider.say = say
        if why == "timeout":
            keys._flight_seconds = 0.05

        assert not await keys.refresh()
        assert ([why], 1) == (whys(news), keys.generation)
        assert keys.find("one", "ES256") is not None
    assert ["/jwks", "/jwks"] == provider.targets


@pytest.mark.parametrize(
    ("fields", "refresh", "pause"),
    [
        ({}, None, SHORTEST),
        ({"Cache-Control": "max-age=10"}, None, SHORTEST),
        ({"Cache-Control": "no-store"}, None, SHORTEST),
        ({"Cache-Control": "max-age=900"}, None, 900.0),
        ({"Cache-Control": "max-age=31536000"}, None, LONGEST),
        ({"Cache-Control": "max-age=900"}, 7.0, 7.0),
    ],
)
async def test_the_issuer_sets_the_pace_within_bounds(
    provider: Provider, fields: dict[str, str], refresh: float | None, pause: float
) -> None:
    """`max-age` counts from five minutes to an hour; the operator's word counts more."""
    provider.say = answering(key_set(ONE), fields=fields)
    async with fetching(provider, refresh=refresh) as (keys, _):
        await keys.refresh()

        assert pause == keys.pause()


async def test_failures_are_tried_again_soon_and_then_seldom(provider: Provider) -> None:
    """After a failure keys are asked for again in half a minute, then ever more slowly."""
    provider.say = answering(b"", 503)
    clock = FixedClock()
    async with fetching(provider, clock) as (keys, news):
        pauses = []
        for _ in range(6):
            await keys.refresh()
            pauses.append(keys.pause())
            clock.now += REFRESH_WINDOW
        provider.say = answering(key_set(ONE))
        await keys.refresh()

        assert [30.0, 60.0, 120.0, 240.0, 300.0, 300.0] == pauses
        assert SHORTEST == keys.pause()
        assert ["keys-unavailable", "keys-back", "keys-changed"] == [each.event for each in news]


async def test_an_issuer_that_is_gone_for_hours(provider: Provider) -> None:
    """Its keys serve for a day and are asked for in vain; then nothing is accepted, until it comes back."""
    clock = FixedClock()
    changes: list[int] = []
    async with fetching(provider, clock) as (keys, news):
        keys.on_change = lambda: changes.append(keys.generation)
        await keys._renew()
        provider.say = answering(b"", 503)
        fetched_at, asked = clock.now, 0
        while clock.now - fetched_at < HARD_AGE:
            assert keys.find("one", "ES256") is not None
            clock.now += keys.pause() * 1.1  # the longest that the background task ever waits
            await keys._renew()
            asked += 1
        assert HARD_AGE + 2 > clock.now - fetched_at  # no later than that: what was proven ends with them
        assert (False, None, 2) == (keys.is_usable, keys.find("one", "ES256"), keys.generation)
        assert [1, 2] == changes
        assert 24 * 12 + 20 > asked  # a fetch in five minutes, and some more at both ends
        await keys._renew()
        assert 2 == keys.generation
        provider.say = answering(key_set(ONE))
        await keys._renew()

        assert (True, 3, [1, 2, 3]) == (keys.is_usable, keys.generation, changes)
        events = [each.event for each in news if each.event != "keys-unavailable"]
        assert ["keys-changed", "keys-expired", "keys-back", "keys-changed"] == events


async def test_keys_die_at_their_hard_age(provider: Provider) -> None:
    """The age is configurable, exact, and counts without anybody fetching."""
    clock = FixedClock()
    async with fetching(provider, clock, hard_age=60.0) as (keys, _):
        await keys.refresh()
        assert 30.0 == keys.pause()
        clock.now += 59.0
        assert keys.find("one", "ES256") is not None
        clock.now += 1.0
        assert (False, None) == (keys.is_usable, keys.find("one", "ES256"))


async def test_keys_die_whatever_goes_wrong(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even by a bug of ours that ends each look: what was proven by them is void as well."""
    clock = FixedClock()
    async with fetching(provider, clock, hard_age=60.0) as (keys, news):
        await keys._renew()
        monkeypatch.setattr("gateway.credentials.remote.parse_set", lambda _: [].pop())
        clock.now += 60.0

        with pytest.raises(IndexError):
            await keys._renew()
        assert (2, "keys-expired") == (keys.generation, news[-1].event)


async def test_removed_keys_die_in_the_background(provider: Provider) -> None:
    """Nobody needs to ask: the loop notices that a key is gone, and tells whoever wants to know."""
    changed = asyncio.Event()
    async with fetching(provider, refresh=0.0) as (keys, news):
        await keys.start()
        seen: list[object] = []
        keys.on_change = lambda: (seen.append((keys.generation, keys.find("one", "ES256"))), changed.set())[0]
        provider.say = answering(key_set(TWO))
        await changed.wait()

        assert [(2, None)] == seen
        assert ("keys-changed", "", 1, ("two",)) == news[-1]


async def test_stop_ends_a_fetch(provider: Provider) -> None:
    """Shutting down waits for no issuer; who waited for the fetch is told that nothing changed."""
    provider.say = silence
    async with fetching(provider) as (keys, _):
        waiter = asyncio.ensure_future(keys.refresh())
        while not provider.asked:
            await asyncio.sleep(0)
        await keys.stop()

        assert not await waiter


async def test_keys_come_over_tls_from_whom_the_operator_trusts(tmp_path: Path) -> None:
    """With `ca` that authority alone is believed; without it, the system's; with a wrong one, nobody."""
    pki = DevelopmentPki(tmp_path)
    pki.init()
    issued = pki.issue("idp", "server", dns=["127.0.0.1"])
    results: list[object] = []
    async with providing(server_context(*issued, pki.clock, client_certificate="none")) as provider:
        provider.say = answering(key_set(ONE))
        for ca in (pki.ca("gateway"), pki.ca("clients"), None):
            news: list[KeyNews] = []
            source = Endpoint(f"{provider.origin}/jwks", Fetcher(pki.clock, ca=ca))
            keys = UrlKeySet(source, pki.clock, tell=news.append)
            results.append((await keys.refresh(), whys(news)))
            await keys.stop()

    assert [(True, []), (False, ["tls"]), (False, ["tls"])] == results


@pytest.mark.parametrize(
    "url", ["http://idp.example/jwks", "https://0x7f.1/jwks", "https://u@idp.example/jwks"]
)
def test_bad_urls_are_refused_at_once(url: str) -> None:
    """A configuration that names one does not load."""
    with pytest.raises(DestinationError):
        Endpoint(url, Fetcher(FixedClock()))

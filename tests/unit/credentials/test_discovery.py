"""`discovery`: where an issuer's keys are, from issuers that are honest, broken, or somebody else."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from gateway.credentials.destinations import DestinationError
from gateway.credentials.discovery import (
    HASTE,
    MAX_DOCUMENT_BYTES,
    PACE,
    RETRY,
    Discovery,
    DiscoveryError,
    Metadata,
    parse_metadata,
    well_known,
)
from gateway.credentials.fetch import Fetcher
from gateway.credentials.remote import HARD_AGE, UrlKeySet
from gateway.credentials.signing import Signer, generate_key, key_set

from .parts import FixedClock
from .providers import Provider, answering, by_path, dripping, providing, silence

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gateway.credentials.key_news import KeyNews

KEYS = key_set(Signer(generate_key("ES256"), kid="one"))
OTHERS = key_set(Signer(generate_key("ES256"), kid="two"))
ISSUER = "https://idp.example/tenant"
CONNECT = "/.well-known/openid-configuration"
OAUTH = "/.well-known/oauth-authorization-server"


def document(issuer: str = ISSUER, **members: object) -> bytes:
    """A document of metadata."""
    return msgspec.json.encode({"issuer": issuer, "jwks_uri": "https://idp.example/jwks"} | members)


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    """An issuer on this machine."""
    async with providing() as one:
        yield one


@asynccontextmanager
async def discovering(
    provider: Provider, clock: FixedClock, path: str = "", **more: Any
) -> AsyncIterator[tuple[UrlKeySet, Discovery, list[KeyNews]]]:
    """A key set whose address is looked up, the look-up, and what is told."""
    news: list[KeyNews] = []
    source = Discovery(provider.origin + path, Fetcher(clock), clock, hard_age=HARD_AGE, **more)
    keys = UrlKeySet(source, clock, tell=news.append)
    yield keys, source, news
    await keys.stop()


def honest(provider: Provider, place: str = CONNECT, **members: object) -> dict[str, bytes]:
    """What an honest issuer publishes, by path."""
    return {
        place: document(provider.origin, **({"jwks_uri": f"{provider.origin}/keys"} | members)),
        "/keys": KEYS,
    }


@pytest.mark.parametrize(
    ("issuer", "connect", "oauth"),
    [
        ("https://idp.example", f"https://idp.example{CONNECT}", f"https://idp.example{OAUTH}"),
        ("https://idp.example/", f"https://idp.example{CONNECT}", f"https://idp.example{OAUTH}"),
        (
            "https://idp.example:8443/a/b",
            f"https://idp.example:8443/a/b{CONNECT}",
            f"https://idp.example:8443{OAUTH}/a/b",
        ),
        ("https://idp.example/a/", f"https://idp.example/a{CONNECT}", f"https://idp.example{OAUTH}/a"),
    ],
)
def test_places_of_metadata(issuer: str, connect: str, oauth: str) -> None:
    """Behind the path for OpenID Connect, before it for OAuth; a last slash does not count."""
    assert (connect, oauth) == well_known(issuer)


@pytest.mark.parametrize(
    "issuer",
    ["idp", "http://idp.example", "https://idp.example?a=b", "https://idp.example#a", "https://2130706433"],
)
def test_issuers_that_nothing_is_fetched_from(issuer: str) -> None:
    """A name that is no URL, or has a query, is refused when the configuration is loaded."""
    with pytest.raises(DestinationError):
        Discovery(issuer, Fetcher(FixedClock()), FixedClock(), hard_age=1.0)


def test_what_counts_in_a_document() -> None:
    """Keys and endpoints; every other member is ignored."""
    text = document(
        token_endpoint="https://idp.example/token",
        introspection_endpoint="https://keys.example/look",
        userinfo_endpoint="http://169.254.169.254/",
        nested={"a": [{"b": None}]},
    )

    assert parse_metadata(text, ISSUER) == Metadata(
        ISSUER, "https://idp.example/jwks", None, "https://idp.example/token"
    )
    assert (
        "https://keys.example/look"
        == parse_metadata(text, ISSUER, [("https", "keys.example", 443)]).introspection_endpoint
    )


@pytest.mark.parametrize(
    "url", [None, 1, "", "http://idp.example/x", "https://u@idp.example/x", "https://evil.example/x"]
)
def test_endpoints_that_are_not_followed(url: object) -> None:
    """They are as if they were not there: keys are found nevertheless."""
    found = parse_metadata(document(token_endpoint=url, introspection_endpoint=url), ISSUER)

    assert (None, None) == (found.introspection_endpoint, found.token_endpoint)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (document("https://idp.example/Tenant"), "of another issuer"),
        (document("https://idp.example/tenant/"), "of another issuer"),
        (document("https://evil.example"), "of another issuer"),
        (b'{"jwks_uri":"https://idp.example/jwks"}', "of another issuer"),
        (document(jwks_uri=1), "names no `jwks_uri`"),
        (b'{"issuer":"https://idp.example/tenant"}', "names no `jwks_uri`"),
        (document(jwks_uri="http://idp.example/jwks"), "must be https"),
        (document(jwks_uri="file:///etc/passwd"), "names no host"),
        (document(jwks_uri="https://idp.example@evil.example/"), "credentials"),
        (document(jwks_uri="https://evil.example/jwks"), "another origin"),
        (document(jwks_uri="https://idp.example:8443/jwks"), "another origin"),
        (document(jwks_uri="https://keys.idp.example/jwks"), "another origin"),
        (document(jwks_uri="http://127.0.0.1/jwks"), "another origin"),
        (document()[:-1] + b',"issuer":"https://idp.example/tenant"}', "a member twice"),
        (document()[:-1] + b',"jwks_uri":"https://idp.example/jwks"}', "a member twice"),
        (b"<html>", "not a JSON object"),
        (b"[" * 20_000, "not a JSON object"),
        (document(a=[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]), "too deeply"),
        (document(a="x" * MAX_DOCUMENT_BYTES), "larger"),
    ],
)
def test_documents_that_are_refused(text: bytes, why: str) -> None:
    """Another issuer's, one that leads elsewhere, and what is no sound JSON."""
    with pytest.raises(DiscoveryError, match=why):
        parse_metadata(text, ISSUER)


def test_listed_origins_are_followed() -> None:
    """Some issuers keep their keys at another host: the operator says which."""
    text = document(jwks_uri="https://KEYS.example:443/certs?p=q")

    assert (
        "https://KEYS.example:443/certs?p=q"
        == parse_metadata(text, ISSUER, [("https", "keys.example", 443)]).jwks_uri
    )


async def test_keys_are_found_by_the_issuer_s_name(provider: Provider) -> None:
    """One look-up, one fetch, keys; the next refresh fetches the keys alone."""
    clock = FixedClock()
    provider.say = by_path(honest(provider, token_endpoint=f"{provider.origin}/token"))
    async with discovering(provider, clock) as (keys, source, _):
        assert await keys.refresh()
        clock.now += HASTE
        await keys.refresh()

        assert keys.find("one", "ES256") is not None
        assert source.metadata is not None
        assert f"{provider.origin}/token" == source.metadata.token_endpoint
    assert [CONNECT, "/keys", "/keys"] == provider.targets
    assert ["application/json"] == [each.fields["Accept"] for each in provider.asked[:1]]


async def test_oauth_metadata_where_there_is_no_openid_connect(provider: Provider) -> None:
    """404 at the first place leads to the second, and to nowhere else."""
    clock = FixedClock()
    provider.say = by_path(honest(provider, OAUTH))
    async with discovering(provider, clock) as (keys, _, news):
        await keys.refresh()
        assert [CONNECT, OAUTH, "/keys"] == provider.targets
    async with discovering(provider, clock, "/tenant") as (keys, _, news):
        await keys.refresh()

        assert [f"/tenant{CONNECT}", f"{OAUTH}/tenant"] == provider.targets[3:]
        assert ["metadata: status-404"] == [each.why for each in news]


@pytest.mark.parametrize(
    ("say", "why"),
    [
        (answering(b"{}", 500), "metadata: status-500"),
        (answering(b"{}", 401), "metadata: status-401"),
        (answering(b"", 302, {"Location": "/elsewhere"}), "metadata: redirect"),
        (answering(b"{}"), "the metadata is of another issuer"),
        (answering(document()), "the metadata is of another issuer"),
        (answering(b"x" * (MAX_DOCUMENT_BYTES + 1)), "metadata: too-large"),
        (answering(b"", fields={"Content-Encoding": "gzip"}), "metadata: encoding"),
        (dripping(b"HTTP/1.1 200 OK\r\n\r\n", b"{"), "timeout"),
        (silence, "timeout"),
    ],
)
async def test_without_metadata_there_are_no_keys(provider: Provider, say: Any, why: str) -> None:
    """Whatever goes wrong is said in a word of ours; only a 404 leads to a second question."""
    provider.say = say
    async with discovering(provider, FixedClock()) as (keys, _, news):
        keys._flight_seconds = 0.05 if why == "timeout" else 10.0
        assert not await keys.refresh()

        assert [("keys-unavailable", why)] == [each[:2] for each in news]
        assert not keys.is_usable
    assert [CONNECT] == provider.targets


async def test_a_lookup_that_fails_empties_nothing(provider: Provider) -> None:
    """Known keys and their known address go on; the look-up is tried again at a slow pace, and said."""
    clock = FixedClock()
    provider.say = by_path(honest(provider))
    async with discovering(provider, clock) as (keys, _, news):
        await keys.refresh()
        provider.say = by_path({"/keys": OTHERS, CONNECT: document("https://evil.example")})
        clock.now += PACE
        await keys.refresh()
        clock.now += RETRY - 1
        await keys.refresh()
        clock.now += 1 + HASTE
        await keys.refresh()

        assert [CONNECT, "/keys", CONNECT, "/keys", "/keys", CONNECT, "/keys"] == provider.targets
        assert keys.find("two", "ES256") is not None
        failed = [each.why for each in news if each.event == "discovery-failed"]
        assert ["the metadata is of another issuer"] * 2 == failed
        assert "keys-unavailable" not in [each.event for each in news]


async def test_keys_that_moved_are_found_again(provider: Provider) -> None:
    """Hourly, and after two failures of the keys in a row."""
    clock = FixedClock()
    provider.say = by_path(honest(provider))
    async with discovering(provider, clock) as (keys, _, _):
        await keys.refresh()
        moved = {CONNECT: document(provider.origin, jwks_uri=f"{provider.origin}/new"), "/new": OTHERS}
        provider.say = by_path(moved)
        for _ in range(3):
            clock.now += HASTE
            await keys.refresh()

        assert [CONNECT, "/keys", "/keys", "/keys", CONNECT, "/new"] == provider.targets
        assert (None, 2) == (keys.find("one", "ES256"), keys.generation)
        provider.say = by_path(honest(provider))
        clock.now += PACE
        await keys.refresh()
        assert [CONNECT, "/keys"] == provider.targets[6:]


async def test_a_document_has_a_hard_age(provider: Provider) -> None:
    """An address that nobody has confirmed for a day is asked no more."""
    clock = FixedClock()
    provider.say = by_path(honest(provider))
    async with discovering(provider, clock) as (keys, _, _):
        await keys.refresh()
        provider.say = by_path({"/keys": KEYS})
        clock.now += HARD_AGE
        await keys.refresh()

        assert [CONNECT, "/keys", CONNECT, OAUTH] == provider.targets

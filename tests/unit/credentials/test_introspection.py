"""`introspection`: questions about tokens, to issuers that are slow, gone, broken, flooded or hostile."""

from __future__ import annotations

import asyncio
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import pytest

from gateway.core.ports import ClientGone
from gateway.core.refusal import Reason, Refusal, Refused, Source
from gateway.credentials import introspection
from gateway.credentials.certificate_files import read_authorities
from gateway.credentials.client_authentication import Certificate, SharedSecret
from gateway.credentials.clock import SystemClock
from gateway.credentials.development import DevelopmentPki
from gateway.credentials.fetch import Fetcher
from gateway.credentials.introspection import MAX_ANSWER_BYTES, IntrospectionClient
from gateway.credentials.tls import server_context
from gateway.wire.driver import Driver

from .parts import NOW, FixedClock
from .providers import Exchange, Provider, answering, dripping, providing, raw, silence

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

GOOD = b'{"active":true}'


@pytest.fixture
def pki(tmp_path: Path) -> DevelopmentPki:
    """Authorities, the issuer's certificate, and ours for it."""
    one = DevelopmentPki(tmp_path)
    one.init()
    one.issue("idp", "server", dns=["127.0.0.1"])
    one.issue("us", spiffe="spiffe://example.org/gateway")
    return one


class Asked:
    """A client, with its clock and what it reported."""

    def __init__(self, provider: Provider, pki: DevelopmentPki, **options: Any) -> None:
        self.clock = FixedClock()
        self.reported: list[str] = []
        self.url: str | None = f"{provider.origin}/introspect"
        certs = pki.directory
        self.client = IntrospectionClient(
            lambda: self.url,
            Fetcher(
                SystemClock(),
                ca=pki.ca("gateway"),
                certificate=certs / "us.pem",
                private_key=certs / "us.key",
            ),
            options.pop("authentication", Certificate("us")),
            self.clock,
            on_failure=self.reported.append,
            **options,
        )

    async def ask(self, token: str, address: str = "192.0.2.1") -> bytes | Refusal:
        """Return an answer, or why there is none."""
        text = token.encode()
        try:
            answer = await self.client.ask(text, sha256(text).digest(), address)
        except Refused as refused:
            return refused.refusal
        return answer.body

    async def note(self, token: str, address: str = "192.0.2.1") -> str:
        """Return the note of a refusal."""
        refusal = await self.ask(token, address)
        assert isinstance(refusal, Refusal)
        assert (Reason.TOKEN_UNCHECKED, Source.GATEWAY) == (refusal.reason, refusal.source)
        assert refusal.retry_after
        return refusal.note


@pytest.fixture
async def provider(pki: DevelopmentPki) -> AsyncIterator[Provider]:
    """An issuer that demands our certificate."""
    clock = SystemClock()
    authorities = read_authorities(pki.ca("clients"), clock)
    context = server_context(
        pki.directory / "idp.pem", pki.directory / "idp.key", clock, authorities=authorities
    )
    async with providing(context) as one:
        one.say = answering(GOOD)
        yield one


@pytest.fixture
async def asked(provider: Provider, pki: DevelopmentPki) -> AsyncIterator[Asked]:
    """A client of it."""
    one = Asked(provider, pki, seconds=0.3)
    await one.client.start()
    yield one
    await one.client.stop()


async def test_a_question_is_a_form(provider: Provider, asked: Asked) -> None:
    """RFC 7662, section 2.1, over mutual TLS; the answer comes back as it is, with the time of asking."""
    answer = await asked.client.ask(b"a+b/c=", b"d", "192.0.2.1")
    [exchange] = provider.asked

    assert (GOOD, NOW) == answer
    assert ("POST", "/introspect") == (exchange.method, exchange.target)
    assert {"token": ["a+b/c="], "token_type_hint": ["access_token"], "client_id": ["us"]} == parse_qs(
        exchange.body.decode()
    )
    assert ("application/json", "application/x-www-form-urlencoded") == (
        exchange.fields["Accept"],
        exchange.fields["Content-Type"],
    )
    assert "Authorization" not in exchange.fields


async def test_a_secret_goes_into_the_field(provider: Provider, pki: DevelopmentPki) -> None:
    """And not into the form."""
    one = Asked(provider, pki, authentication=SharedSecret("us", "s"))
    await one.ask("a")
    await one.client.stop()

    assert "Basic dXM6cw==" == provider.asked[0].fields["Authorization"]
    assert {"token", "token_type_hint"} == parse_qs(provider.asked[0].body.decode()).keys()


async def test_one_question_for_all_who_wait(provider: Provider, asked: Asked) -> None:
    """Two requests with one token cause one question; another token causes its own."""
    answers = await asyncio.gather(*(asked.ask(token) for token in "aaab"))

    assert [GOOD] * 4 == answers
    assert 2 == len(provider.asked) == asked.client.asked


@pytest.mark.parametrize("say", [answering(GOOD), answering(b'{"active":false}'), answering(b"", 500)])
async def test_an_answer_is_repeated_for_two_seconds(
    provider: Provider, asked: Asked, say: Callable[[Exchange], Awaitable[None]]
) -> None:
    """Good, bad or none: the same token is not asked about again at once, and then it is."""
    provider.say = say
    first = await asked.ask("a")
    asked.clock.now += 1.9
    again = await asked.ask("a")
    asked.clock.now += 0.1
    await asked.ask("a")

    assert first == again
    assert 2 == len(provider.asked)


async def test_a_repeated_answer_keeps_its_time(asked: Asked) -> None:
    """Whoever caches it counts from when the issuer was asked."""
    first = await asked.client.ask(b"a", b"d", "x")
    asked.clock.now += 1

    assert first is await asked.client.ask(b"a", b"d", "x")
    assert NOW == first.asked


@pytest.mark.parametrize(
    ("say", "word"),
    [
        (answering(b"", 500), "status-500"),
        (answering(GOOD, 401), "status-401"),
        (answering(GOOD, 201), "status-201"),
        (answering(GOOD, 302, {"Location": "https://evil.example/"}), "redirect"),
        (answering(GOOD, 307, {"Location": "/other"}), "redirect"),
        (answering(b" " * (MAX_ANSWER_BYTES + 1)), "too-large"),
        (answering(GOOD, 200, {"Content-Encoding": "gzip"}), "encoding"),
        (raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"), "truncated"),
        (raw(b"garbage\r\n\r\n"), "malformed"),
        (raw(b""), "closed"),
        (silence, "timeout"),
        (dripping(b"HTTP/1.1 200 OK\r\nContent-Length: 30000\r\n\r\n", b" "), "timeout"),
    ],
)
async def test_an_issuer_that_fails_lets_nobody_in(
    provider: Provider, asked: Asked, say: Callable[[Exchange], Awaitable[None]], word: str
) -> None:
    """Bounded in time and size, following nothing; the record has our word for it, and the log once."""
    provider.say = say
    note = f"the issuer could not be asked: {word}"

    assert note == await asked.note("a")
    assert note == await asked.note("b")
    assert [word] == asked.reported
    asked.clock.now += 10
    assert note == await asked.note("a")
    assert [word] * 2 == asked.reported
    assert {"/introspect"} == set(provider.targets)


async def test_an_issuer_that_comes_back_is_asked(provider: Provider, asked: Asked) -> None:
    """A failure is remembered for its token alone, and not for long."""
    provider.say = answering(b"", 503)
    await asked.note("a")
    provider.say = answering(GOOD)

    assert GOOD == await asked.ask("b")
    asked.clock.now += 2
    assert GOOD == await asked.ask("a")


async def test_nobody_listens(asked: Asked) -> None:
    """The word says so; an endpoint that may not be asked is not asked; one that is not known neither."""
    asked.url = "https://127.0.0.1:9/introspect"
    assert "the issuer could not be asked: unreachable" == await asked.note("a")
    asked.url = "http://idp.example.org/introspect"
    assert "the issuer could not be asked: destination-refused" == await asked.note("b")
    asked.url = None
    assert "the issuer's introspection endpoint is not known" == await asked.note("c")


async def test_an_impostor_is_not_asked(provider: Provider, pki: DevelopmentPki, asked: Asked) -> None:
    """A server of another authority gets no token."""
    pki.issue("impostor", authority="backends", kind="server", dns=["127.0.0.1"])
    certs = pki.directory
    context = server_context(
        certs / "impostor.pem", certs / "impostor.key", SystemClock(), client_certificate="none"
    )
    async with providing(context) as impostor:
        impostor.say = answering(GOOD)
        asked.url = f"{impostor.origin}/introspect"

        assert "the issuer could not be asked: tls" == await asked.note("a")
        assert [] == impostor.asked


async def test_one_client_that_goes_ends_nothing_for_others(provider: Provider, asked: Asked) -> None:
    """As the wire drives lines: `ClientGone` is thrown into one; the other gets the answer."""
    release = asyncio.Event()

    async def say(exchange: Exchange) -> None:
        await release.wait()
        await exchange.answer(GOOD)

    provider.say = say
    ended: list[BaseException | None] = []
    answers: list[bytes | Refusal] = []

    async def line() -> None:
        answers.append(await asked.ask("a"))

    gone, stays = Driver(line(), ended.append), Driver(line(), ended.append)
    gone.resume()
    stays.resume()
    gone.throw(ClientGone())
    assert ["ClientGone"] == [type(each).__name__ for each in ended]
    release.set()
    await asyncio.wait(asked.client._flights.values())
    await asyncio.sleep(0)  # the driver goes on in the next turn of the loop

    assert [GOOD] == answers
    assert 1 == len(provider.asked)


async def test_tokens_that_are_none_cost_their_address(provider: Provider, pki: DevelopmentPki) -> None:
    """Who thinks up tokens soon causes no more questions; others do, and who is believed pays nothing."""
    one = Asked(provider, pki, rate_per_address=(5, 1.0))
    asked = [await one.ask(f"bad-{number}", "10.0.0.1") for number in range(5)]
    refused = {await one.note(f"bad-{number}", "10.0.0.1") for number in range(5, 20)}

    assert [GOOD] * 5 == asked
    assert {"this address has shown more tokens that are none than it may"} == refused
    assert 5 == len(provider.asked)
    for number in range(30):
        assert GOOD == await one.ask(f"good-{number}", "10.0.0.2")
        one.client.believed("10.0.0.2")
    one.clock.now += 1
    assert GOOD == await one.ask("bad-99", "10.0.0.1")
    await one.client.stop()


async def test_the_addresses_of_one_network_are_one(provider: Provider, pki: DevelopmentPki) -> None:
    """Of IPv6 everybody has 2^64: they share an allowance; an IPv4 address is the same however it is written."""
    one = Asked(provider, pki, rate_per_address=(2, 1.0))
    found = [await one.ask(f"bad-{number}", f"2001:db8::{number:x}") for number in range(40)]
    four = [await one.ask(f"four-{address}", address) for address in ("10.0.0.1", "::ffff:10.0.0.1")]
    one.client.believed("2001:db8::ffff")

    assert [GOOD] * 4 == found[:2] + four
    assert 2 == found.count(GOOD)
    assert isinstance(await one.ask("four", "10.0.0.1"), Refusal)
    assert GOOD == await one.ask("next", "2001:db8::1:0:0:1")
    assert GOOD == await one.ask("other", "2001:db8:0:1::1")
    await one.client.stop()


async def test_an_issuer_is_never_flooded(provider: Provider, pki: DevelopmentPki) -> None:
    """From however many addresses: no more questions than it can bear, and the refused address is not charged."""
    one = Asked(provider, pki, rate=(10, 1.0), rate_per_address=(1, 1.0))
    found = [await one.ask(str(number), f"10.0.0.{number}") for number in range(40)]
    notes = {each.note for each in found if isinstance(each, Refusal)}

    assert {"the issuer is asked about as many tokens as it may be"} == notes
    assert 10 == len(provider.asked) == found.count(GOOD)
    one.clock.now += 0.1
    assert GOOD == await one.ask("again", "10.0.0.39")
    await one.client.stop()


async def test_questions_under_way_are_bounded(
    provider: Provider, pki: DevelopmentPki, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An issuer that is slow holds so many questions, and one address a part of them; the rest is refused at once."""
    monkeypatch.setattr(introspection, "MAX_FLIGHTS", 4)
    monkeypatch.setattr(introspection, "MAX_FLIGHTS_PER_ADDRESS", 2)
    provider.say = silence
    one = Asked(provider, pki, seconds=30.0)
    waiting = [
        asyncio.ensure_future(one.ask(f"{address}-{number}", address))
        for address in "ab"
        for number in range(2)
    ]
    await asyncio.sleep(0)

    assert "the issuer is asked about as many tokens as it may be" == await one.note("more", "c")
    waiting[0].cancel()
    monkeypatch.setattr(introspection, "MAX_FLIGHTS", 9)
    assert "this address has shown more tokens that are none than it may" == await one.note("more", "a")
    await one.client.stop()
    ended = await asyncio.gather(*waiting[1:])
    assert {"the gateway is stopping"} == {each.note for each in ended if isinstance(each, Refusal)}
    assert not one.client._flights


async def test_memory_is_bounded(provider: Provider, asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond its capacity everything is forgotten, and asked about again."""
    monkeypatch.setattr(introspection, "CAPACITY", 3)
    for token in "abcda":
        assert GOOD == await asked.ask(token)

    assert 5 == len(provider.asked)
    assert 3 >= len(asked.client._known)
    assert {} == asked.client._of_address

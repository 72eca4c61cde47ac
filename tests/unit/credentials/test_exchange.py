"""`exchange`: tokens for backends, from servers that are slow, gone, broken or wrong."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import jwt
import msgspec
import pytest

from gateway.core.ports import Credential
from gateway.core.refusal import Reason, Refusal, Refused, Source
from gateway.credentials import exchange as module
from gateway.credentials.assertions import SignedAssertions
from gateway.credentials.client_authentication import SharedSecret
from gateway.credentials.clock import SystemClock
from gateway.credentials.exchange import OnwardCredentials, TokenExchange
from gateway.credentials.fetch import Fetcher
from gateway.credentials.signing import Signer, generate_key

from .parts import NOW, FixedClock
from .providers import Exchange, Provider, answering, providing, raw, silence
from .test_assertions import identity

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from gateway.core.identity import Identity

TOKEN = "token-of-the-caller"
ASSERTIONS = SignedAssertions(Signer(generate_key("EdDSA")), "gw")


def granted(token: str = "exchanged", **changed: object) -> bytes:
    """A server's answer, with changes; None leaves a member out."""
    answer = {
        "access_token": token,
        "issued_token_type": module.ACCESS_TOKEN,
        "token_type": "Bearer",
        "expires_in": 300,
    } | changed
    return msgspec.json.encode({name: value for name, value in answer.items() if value is not None})


class Asked:
    """An exchange, with its clock and what it reported."""

    def __init__(self, provider: Provider, **options: Any) -> None:
        self.clock = FixedClock()
        self.reported: list[str] = []
        self.fetcher = Fetcher(SystemClock())
        self.exchange = TokenExchange(
            f"{provider.origin}/token",
            self.fetcher,
            SharedSecret("us", "s"),
            self.clock,
            audience="urn:backend:llama",
            assertions=ASSERTIONS,
            server="https://as.example.org",
            on_failure=self.reported.append,
            **({"seconds": 0.3} | options),
        )

    async def obtain(
        self,
        who: Identity | None = None,
        *,
        token: str | None = TOKEN,
        route: str = "chat",
        model: str = "m",
        rule: str = "r",
    ) -> Credential | Refusal:
        """Do as the line does: what is held, or else obtain it."""
        headers = {} if token is None else {b"authorization": f"Bearer {token}".encode()}
        call = SimpleNamespace(id="request-1", headers=headers)
        permit = SimpleNamespace(
            identity=who or identity(),
            model=model,
            rule=rule,
            route=SimpleNamespace(name=route, backend="llama"),
        )
        try:
            return self.exchange.find(call, permit, self.clock.now) or await self.exchange.obtain(
                call, permit, self.clock.now
            )
        except Refused as refused:
            return refused.refusal


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    """A server that exchanges everything."""
    async with providing() as one:
        one.say = answering(granted())
        yield one


@pytest.fixture
async def asked(provider: Provider) -> AsyncIterator[Asked]:
    """An exchange with it, which is stopped in the end."""
    one = Asked(provider, scopes=("a", "b"))
    yield one
    await one.exchange.stop()
    await one.fetcher.close()


async def test_what_the_caller_proved_becomes_a_token_for_the_backend(
    provider: Provider, asked: Asked
) -> None:
    """RFC 8693, section 2.1: the form; the new token goes into the backend's request, a digest into the record."""
    credential = await asked.obtain()
    [request] = provider.asked

    assert isinstance(credential, Credential)
    assert b"Authorization: Bearer exchanged\r\n" == credential.fields
    assert 16 == len(credential.name)
    assert {
        "grant_type": [module.GRANT],
        "subject_token": [TOKEN],
        "subject_token_type": [module.ACCESS_TOKEN],
        "requested_token_type": [module.ACCESS_TOKEN],
        "audience": ["urn:backend:llama"],
        "scope": ["a b"],
    } == parse_qs(request.body.decode())
    assert request.fields["Authorization"].startswith("Basic ")


async def test_a_token_is_used_until_shortly_before_its_end(provider: Provider, asked: Asked) -> None:
    """Then another one is obtained; and so it is if the clock was set back."""
    first = await asked.obtain()
    asked.clock.now = NOW + 294.9
    assert first is await asked.obtain()
    asked.clock.now = NOW + 295
    assert first is not await asked.obtain()
    asked.clock.now = NOW
    await asked.obtain()

    assert 3 == len(provider.asked) == asked.exchange.exchanged


async def test_a_token_does_not_outlive_the_proof(provider: Provider, asked: Asked) -> None:
    """Nothing is used for longer than it is true."""
    await asked.obtain(identity(expires=NOW + 10))
    asked.clock.now = NOW + 10
    await asked.obtain(identity(expires=NOW + 10))

    assert 2 == len(provider.asked)


@pytest.mark.parametrize("lifetime", [None, 0, -1, "300", True])
async def test_a_token_of_unknown_life_is_used_once(
    provider: Provider, asked: Asked, lifetime: object
) -> None:
    """RFC 8693 only recommends `expires_in`."""
    provider.say = answering(granted(expires_in=lifetime))
    assert isinstance(await asked.obtain(), Credential)
    assert isinstance(await asked.obtain(), Credential)

    assert 2 == len(provider.asked)


@pytest.mark.parametrize(
    "other",
    [
        {"who": identity(key="https://idp.example.org|bob")},
        {"who": identity(token="f" * 16)},
        {"who": identity(key_id="0123")},
        {"who": identity(certificate="g" * 43)},
        {"route": "other"},
    ],
)
async def test_another_proof_has_another_token(
    provider: Provider, asked: Asked, other: dict[str, Any]
) -> None:
    """Nobody is ever sent on under somebody else's token."""
    first = await asked.obtain()
    provider.say = answering(granted("another"))
    second = await asked.obtain(**other)

    assert isinstance(first, Credential)
    assert isinstance(second, Credential)
    assert first.fields != second.fields


@pytest.mark.parametrize(
    "other", [{"model": "n"}, {"rule": "s"}, {"who": identity(key_id="k", roles=frozenset({"less"}))}]
)
async def test_another_assertion_has_another_token(provider: Provider, other: dict[str, Any]) -> None:
    """What was obtained for one model, rule and roles is not sent for others; a caller's own token is no less his."""
    by_assertion, by_token = Asked(provider, subject="assertion"), Asked(provider)
    same = identity(key_id="k", token="0" * 16, roles=frozenset({"more"}))
    if "who" in other:
        other["who"] = replace(other["who"], token="0" * 16)
    first = [await one.obtain(same) for one in (by_assertion, by_token)]
    provider.say = answering(granted("another"))
    second = [await one.obtain(**{"who": same, **other}) for one in (by_assertion, by_token)]
    for one in (by_assertion, by_token):
        await one.exchange.stop()
        await one.fetcher.close()

    assert first[0] != second[0]
    assert first[1] == second[1]


async def test_one_exchange_for_all_who_wait(provider: Provider, asked: Asked) -> None:
    """Concurrent requests with one proof cause one question; one that goes away does not end it."""
    waiting = [asyncio.ensure_future(asked.obtain()) for _ in range(4)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    answers = await asyncio.gather(*waiting[1:])

    assert 1 == len({id(answer) for answer in answers}) == len(provider.asked)


@pytest.mark.parametrize(
    ("say", "word"),
    [
        (answering(b'{"error":"invalid_target"}', 400), "status-400"),
        (answering(b"", 500), "status-500"),
        (answering(granted(), 302, {"Location": "https://evil.example/"}), "redirect"),
        (answering(b" " * (module.MAX_ANSWER_BYTES + 1)), "too-large"),
        (answering(b"[]"), "malformed"),
        (answering(b'{"access_token":"a","access_token":"b"}'), "malformed"),
        (answering(granted(access_token=None)), "malformed"),
        (answering(granted("a b")), "malformed"),
        (answering(granted("a\r\nX-Evil: 1")), "malformed"),
        (answering(granted(token_type="DPoP")), "malformed"),
        (answering(granted(token_type=None)), "malformed"),
        (raw(b"garbage\r\n\r\n"), "malformed"),
        (silence, "timeout"),
    ],
)
async def test_without_a_token_nothing_is_forwarded(
    provider: Provider, asked: Asked, say: Callable[[Exchange], Awaitable[None]], word: str
) -> None:
    """503, our word in the record, no second choice; the failure is repeated for a second and then tried again."""
    provider.say = say
    refusals = [await asked.obtain() for _ in range(3)]

    assert {Reason.BACKEND_TOKEN} == {one.reason for one in refusals if isinstance(one, Refusal)}
    assert {(f"token exchange: {word}", Source.GATEWAY)} == {(one.note, one.source) for one in refusals}  # type: ignore[union-attr]
    assert [word] == asked.reported
    provider.say = answering(granted())
    asked.clock.now += 1
    assert isinstance(await asked.obtain(), Credential)


async def test_a_caller_without_a_token_is_refused_or_vouched_for(provider: Provider, asked: Asked) -> None:
    """Its own token is what is exchanged; or, where the server takes that, what the gateway says of it."""
    refusal = await asked.obtain(identity(token=None), token=None)
    assert isinstance(refusal, Refusal)
    assert "the caller has no token that could be exchanged" == refusal.note
    assert [] == provider.asked
    # a gateway key stands in the same field, and is nobody else's business; nor is a token without a field
    for who, shown in ((identity(token=None, key_id="k"), "gk_key"), (identity(), None)):
        assert refusal == await asked.obtain(who, token=shown)
    assert [] == provider.asked

    vouching = Asked(provider, subject="assertion")
    await vouching.obtain(identity(token=None), token=None)
    await vouching.exchange.stop()
    await vouching.fetcher.close()
    form = parse_qs(provider.asked[0].body.decode())
    claims = jwt.decode(form["subject_token"][0], options={"verify_signature": False})

    assert [module.JWT] == form["subject_token_type"]
    assert ("https://as.example.org", "alice", "request-1") == (
        claims["aud"],
        claims["sub"],
        claims["decision"],
    )
    assert "cnf" not in claims


async def test_exchanges_are_bounded(
    provider: Provider, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither questions under way nor tokens that are kept grow without end."""
    monkeypatch.setattr(module, "MAX_FLIGHTS", 1)
    monkeypatch.setattr(module, "CAPACITY", 1)
    provider.say = silence
    first = asyncio.ensure_future(asked.obtain())
    await asyncio.sleep(0)
    busy = await asked.obtain(identity(token="f" * 16))
    await first
    provider.say = answering(granted())
    for token in ("1", "2", "1"):
        await asked.obtain(identity(token=token))

    assert isinstance(busy, Refusal)
    assert "too many exchanges are under way" == busy.note
    assert 4 == len(provider.asked)


async def test_whoever_waits_when_the_gateway_stops_is_refused(provider: Provider) -> None:
    """Nothing hangs."""
    provider.say = silence
    one = Asked(provider, seconds=30.0)
    waiting = asyncio.ensure_future(one.obtain())
    await asyncio.sleep(0.05)
    await one.exchange.stop()
    refusal = await waiting
    await one.fetcher.close()

    assert isinstance(refusal, Refusal)
    assert "the gateway is stopping" == refusal.note


async def test_each_backend_is_told_in_its_own_way(provider: Provider, asked: Asked) -> None:
    """An assertion for most, at once; a token for those that want one."""
    onward = OnwardCredentials(ASSERTIONS, {"llama": asked.exchange})
    call = SimpleNamespace(id="request-1", headers={b"authorization": b"Bearer t"})
    other, llama = (
        SimpleNamespace(
            identity=identity(), model=None, rule="r", route=SimpleNamespace(name="c", backend=name)
        )
        for name in ("other", "llama")
    )
    assertion = onward.find(call, other, NOW)
    assert assertion is not None
    assert assertion.fields.startswith(b"X-Gateway-Assertion: ")
    assert assertion is await onward.obtain(call, other, NOW)
    assert onward.find(call, llama, NOW) is None
    token = await onward.obtain(call, llama, NOW)

    assert token is onward.find(call, llama, NOW)
    assert token.fields.startswith(b"Authorization: Bearer ")

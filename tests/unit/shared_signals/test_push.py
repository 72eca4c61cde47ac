"""`push`: a transmitter's deliveries over HTTP, one token each (RFC 8935)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec
import pytest
from aiohttp import web

from gateway.shared_signals import push
from gateway.shared_signals.push import MAX_WAITING, MEDIA_TYPE, push_handler

from .parts import World, claims, signed

if TYPE_CHECKING:
    from aiohttp.test_utils import TestClient
    from pytest_aiohttp.plugin import AiohttpClient

SECRET = "push-secret"


async def served(
    aiohttp_client: AiohttpClient, world: World, secret: str | None = SECRET
) -> TestClient[web.Request, web.Application]:
    """Serve the endpoint of one transmitter."""
    app = web.Application()
    reports = world.said
    handler = push_handler(world.receiver, secret, lambda code, why: reports.append((code, {"why": why})))
    app.router.add_post("/signals/idp", handler)
    return await aiohttp_client(app)


async def send(
    client: TestClient[web.Request, web.Application], token: bytes, **headers: str
) -> tuple[int, dict[str, str]]:
    """Push one token; return status and error document."""
    fields = {"content-type": MEDIA_TYPE, "authorization": f"Bearer {SECRET}"} | headers
    async with client.post("/signals/idp", data=token, headers=fields) as answer:
        body = await answer.read()
        return answer.status, msgspec.json.decode(body) if body else {}


async def test_a_taken_token_is_acknowledged(aiohttp_client: AiohttpClient) -> None:
    """202 without a body, once it is durable."""
    world = World()
    client = await served(aiohttp_client, world)

    assert (202, {}) == await send(client, signed(claims()))
    assert 1 == len(world.sink.held)


async def test_the_endpoint_needs_no_secret(aiohttp_client: AiohttpClient) -> None:
    """The signature is what proves the transmitter."""
    client = await served(aiohttp_client, World(), None)

    assert 202 == (await send(client, signed(claims()), authorization="x"))[0]


@pytest.mark.parametrize(
    ("token", "headers", "expected"),
    [
        (signed(claims()), {"authorization": "Bearer wrong"}, (401, {"err": "authentication_failed"})),
        (signed(claims()), {"authorization": ""}, (401, {"err": "authentication_failed"})),
        (signed(claims()), {"content-type": "application/jwt"}, (400, {"err": "invalid_request"})),
        (b"garbage", {}, (400, {"err": "invalid_request"})),
        (signed(claims(iss="https://evil.example.org")), {}, (400, {"err": "invalid_issuer"})),
        (signed(claims(aud="x")), {}, (400, {"err": "invalid_audience"})),
        (signed(claims(), kid="unknown"), {}, (400, {"err": "invalid_key"})),
    ],
)
async def test_what_is_not_taken_is_answered_with_a_code(
    aiohttp_client: AiohttpClient, token: bytes, headers: dict[str, str], expected: tuple[int, dict[str, str]]
) -> None:
    """RFC 8935, section 2.4: which kind of check failed, and not a word of the token."""
    world = World()

    assert expected == await send(await served(aiohttp_client, world), token, **headers)
    assert {} == world.sink.held


async def test_who_is_not_believed_is_told_what_is_asked_for(aiohttp_client: AiohttpClient) -> None:
    """A 401 has a challenge (RFC 9110, section 15.5.2)."""
    client = await served(aiohttp_client, World())
    async with client.post("/signals/idp", data=b"x") as answer:
        assert (401, 'Bearer realm="signals"') == (answer.status, answer.headers["WWW-Authenticate"])


async def test_more_than_can_be_verified_at_once_comes_again(
    aiohttp_client: AiohttpClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """503 at once, instead of a queue that strangers could make."""
    world = World()
    waiting, go_on = 0, asyncio.Event()
    full = asyncio.Event()

    async def slowly(_: object) -> None:
        nonlocal waiting
        waiting += 1
        if waiting == MAX_WAITING:
            full.set()
        await go_on.wait()

    monkeypatch.setattr(world.sink, "add", slowly)
    client = await served(aiohttp_client, world)
    first = [asyncio.ensure_future(send(client, signed(claims(jti=f"{n}")))) for n in range(MAX_WAITING)]
    await full.wait()
    more = await send(client, signed(claims()))
    go_on.set()

    assert 503 == more[0]
    assert {202} == {(await each)[0] for each in first}


async def test_a_body_without_end_is_not_read(aiohttp_client: AiohttpClient) -> None:
    """More than a token can be is refused while it arrives."""
    client = await served(aiohttp_client, World())

    assert (413, {"err": "invalid_request"}) == await send(client, b"x" * 20_000)


async def test_who_sends_slowly_holds_up_nobody(
    aiohttp_client: AiohttpClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many strangers begin a token and never end it: a transmitter is heard, and they are let go."""
    monkeypatch.setattr(push, "BODY_SECONDS", 0.5)
    client = await served(aiohttp_client, World(), None)
    head = (
        f"POST /signals/idp HTTP/1.1\r\nHost: x\r\nContent-Type: {MEDIA_TYPE}\r\nContent-Length: 9\r\n\r\nx"
    )
    strangers = [await asyncio.open_connection(client.host, client.port) for _ in range(MAX_WAITING)]
    for _, writer in strangers:
        writer.write(head.encode())
    statuses = {(await send(client, signed(claims(jti=f"j-{number}"))))[0] for number in range(20)}
    answers = {(await reader.readline()).split()[1] for reader, _ in strangers}
    for _, writer in strangers:
        writer.close()

    assert {202} == statuses
    assert {b"408"} == answers


async def test_what_cannot_be_made_durable_comes_again(aiohttp_client: AiohttpClient) -> None:
    """503: the transmitter keeps the token."""
    world = World()
    world.sink.is_away = True

    assert 503 == (await send(await served(aiohttp_client, world), signed(claims())))[0]

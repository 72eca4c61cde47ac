"""`poll`: asking a transmitter over real sockets, and noticing that it has gone silent (RFC 8936)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, final

import pytest
from aiohttp import web

from gateway.credentials.fetch import Fetcher
from gateway.shared_signals.poll import Heartbeat, Poller
from tests.unit.stages.identify.parts import ISSUER

from .parts import World, claims, signed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pytest_aiohttp.plugin import AiohttpServer

    from gateway.credentials.fetch import Fetched


@final
class Provider:
    """A transmitter's endpoints, and what they were asked."""

    def __init__(self) -> None:
        self.waiting: dict[str, str] = {}
        self.asked: list[dict[str, Any]] = []
        self.verifications: list[dict[str, Any]] = []
        self.answer: web.Response | None = None
        self.page = 100

    async def poll(self, request: web.Request) -> web.Response:
        """Give what waits, forget what is acknowledged or cannot be taken."""
        question = await request.json()
        self.asked.append(question)
        if self.answer is not None:
            return self.answer
        for name in (*question.get("ack", ()), *question.get("setErrs", {})):
            self.waiting.pop(name, None)
        given = dict(list(self.waiting.items())[: min(self.page, question["maxEvents"])])
        return web.json_response({"sets": given, "moreAvailable": len(given) < len(self.waiting)})

    async def verify(self, request: web.Request) -> web.Response:
        """Keep the question."""
        self.verifications.append(await request.json())
        return web.Response(status=204)


@final
class Asked:
    """Posts as the composition does: over the bounded client, with a bearer token."""

    def __init__(self, world: World) -> None:
        self.fetcher = Fetcher(world.clock)

    async def __call__(self, url: str, document: object, /) -> Fetched:
        return await self.fetcher.post(
            url, json=document, headers={"Authorization": "Bearer poll"}, statuses={200, 204}
        )


@pytest.fixture
async def provider(aiohttp_server: AiohttpServer) -> tuple[Provider, str]:
    """A running transmitter, and its URL."""
    one = Provider()
    app = web.Application()
    app.router.add_post("/poll", one.poll)
    app.router.add_post("/verify", one.verify)
    server = await aiohttp_server(app)
    return one, f"http://127.0.0.1:{server.port}"


@pytest.fixture
def world() -> World:
    """A receiver."""
    return World()


@pytest.fixture
async def ask(world: World) -> AsyncIterator[Asked]:
    """A client that is closed in the end."""
    one = Asked(world)
    yield one
    await one.fetcher.close()


def poller(world: World, ask: Asked, url: str) -> Poller:
    """A poller that reports to the world."""
    return Poller(f"{url}/poll", ask, world.receiver, 3600.0, lambda word: world.said.append((word, {})))


def events(count: int) -> dict[str, str]:
    """Tokens that wait, by their names."""
    return {
        f"e{number}": signed(
            claims(jti=f"e{number}", sub_id={"format": "iss_sub", "iss": ISSUER, "sub": f"u{number}"})
        ).decode()
        for number in range(count)
    }


async def test_everything_that_waits_is_taken_and_acknowledged(
    provider: tuple[Provider, str], world: World, ask: Asked
) -> None:
    """Page by page, until there is no more and the last acknowledgement has arrived."""
    one, url = provider
    one.waiting, one.page = events(5), 2
    await poller(world, ask, url).poll()

    assert 5 == len(world.sink.held)
    assert {} == one.waiting
    assert ["e0", "e1"] == one.asked[1]["ack"]


async def test_what_cannot_be_taken_is_said_and_not_asked_for_again(
    provider: tuple[Provider, str], world: World, ask: Asked
) -> None:
    """Each with its code; the others are taken all the same."""
    one, url = provider
    one.waiting = {"bad": "garbage", "odd": 7, "other": signed(claims(aud="x")).decode(), **events(1)}  # type: ignore[dict-item]  # what must not be there
    await poller(world, ask, url).poll()

    assert 1 == len(world.sink.held)
    assert {} == one.waiting
    assert {
        "bad": {"err": "invalid_request"},
        "odd": {"err": "invalid_request"},
        "other": {"err": "invalid_audience"},
    } == one.asked[1]["setErrs"]


async def test_nothing_that_waits_is_asked_for_once(
    provider: tuple[Provider, str], world: World, ask: Asked
) -> None:
    """And once more if there is only a fault to be told: it would come again with every poll."""
    one, url = provider
    await poller(world, ask, url).poll()
    assert 1 == len(one.asked)
    one.waiting = {"bad": "garbage"}
    await poller(world, ask, url).poll()

    assert ({}, 3) == (one.waiting, len(one.asked))


async def test_a_token_under_another_name_is_acknowledged_under_the_given_one(
    provider: tuple[Provider, str], world: World, ask: Asked
) -> None:
    """Or it would come for ever."""
    one, url = provider
    one.waiting = {"mislabelled": signed(claims()).decode()}
    await poller(world, ask, url).poll()

    assert {} == one.waiting
    assert ("name-mismatch", {}) in world.said


async def test_what_is_not_durable_is_not_acknowledged(
    provider: tuple[Provider, str], world: World, ask: Asked
) -> None:
    """It is asked for again with the next poll."""
    one, url = provider
    one.waiting, one.page = events(3), 2
    world.sink.is_away = True
    await poller(world, ask, url).poll()
    assert (3, 1) == (len(one.waiting), len(one.asked))
    world.sink.is_away = False
    await poller(world, ask, url).poll()

    assert {} == one.waiting
    assert [("store-unavailable", {})] == [said for said in world.said if said[0] == "store-unavailable"]


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (lambda: web.Response(status=500), "status-500"),
        (lambda: web.Response(text="nonsense"), "malformed"),
        (lambda: web.json_response([1]), "malformed"),
        (lambda: web.json_response({"sets": [1]}), "malformed"),
        (lambda: web.Response(body=b"x" * 300_000), "too-large"),
    ],
)
async def test_a_broken_transmitter_changes_nothing(
    provider: tuple[Provider, str], world: World, ask: Asked, answer: Any, word: str
) -> None:
    """One word in the log, and the next poll comes at its time."""
    one, url = provider
    one.answer = answer()
    await poller(world, ask, url).poll()

    assert [(word, {})] == world.said
    assert 1 == len(one.asked)


async def test_silence_is_noticed_once_and_so_is_its_end(
    provider: tuple[Provider, str], world: World, ask: Asked
) -> None:
    """Three intervals without a word: then a sign of life, which a verification event is."""
    one, url = provider
    beat = Heartbeat(
        f"{url}/verify",
        "stream-1",
        ask,
        world.receiver,
        world.clock,
        60.0,
        lambda word: world.said.append((word, {})),
    )
    await beat.beat()
    assert not beat.is_silent
    world.clock.now += 181
    await beat.beat()
    await beat.beat()
    assert beat.is_silent
    kind = "https://schemas.openid.net/secevent/ssf/event-type/verification"
    await world.receiver.take(signed(claims(kind, iat=int(world.clock.now), sub_id=None)))
    await beat.beat()

    assert ["silent", "signal-verification", "back"] == [event for event, _ in world.said]
    assert ["stream-1"] * 4 == [one["stream_id"] for one in one.verifications]


async def test_a_transmitter_that_cannot_be_asked_is_said(world: World, ask: Asked) -> None:
    """The failure has a word; silence is noticed all the same."""
    beat = Heartbeat(
        "http://127.0.0.1:9/verify",
        "s",
        ask,
        world.receiver,
        world.clock,
        60.0,
        lambda word: world.said.append((word, {})),
    )
    beat.start()
    await beat.beat()
    await beat.stop()

    assert [("unreachable", {})] == world.said


async def test_polling_begins_and_ends(provider: tuple[Provider, str], world: World, ask: Asked) -> None:
    """In the background, until it is stopped."""
    one, url = provider
    running = Poller(f"{url}/poll", ask, world.receiver, 0.001, lambda word: None)
    running.start()
    while not one.asked:
        await ask(f"{url}/verify", {})
    await running.stop()

    assert one.asked

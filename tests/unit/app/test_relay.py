"""Operators' requests passed on to a worker's application, over real sockets."""

from __future__ import annotations

import asyncio
import socket
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import httpx
import pytest
from aiohttp import web

from gateway.admin import AdminSources, build_admin, build_admin_runner
from gateway.app import relay as module
from gateway.app.door import Door, Purpose
from gateway.app.relay import Relay
from gateway.credentials.clock import SystemClock
from gateway.wire.tasks import spawn

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

SOURCES = AdminSources(
    readiness=dict, metrics=lambda: b"", keys=dict, status=dict, operations=None, clock=SystemClock()
)


class Place:
    """A supervisor's listener, and doors to workers of the test."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self.stack = stack
        self.refuses = False
        self.doors: list[socket.socket] = []
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []

    async def listen(self, token: str | None) -> None:
        """Open the supervisor's listener."""
        app = build_admin(SOURCES, token=token, elsewhere=Relay(lambda _path: self.doors).pass_on)
        runner = build_admin_runner(app, shutdown_seconds=0.1)
        await runner.setup()
        self.stack.push_async_callback(runner.cleanup)
        listening = socket.create_server(("127.0.0.1", 0))
        await web.SockSite(runner, listening).start()
        self.base = f"http://127.0.0.1:{listening.getsockname()[1]}"

    def behind(self, serve: Callable[[socket.socket], object]) -> None:
        """Make a door."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        door = Door(theirs, {Purpose.ADMIN: serve}, lambda: None)
        door.open()
        for call in (theirs.close, ours.close, door.close):
            self.stack.callback(call)
        self.doors.append(ours)

    async def worker(self) -> None:
        """Add a worker with an application."""

        async def act(request: web.Request) -> web.Response:
            self.asked.append((request.method, request.path_qs, dict(request.headers), await request.read()))
            return web.json_response({"done": True}, status=201, headers={"X-Own": "yes"})

        app = web.Application()

        async def run(_request: web.Request) -> web.Response:
            if self.refuses:
                raise web.HTTPUnauthorized
            return web.json_response({"running": 1, "exchanges": [{"id": "a"}]})

        app.router.add_route("*", "/v1/things", act)
        app.router.add_route("*", "/v1/running", run)
        runner = build_admin_runner(app, shutdown_seconds=0.1)
        await runner.setup()
        self.stack.push_async_callback(runner.cleanup)

        async def admit(connection: socket.socket) -> None:
            assert runner.server is not None
            await asyncio.get_running_loop().connect_accepted_socket(runner.server, connection)

        self.behind(lambda connection: spawn(admit(connection), "admit"))

    async def ask(self, method: str, path: str, **more: object) -> httpx.Response:
        """Ask the supervisor."""
        async with httpx.AsyncClient(trust_env=False) as client:
            return await client.request(method, self.base + path, **more)  # type: ignore[arg-type]


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    """A supervisor without a token."""
    async with AsyncExitStack() as stack:
        made = Place(stack)
        await made.listen(None)
        yield made


async def test_a_call_and_its_answer_cross_whole(place: Place) -> None:
    """Method, path, query, fields and body one way; status, fields and body the other."""
    await place.worker()
    answer = await place.ask(
        "POST",
        "/v1/things?a=%20b",
        content=b'{"x": 1}',
        headers={"Authorization": "Bearer t", "X-A": "b", "Gateway-Operator-Address": "forged"},
    )
    [(method, path, headers, body)] = place.asked

    assert (201, {"done": True}, "yes") == (answer.status_code, answer.json(), answer.headers["x-own"])
    assert ("POST", "/v1/things?a=%20b", b'{"x": 1}') == (method, path, body)
    assert "127.0.0.1" == headers["Gateway-Operator-Address"]
    assert ("Bearer t", "b", "close") == (headers["Authorization"], headers["X-A"], headers["Connection"])
    assert "nosniff" == answer.headers["x-content-type-options"]


async def test_who_runs_is_asked_of_all(place: Place) -> None:
    """Numbers are added, lists put together; a worker that refuses is not outvoted, a dead one left out."""
    none = await place.ask("GET", "/v1/running")
    for _ in range(2):
        await place.worker()
    both = await place.ask("GET", "/v1/running")
    posted = await place.ask("POST", "/v1/running")
    place.refuses = True
    refused = await place.ask("GET", "/v1/running")

    assert {"running": 2, "exchanges": [{"id": "a"}, {"id": "a"}]} == both.json()
    assert {"running": 1, "exchanges": [{"id": "a"}]} == posted.json()
    assert [503, 200, 200, 401] == [answer.status_code for answer in (none, both, posted, refused)]


async def test_other_answers_cross_too(place: Place) -> None:
    """Whatever the status, it ends where it ends."""
    await place.worker()

    assert 201 == (await place.ask("DELETE", "/v1/things")).status_code
    assert 404 == (await place.ask("GET", "/v1/nothing")).status_code


async def test_the_worker_asks_for_the_token(place: Place) -> None:
    """The supervisor keeps its own paths, and leaves the others to whoever answers them."""
    await place.listen("t0ken")
    await place.worker()
    codes = [(await place.ask("GET", path)).status_code for path in ("/v1/status", "/v1/things", "/livez")]

    assert [401, 201, 200] == codes


async def test_a_dead_worker_is_passed_over(place: Place) -> None:
    """The next one is asked; if there is none, that is said."""
    none = await place.ask("POST", "/v1/things")
    ours, theirs = socket.socketpair()
    theirs.close()
    place.doors.append(ours)
    dead = await place.ask("POST", "/v1/things")
    await place.worker()
    found = await place.ask("POST", "/v1/things")
    ours.close()

    assert [503, 503, 201] == [answer.status_code for answer in (none, dead, found)]


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nnine byte",
    ],
)
async def test_a_worker_that_does_not_answer(
    place: Place, answer: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing, something else, half an answer or too much of one: 503, and no other worker is asked."""
    monkeypatch.setattr(module, "MAX_ANSWER", 8)

    def serve(connection: socket.socket) -> None:
        connection.sendall(answer)
        connection.shutdown(socket.SHUT_WR)
        held.append(connection)

    held: list[socket.socket] = []
    place.behind(serve)
    await place.worker()
    said = await place.ask("POST", "/v1/things")
    for one in held:
        one.close()

    assert (503, []) == (said.status_code, place.asked)


async def test_a_worker_that_is_silent(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not waited for without end."""
    monkeypatch.setattr(module, "SECONDS", 0.02)
    held: list[socket.socket] = []
    place.behind(held.append)
    said = await place.ask("POST", "/v1/things")
    held[0].close()

    assert 503 == said.status_code

"""The operators' listener."""

from __future__ import annotations

import socket
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp import ClientSession
from aiohttp.test_utils import TestClient, TestServer
from aiohttp.web import Request, Response, SockSite

from gateway.admin import AdminSources, build_admin, build_admin_runner
from gateway.credentials.clock import SystemClock

TOKEN = "t0ken"


class NoOperations:
    """Nothing runs and nothing is revoked."""

    async def revoke(self, revocations: object, by: str) -> tuple[int, bool]:
        raise AssertionError(revocations)

    async def release(self, id: str, by: str) -> None:
        return None

    def held(self) -> tuple[()]:
        return ()

    def state(self) -> dict[str, object]:
        return {}

    def running(self) -> tuple[()]:
        return ()


class Gateway:
    """What the listener asks."""

    def __init__(self) -> None:
        self.parts = {"audit": True, "keys": True}
        self.threads: list[int] = []

    def metrics(self) -> bytes:
        self.threads.append(threading.get_ident())
        return b"gateway_up 1\n"

    def sources(self) -> AdminSources:
        return AdminSources(
            readiness=lambda: self.parts,
            metrics=self.metrics,
            keys=lambda: {"keys": [{"kty": "OKP"}]},
            status=lambda: {"version": "1.0", "uptime": 5},
            operations=NoOperations(),
            clock=SystemClock(),
        )


Get = Callable[..., Any]


@pytest.fixture
def gateway() -> Gateway:
    """Return a gateway that is well."""
    return Gateway()


@pytest.fixture(params=[None, TOKEN])
async def get(request: pytest.FixtureRequest, gateway: Gateway) -> AsyncIterator[Get]:
    """Serve on a free port; return a function that gets a path."""
    runner = build_admin_runner(build_admin(gateway.sources(), token=request.param), shutdown_seconds=0.1)
    await runner.setup()
    listening = socket.create_server(("127.0.0.1", 0))
    await SockSite(runner, listening).start()
    base = f"http://127.0.0.1:{listening.getsockname()[1]}"
    async with ClientSession() as session:

        async def get(
            path: str,
            *,
            method: str = "GET",
            token: str | None = TOKEN,
            headers: dict[str, str] | None = None,
        ) -> tuple[int, Any, bytes]:
            headers = {**(headers or {}), **({} if token is None else {"Authorization": f"Bearer {token}"})}
            async with session.request(method, base + path, headers=headers) as answer:
                return answer.status, answer.headers, await answer.read()

        get.has_token = request.param is not None  # type: ignore[attr-defined]
        yield get
    await runner.cleanup()


@pytest.mark.parametrize("token", [None, "wrong"])
@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/livez", b"ok\n"),
        ("/readyz", b'{"ready":true,"parts":{"audit":true,"keys":true}}'),
        ("/.well-known/jwks.json", b'{"keys":[{"kty":"OKP"}]}'),
    ],
)
async def test_health_and_keys_are_open(get: Get, path: str, expected: bytes, token: str | None) -> None:
    """Probes and backends carry no token."""
    status, _, body = await get(path, token=token)

    assert (200, expected) == (status, body)


@pytest.mark.parametrize("path", ["/metrics", "/v1/status", "/livez"])
@pytest.mark.parametrize(
    ("host", "is_name"),
    [
        ("127.0.0.1:9443", False),
        ("localhost", False),
        ("LocalHost:9443", False),
        ("[::1]:9443", False),
        ("10.1.2.3", False),
        ("attacker.example:9443", True),
        ("127.0.0.1.attacker.example", True),
        ("localhost.attacker.example:80", True),
        ("nonsense:", True),
    ],
)
async def test_nobody_is_led_here_by_a_name_of_his_own(get: Get, path: str, host: str, is_name: bool) -> None:
    """A web page whose name leads to this address (DNS rebinding) reads nothing: where no token is asked for."""
    status, _, _ = await get(path, headers={"Host": host})
    is_refused = is_name and path != "/livez" and not get.has_token  # type: ignore[attr-defined]

    assert (421 if is_refused else 200) == status


async def test_transmitters_come_by_a_name(get: Get) -> None:
    """Through whatever leads them here: a push proves its caller itself."""
    status, _, _ = await get("/signals/nobody", method="POST", headers={"Host": "gateway.example.org"})

    assert 404 == status


async def test_readiness_names_what_is_missing(get: Get, gateway: Gateway) -> None:
    """503 takes the gateway out of rotation; the reason is readable."""
    gateway.parts["audit"] = False
    status, _, body = await get("/readyz")

    assert (503, b'{"ready":false,"parts":{"audit":false,"keys":true}}') == (status, body)


async def test_metrics_are_rendered_off_the_loop(get: Get, gateway: Gateway) -> None:
    """A scrape takes milliseconds that requests to models must not wait for."""
    status, headers, body = await get("/metrics")

    assert (200, b"gateway_up 1\n") == (status, body)
    assert "text/plain; version=0.0.4; charset=utf-8" == headers["Content-Type"]
    assert threading.get_ident() not in gateway.threads


async def test_status_answers_what_operators_ask_first(get: Get) -> None:
    """Version and uptime."""
    status, headers, body = await get("/v1/status")

    assert (200, b'{"version":"1.0","uptime":5}') == (status, body)
    assert "application/json" == headers["Content-Type"]


@pytest.mark.parametrize("path", ["/metrics", "/v1/status", "/unknown", "/livez/", "//livez"])
@pytest.mark.parametrize("token", [None, "", "wrong", TOKEN + "x", TOKEN[:-1], "\u00e4"])
async def test_everything_else_asks_for_the_token(get: Get, path: str, token: str | None) -> None:
    """Where one is configured; also for paths that do not exist."""
    status, headers, _ = await get(path, token=token)

    if get.has_token:  # type: ignore[attr-defined]
        assert (401, 'Bearer realm="admin"') == (status, headers["WWW-Authenticate"])
    else:
        assert (200 if path in {"/metrics", "/v1/status"} else 404) == status


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [("GET", "/unknown", 404), ("POST", "/livez", 405), ("DELETE", "/metrics", 405)],
)
async def test_what_does_not_exist_is_a_problem_document(
    get: Get, method: str, path: str, expected: int
) -> None:
    """Nothing of the framework shows, and nothing can be changed here."""
    status, headers, body = await get(path, method=method)

    assert expected == status
    assert "application/problem+json" == headers["Content-Type"]
    assert b'"status":%d' % expected in body


@pytest.mark.parametrize("path", ["/livez", "/metrics", "/unknown"])
async def test_answers_tell_nothing_about_us(get: Get, path: str) -> None:
    """No Server field, no caching, no sniffing."""
    _, headers, _ = await get(path)

    assert "Server" not in headers
    assert ("no-store", "nosniff") == (headers["Cache-Control"], headers["X-Content-Type-Options"])


async def test_public_keys_may_be_kept(get: Get) -> None:
    """Backends fetch them again every five minutes, not for every request."""
    _, headers, _ = await get("/.well-known/jwks.json")

    assert "public, max-age=300" == headers["Cache-Control"]


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/livez", 200),
        ("GET", "/metrics", 401),
        ("GET", "/v1/status", 401),
        ("POST", "/v1/revocations", 401),
        ("GET", "/somewhere", 418),
        ("DELETE", "/metrics", 418),
    ],
)
async def test_what_is_answered_elsewhere_proves_its_callers_there(
    gateway: Gateway, method: str, path: str, expected: int
) -> None:
    """What is answered here asks for the token all the same."""

    async def elsewhere(_: Request) -> Response:
        return Response(status=418)

    app = build_admin(gateway.sources(), token=TOKEN, elsewhere=elsewhere)
    async with TestClient(TestServer(app)) as client, client.request(method, path) as answer:
        assert expected == answer.status


def test_an_empty_token_is_refused(gateway: Gateway) -> None:
    """A secret file that is empty must not open the door to `Bearer `."""
    with pytest.raises(ValueError, match="empty"):
        build_admin(gateway.sources(), token="")

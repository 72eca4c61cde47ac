"""Revoking, lifting and looking through the operators' listener."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable
from hashlib import sha256
from typing import Any

import msgspec
import pytest
from aiohttp import ClientSession
from aiohttp.test_utils import TestClient, TestServer
from aiohttp.web import SockSite

from gateway.admin import AdminSources, build_admin, build_admin_runner
from gateway.core.exchange import Exchange
from gateway.core.identity import Identity, Peer
from gateway.core.ports import StoreUnavailable
from gateway.core.prompt import Prompt
from gateway.core.revocation import Revocation, Target
from gateway.core.revoking import RevocationsFull
from tests.doubles.line import Line
from tests.doubles.outside import WALL, ManualClock

TOKEN = "t0ken"
FINGERPRINT = "f" * 43
OPERATOR = f"operator token {sha256(TOKEN.encode()).hexdigest()[:16]}, from 127.0.0.1"


class Fleet:
    """What stands behind the API."""

    def __init__(self) -> None:
        self.done: list[tuple[Revocation, str]] = []
        self.lifted: list[tuple[str, str]] = []
        self.is_stored = True
        self.fails: Exception | None = None
        self.rows: list[Revocation] = []
        self.exchanges: list[Exchange] = []

    async def revoke(self, revocations: Any, by: str) -> tuple[int, bool]:
        if self.fails is not None:
            raise self.fails
        [revocation] = revocations
        self.done.append((revocation, by))
        return 3, self.is_stored

    async def release(self, id: str, by: str) -> Revocation | None:
        if self.fails is not None:
            raise self.fails
        self.lifted.append((id, by))
        return Revocation(id, Target.SUBJECT, "a|b", 1.0) if id == "known" else None

    def held(self) -> list[Revocation]:
        return self.rows

    def state(self) -> dict[str, object]:
        return {"held": len(self.rows), "current": True}

    def running(self) -> list[Exchange]:
        return self.exchanges


Ask = Callable[..., Any]


@pytest.fixture
def fleet() -> Fleet:
    """A fleet that does what it is told."""
    return Fleet()


@pytest.fixture
async def ask(fleet: Fleet) -> AsyncIterator[Ask]:
    """Serve on a free port; return a function that asks."""
    sources = AdminSources(
        readiness=dict, metrics=bytes, keys=dict, status=dict, operations=fleet, clock=ManualClock()
    )
    runner = build_admin_runner(build_admin(sources, token=TOKEN), shutdown_seconds=0.1)
    await runner.setup()
    listening = socket.create_server(("127.0.0.1", 0))
    await SockSite(runner, listening).start()
    base = f"http://127.0.0.1:{listening.getsockname()[1]}"
    async with ClientSession() as session:

        async def ask(method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
            fields = {"Authorization": f"Bearer {TOKEN}"} | {
                k.replace("_", "-"): v for k, v in headers.items()
            }
            data = body if isinstance(body, bytes) or body is None else msgspec.json.encode(body)
            if body is not None:
                fields.setdefault("Content-Type", "application/json")
            async with session.request(method, base + path, data=data, headers=fields) as answer:
                text = await answer.read()
                return answer.status, msgspec.json.decode(text)

        yield ask
    await runner.cleanup()


@pytest.mark.parametrize(
    ("body", "before"),
    [
        ({"target": "subject", "value": "https://idp|ada"}, WALL),
        ({"target": "subject", "value": "a|b", "lock": True}, None),
        ({"target": "subject", "value": "key|ci"}, WALL),
        ({"target": "subject", "value": "anonymous|192.0.2.1"}, WALL),
        ({"target": "subject", "value": "spiffe://example.org/batch"}, WALL),
        ({"target": "subject", "value": "CN=batch,O=Example"}, WALL),
        ({"target": "subject", "value": "batch.example.org"}, WALL),
        ({"target": "client", "value": "a|b", "issued_before": 5.0, "expires": WALL + 1}, 5.0),
        ({"target": "identity", "value": "spiffe://example.org/*", "reason": "incident 7"}, WALL),
        ({"target": "token", "value": "a|jti"}, None),
        ({"target": "token", "value": "0123456789abcdef", "lock": True}, None),
        ({"target": "key", "value": "thumbprint"}, None),
        ({"target": "certificate", "value": FINGERPRINT}, None),
        ({"target": "session", "value": "a|sid"}, None),
    ],
)
async def test_what_is_revoked(ask: Ask, fleet: Fleet, body: dict[str, Any], before: float | None) -> None:
    """Under an id of its own, by whom; a date by default where somebody can authenticate anew."""
    status, answer = await ask("POST", "/v1/revocations", body)
    [(made, by)] = fleet.done

    assert (201, {"id": made.id, "cut": 3, "stored": True}) == (status, answer)
    assert (body["target"], body["value"], before) == (made.target.value, made.value, made.issued_before)
    assert (WALL, body.get("expires"), body.get("reason", ""), "admin") == (
        made.at,
        made.expires,
        made.reason,
        made.source,
    )
    assert OPERATOR == by


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'{"target":"subject","value":"a|b","value":"a|c"}',
        {"target": "nobody", "value": "a"},
        {"target": "subject"},
        {"target": "subject", "value": 1},
        {"target": "subject", "value": "alice"},
        {"target": "subject", "value": "alice@example.org"},
        {"target": "subject", "value": "a|b", "more": 1},
        {"target": "subject", "value": "a|b", "lock": "yes"},
        {"target": "subject", "value": ""},
        {"target": "subject", "value": "a|\nb"},
        {"target": "subject", "value": "a|b", "reason": "\x1b[31m"},
        {"target": "subject", "value": "a|b\x1b[31m"},
        {"target": "subject", "value": "a|b", "lock": True, "issued_before": 1.0},
        {"target": "subject", "value": "a|b", "expires": WALL},
        {"target": "subject", "value": "a|b", "issued_before": -1.0},
        {"target": "key", "value": "a", "issued_before": 1.0},
        {"target": "token", "value": "jti-without-issuer"},
        {"target": "token", "value": "0123456789ABCDEF"},
        {"target": "client", "value": "notebook"},
        {"target": "session", "value": "sid"},
        {"target": "claim", "value": "https://idp|email|Ada@example.org"},
        {"target": "claim", "value": "https://idp|email|\u00c9va@example.org"},
        {"target": "certificate", "value": "AA:BB:CC"},
    ],
)
async def test_what_would_hit_nobody_is_refused(ask: Ask, fleet: Fleet, body: object) -> None:
    """Malformed, ambiguous, or of a shape that no identity has: said, and nothing is done."""
    status, answer = await ask("POST", "/v1/revocations", body)

    assert 400 == status == answer["status"]
    assert answer["detail"]
    assert [] == fleet.done


async def test_browsers_and_strangers_change_nothing(ask: Ask, fleet: Fleet) -> None:
    """No token, a wrong one, another content type, an Origin: refused before anything is read."""
    body = {"target": "subject", "value": "a|b"}
    statuses = [
        (await ask("POST", "/v1/revocations", body, **headers))[0]
        for headers in (
            {"Authorization": ""},
            {"Authorization": "Bearer wrong"},
            {"Content_Type": "text/plain"},
            {"Origin": "https://evil.example"},
        )
    ]
    statuses.append((await ask("DELETE", "/v1/revocations/known", Origin="null"))[0])
    statuses.append((await ask("GET", "/v1/running", Authorization="Bearer wrong"))[0])

    assert [401, 401, 400, 400, 403, 401] == statuses
    assert [] == fleet.done == fleet.lifted


async def test_what_is_not_safe_yet_is_said(ask: Ask, fleet: Fleet) -> None:
    """202: it holds here; and no room is no success."""
    fleet.is_stored = False
    body = {"target": "subject", "value": "a|b"}
    status, answer = await ask("POST", "/v1/revocations", body)
    fleet.fails = RevocationsFull()
    full, _ = await ask("POST", "/v1/revocations", body)

    assert (202, False, 507) == (status, answer["stored"], full)


async def test_lifting(ask: Ask, fleet: Fleet) -> None:
    """What is known is lifted and shown; what is not is not found; a store that fails may hold on."""
    status, answer = await ask("DELETE", "/v1/revocations/known")
    unknown, _ = await ask("DELETE", "/v1/revocations/unknown")
    fleet.fails = StoreUnavailable()
    failed, _ = await ask("DELETE", "/v1/revocations/known")

    assert (200, "known", "subject") == (status, answer["id"], answer["target"])
    assert (404, 503) == (unknown, failed)
    assert [("known", OPERATOR), ("unknown", OPERATOR)] == fleet.lifted


async def test_without_a_token_nobody_is_named(fleet: Fleet) -> None:
    """What somebody sends unasked proves nothing, and the record says so."""
    sources = AdminSources(
        readiness=dict, metrics=bytes, keys=dict, status=dict, operations=fleet, clock=ManualClock()
    )
    async with TestClient(TestServer(build_admin(sources))) as client:
        for fields in ({}, {"Authorization": f"Bearer {TOKEN}"}):
            async with client.delete("/v1/revocations/known", headers=fields) as answer:
                assert 200 == answer.status

    assert [("known", "operator without token, from 127.0.0.1")] * 2 == fleet.lifted


async def test_what_is_held_is_listed_in_pages(ask: Ask, fleet: Fleet) -> None:
    """A thousand at a time, each page beginning behind the last."""
    fleet.rows = [Revocation(f"r-{number}", Target.KEY, "k", 1.0) for number in range(2500)]
    seen: list[str] = []
    after = ""
    sizes = []
    while True:
        _, answer = await ask("GET", f"/v1/revocations?after={after}")
        sizes.append(len(answer["revocations"]))
        seen += [row["id"] for row in answer["revocations"]]
        after = answer["next"]
        if after is None:
            break

    assert [row.id for row in fleet.rows] == seen
    assert [1000, 1000, 500] == sizes
    assert (2500, True) == (answer["held"], answer["current"])


async def test_who_runs(ask: Ask, fleet: Fleet) -> None:
    """Identity, route, model and since when; as far as it is known."""
    line = Line()
    begun, known = (Exchange(name, Peer("10.0.0.1", 1), None, WALL, 0.0) for name in ("one", "two"))
    known.identity = Identity("a|b", "a", "b", ("jwt",), frozenset(), WALL, client_id="c", token="0" * 16)
    known.route = line.route
    known.prompt = Prompt("tiny")
    fleet.exchanges = [begun, known]
    status, answer = await ask("GET", "/v1/running")
    [first, second] = answer["exchanges"]

    assert (200, 2) == (status, answer["running"])
    assert (None, None, None) == (first["identity"], first["route"], first["model"])
    assert ("a|b", "c", "0" * 16, "chat", "tiny", WALL, "10.0.0.1") == tuple(
        second[name] for name in ("identity", "client_id", "token", "route", "model", "since", "peer")
    )

"""What is left of limits, and forgiving, through the operators' listener."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable, Mapping
from hashlib import sha256
from typing import Any

import msgspec
import pytest
from aiohttp import ClientSession
from aiohttp.web import SockSite
from yarl import URL

from gateway.admin import AdminSources, build_admin, build_admin_runner
from gateway.admin.limits import NoSuchLimit, NotForgivable, Order, Row, Taken, Untold
from gateway.core.accounts import Standing
from gateway.core.ports import StoreUnavailable
from tests.doubles.outside import ManualClock

TOKEN = "t0ken"
KEY = "https://idp.example.org|ada"
OPERATOR = f"operator token {sha256(TOKEN.encode()).hexdigest()[:16]}, from 127.0.0.1"
ROW = Row("chat/tokens 100/day", "tokens", 100, Standing(90, 30, 12.3456))
UNTOLD = [Untold("chat/tokens 9/day per identity, model", ("model",))]

Ask = Callable[..., Any]


class Accounts:
    """What stands behind the API."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Mapping[str, str]]] = []
        self.done: list[tuple[Order, str]] = []
        self.taken: int | None = 5
        self.fails: Exception | None = None

    async def show(self, key: str, known: Mapping[str, str], /) -> tuple[list[Row], list[Untold]]:
        if self.fails is not None:
            raise self.fails
        self.asked.append((key, known))
        return [ROW], UNTOLD

    async def forgive(self, order: Order, by: str, /) -> tuple[list[Taken], list[Untold]]:
        if self.fails is not None:
            raise self.fails
        self.done.append((order, by))
        return [Taken("chat/tokens 100/day", "tokens", self.taken)], UNTOLD


@pytest.fixture
def accounts() -> Accounts:
    """Accounts that do what they are told."""
    return Accounts()


@pytest.fixture
async def ask(accounts: Accounts) -> AsyncIterator[Ask]:
    """Serve on a free port; return a function that asks."""
    sources = AdminSources(
        readiness=dict, metrics=bytes, keys=dict, status=dict, operations=None, clock=ManualClock(), limits=accounts
    )  # fmt: skip
    runner = build_admin_runner(build_admin(sources, token=TOKEN), shutdown_seconds=0.1)
    await runner.setup()
    listening = socket.create_server(("127.0.0.1", 0))
    await SockSite(runner, listening).start()
    base = f"http://127.0.0.1:{listening.getsockname()[1]}"
    async with ClientSession() as session:

        async def ask(
            method: str, path: str, body: Any = None, query: Any = None, **headers: str
        ) -> tuple[int, Any]:
            fields = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json", **headers}
            data = body if isinstance(body, bytes) or body is None else msgspec.json.encode(body)
            url = URL(base + path).with_query(query)
            async with session.request(method, url, data=data, headers=fields) as answer:
                return answer.status, msgspec.json.decode(await answer.read())

        yield ask
    await runner.cleanup()


async def test_what_is_left_is_shown(ask: Ask, accounts: Accounts) -> None:
    """Every number of a limit; what is left is never less than nothing; what is untold is not left out."""
    query = [
        ("key", KEY),
        ("known", "model=tiny"),
        ("known", "claim:team=a=b"),
        ("known", "network=2001:db8::1"),
    ]
    status, answer = await ask("GET", "/v1/limits", query=query)

    assert 200 == status
    assert [(KEY, {"model": "tiny", "claim:team": "a=b", "network": "2001:db8::1"})] == accounts.asked
    assert {
        "key": KEY,
        "limits": [
            {
                "limit": "chat/tokens 100/day", "unit": "tokens", "quota": 100, "used": 90, "held": 30, "left": 0,
                "whole_in": 12.346,
            }
        ],
        "untold": [{"limit": "chat/tokens 9/day per identity, model", "needs": ["model"]}],
    } == answer  # fmt: skip


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        (
            "/v1/limits/grant",
            {"limit": "chat/tokens 100/day", "amount": 7, "reason": "demo", "known": {"model": "tiny"}},
            Order(KEY, {"model": "tiny"}, "chat/tokens 100/day", 7, "demo"),
        ),
        ("/v1/limits/reset", {}, Order(KEY, {}, None, None, "")),
        ("/v1/limits/reset", {"limit": "l"}, Order(KEY, {}, "l", None, "")),
    ],
)
async def test_what_is_forgiven(
    ask: Ask, accounts: Accounts, path: str, body: dict[str, Any], expected: Order
) -> None:
    """The order, and who gave it, go on; what became of it comes back."""
    status, answer = await ask("POST", path, {"key": KEY, **body})

    assert [(expected, OPERATOR)] == accounts.done
    assert 200 == status
    assert [{"limit": "chat/tokens 100/day", "unit": "tokens", "taken": 5}] == answer["taken"]
    assert ["model"] == answer["untold"][0]["needs"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("grant", {"key": KEY, "limit": "l"}),
        ("grant", {"key": KEY, "amount": 1}),
        ("grant", {"key": KEY, "limit": "l", "amount": 0}),
        ("grant", {"key": KEY, "limit": "l", "amount": -1}),
        ("grant", {"key": KEY, "limit": "l", "amount": 1.5}),
        ("grant", {"key": KEY, "limit": "l", "amount": True}),
        ("grant", {"key": KEY, "limit": "l", "amount": 10**15 + 1}),
        ("grant", {"key": KEY, "limit": "l", "amount": 1, "more": 1}),
        ("grant", b'{"key": "a|b", "key": "a|c", "limit": "l", "amount": 1}'),
        ("reset", {"key": KEY, "amount": 1}),
        ("reset", {"key": "ada"}),
        ("reset", {"key": ""}),
        ("reset", {"key": "a|b\n"}),
        ("reset", {"key": "a|" + "b" * 2048}),
        ("reset", {}),
        ("reset", b"[]"),
        ("reset", {"key": KEY, "reason": "a\nb"}),
        ("reset", {"key": KEY, "reason": "a" * 257}),
        ("reset", {"key": KEY, "known": {"identity": "a|b"}}),
        ("reset", {"key": KEY, "known": {"network": "10.0.0.0/8"}}),
        ("reset", {"key": KEY, "known": {"model": "a\x1b"}}),
    ],
)
async def test_what_is_no_order_does_nothing(ask: Ask, accounts: Accounts, path: str, body: Any) -> None:
    """What is malformed, or could be nobody's, is refused with a reason, and forgives nothing."""
    status, answer = await ask("POST", f"/v1/limits/{path}", body)

    assert 400 == status
    assert answer["detail"]
    assert [] == accounts.done


@pytest.mark.parametrize("query", [[], [("key", "ada")], [("key", KEY), ("known", "colour=red")]])
async def test_nobody_has_no_limits(ask: Ask, accounts: Accounts, query: list[tuple[str, str]]) -> None:
    """A key that can be nobody's would show a whole quota, and be believed."""
    status, answer = await ask("GET", "/v1/limits", query=query)

    assert (400, "Nobody is meant") == (status, answer["title"])
    assert [] == accounts.asked


@pytest.mark.parametrize(
    ("fails", "expected"),
    [
        (NoSuchLimit(), (404, "No such limit")),
        (NotForgivable("Say which."), (400, "Nothing was done")),
        (StoreUnavailable(), (503, "Nothing was done")),
    ],
)
async def test_what_can_not_be_done(
    ask: Ask, accounts: Accounts, fails: Exception, expected: tuple[int, str]
) -> None:
    """It says so, and that nothing was done."""
    accounts.fails = fails
    status, answer = await ask("POST", "/v1/limits/reset", {"key": KEY})

    assert expected == (status, answer["title"])


async def test_what_nobody_knows_is_not_called_done(ask: Ask, accounts: Accounts) -> None:
    """A store that did not answer may have done it, or not."""
    accounts.taken = None
    changed = await ask("POST", "/v1/limits/reset", {"key": KEY})
    accounts.fails = StoreUnavailable()
    shown = await ask("GET", "/v1/limits", query={"key": KEY})

    assert (503, "Perhaps not done") == (changed[0], changed[1]["title"])
    assert (503, "Not known") == (shown[0], shown[1]["title"])


async def test_strangers_and_browsers_change_nothing(ask: Ask, accounts: Accounts) -> None:
    """Without the token nothing is shown or done; from a web page nothing is done."""
    body = {"key": KEY}
    statuses = [
        (await ask("GET", "/v1/limits", query={"key": KEY}, Authorization="Bearer other"))[0],
        (await ask("POST", "/v1/limits/reset", body, Authorization="Bearer other"))[0],
        (await ask("POST", "/v1/limits/reset", body, Origin="https://evil.example"))[0],
        (await ask("POST", "/v1/limits/grant", body, **{"Content-Type": "text/plain"}))[0],
    ]

    assert [401, 401, 400, 400] == statuses
    assert ([], []) == (accounts.asked, accounts.done)

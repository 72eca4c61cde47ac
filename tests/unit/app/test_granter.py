"""Which limits concern an identity, and what is left behind when some of one is forgiven."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import structlog
from structlog.testing import capture_logs

from gateway.admin.limits import NoSuchLimit, NotForgivable, Order, Taken, Untold
from gateway.app.granter import Granter
from gateway.core.accounts import Account, Standing
from gateway.core.budgets import Budget, Dimension, Hold, Key, Measure, RouteBudgets
from gateway.core.limits import ConcurrencyLimit, RateLimit, RouteLimits
from gateway.core.ports import StoreUnavailable
from gateway.state.memory_accounts import MemoryAccounts
from gateway.state.memory_budgets import MemoryBudgets
from tests.doubles.line import Line
from tests.doubles.outside import ManualClock

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.core.route import Route

KEY = "https://idp.example.org|ada"
IDENTITY, ROUTE, MODEL = Key(Dimension.IDENTITY), Key(Dimension.ROUTE), Key(Dimension.MODEL)
TEAM = Key(Dimension.CLAIM, claim="team")


def budget(scope: str, name: str, *per: Key, measure: Measure = Measure.TOKENS) -> Budget:
    """A rolling budget of a hundred, whole again in a hundred days."""
    period = 0.0 if measure.is_level else 8_640_000.0
    return Budget(scope, name, measure, 100, per, period)


OWN = budget("chat", "tokens 100/day", IDENTITY)
RUNNING = budget("chat", "streams 2", IDENTITY, measure=Measure.STREAMS)
BY_MODEL = budget("chat", "tokens 100/day per identity, model", IDENTITY, MODEL)
SHARED = budget("", "all cost 9/day", IDENTITY, measure=Measure.COST)
OF_TEAM = budget("", "team tokens 100/day per claim:team", TEAM)
BY_ROUTE = budget("", "each tokens 100/day per identity, route", IDENTITY, ROUTE)


def route(name: str, *budgets: Budget) -> Route:
    """A route with budgets, and nothing that is charged by the head."""
    return replace(Line().route, name=name, limits=RouteLimits(name), budgets=RouteBudgets(budgets))


ROUTES = (
    route("chat", OWN, RUNNING, BY_MODEL, SHARED, OF_TEAM, BY_ROUTE),
    route("batch", SHARED, OF_TEAM, BY_ROUTE),
    route("free"),
)


class Audit:
    """Takes actions."""

    def __init__(self) -> None:
        self.is_healthy = True
        self.lines: list[bytes] = []

    def append_action(self, action: bytes) -> None:
        self.lines.append(action)

    @property
    def actions(self) -> list[dict[str, Any]]:
        return [msgspec.json.decode(line) for line in self.lines]


class World:
    """A granter with all that it needs."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.budgets = MemoryBudgets(self.clock)
        self.audit = Audit()
        self.routes: tuple[Route, ...] = ROUTES
        self.accounts: Any = MemoryAccounts(self.budgets)

    @property
    def granter(self) -> Granter:
        audit: Any = self.audit
        return Granter(self.accounts, lambda: self.routes, audit, structlog.get_logger(), self.clock)

    async def spend(self, budget: Budget, key: str, amount: int) -> None:
        hold = Hold(budget, key, amount)
        assert await self.budgets.reserve([hold]) is None
        self.budgets.settle(hold, amount)


@pytest.fixture
def world() -> World:
    """A new one."""
    return World()


async def test_every_limit_that_concerns_an_identity(world: World) -> None:
    """Those of routes, and those that routes share, once each, in the order of the configuration."""
    await world.spend(OWN, KEY, 40)
    await world.spend(SHARED, KEY, 7)
    rows, untold = await world.granter.show(KEY, {})

    assert [
        ("chat/tokens 100/day", "tokens", 100, 40),
        ("chat/streams 2", "streams", 100, 0),
        ("all cost 9/day", "cost", 100, 7),
        ("chat/each tokens 100/day per identity, route", "tokens", 100, 0),
        ("batch/each tokens 100/day per identity, route", "tokens", 100, 0),
    ] == [(row.limit, row.unit, row.quota, row.standing.used) for row in rows]
    assert [
        Untold("chat/tokens 100/day per identity, model", ("model",)),
        Untold("team tokens 100/day per claim:team", ("claim:team",)),
    ] == untold


async def test_what_is_charged_by_the_head_is_a_limit_too(world: World) -> None:
    """Requests and concurrency per identity stand before the budgets of their route."""
    rates = RouteLimits("chat", (RateLimit("60/minute", 60, 60.0, 10),), ConcurrencyLimit("concurrent", 4))
    world.routes = (replace(ROUTES[0], limits=rates),)
    rows, _ = await world.granter.show(KEY, {})

    assert [("chat/60/minute", "requests", 10), ("chat/concurrent", "concurrent", 4)] == [
        (row.limit, row.unit, row.quota) for row in rows[:2]
    ]


async def test_what_is_told_is_looked_at(world: World) -> None:
    """With the model and the team said, their accounts are found; another's are not shown."""
    await world.spend(BY_MODEL, f"{len(KEY)}:{KEY}4:tiny", 11)
    await world.spend(OF_TEAM, "blue", 22)
    rows, untold = await world.granter.show(KEY, {"model": "tiny", "claim:team": "blue"})
    others, _ = await world.granter.show(KEY, {"model": "large", "claim:team": "red"})
    used = {row.limit: row.standing.used for row in rows}

    assert [] == untold
    assert (11, 22) == (used[f"chat/{BY_MODEL.name}"], used[OF_TEAM.name])
    assert {0} == {row.standing.used for row in others}


async def test_a_grant_is_done_once_and_written_down(world: World) -> None:
    """Of one limit, as much as was said; the audit log and the log know who, whom, what and why."""
    await world.spend(OWN, KEY, 40)
    await world.spend(SHARED, KEY, 40)
    with capture_logs() as lines:
        taken, untold = await world.granter.forgive(
            Order(KEY, {}, "chat/tokens 100/day", 15, "demo"), "operator token 00"
        )
    rows, _ = await world.granter.show(KEY, {})
    [action] = world.audit.actions

    assert ([Taken("chat/tokens 100/day", "tokens", 15)], []) == (taken, untold)
    assert [25, 0, 40, 0, 0] == [row.standing.used for row in rows]
    assert {
        "time": action["time"], "action": "granted", "by": "operator token 00", "target": "subject", "value": KEY,
        "limit": "chat/tokens 100/day", "asked": 15, "taken": 15, "reason": "demo",
    } == action  # fmt: skip
    [line] = lines
    assert ("limit-granted", "operator token 00", KEY, "chat/tokens 100/day", 15, "demo") == (
        line["event"], line["by"], line["key"], line["limit"], line["taken"], line["reason"],
    )  # fmt: skip


async def test_a_reset_is_of_what_is_kept_by_identity(world: World) -> None:
    """Each of its limits is reset and written down; what it shares with others is not, unless it is named."""
    for one, key in ((OWN, KEY), (SHARED, KEY), (OF_TEAM, "blue"), (OWN, "other|ada")):
        await world.spend(one, key, 30)
    await world.budgets.reserve([Hold(RUNNING, KEY, 1)])
    known = {"claim:team": "blue"}
    taken, untold = await world.granter.forgive(Order(KEY, known, None, None, ""), "me")
    rows, _ = await world.granter.show(KEY, known)
    [other] = await world.accounts.show([Account(OWN, "other|ada")])
    named, _ = await world.granter.forgive(Order(KEY, known, OF_TEAM.name, None, ""), "me")

    assert {OWN.name: 30, SHARED.name: 30, BY_ROUTE.name: 0} == {
        each.limit.removeprefix("chat/").removeprefix("batch/"): each.taken for each in taken
    }
    assert [f"chat/{BY_MODEL.name}"] == [each.limit for each in untold]
    assert [0, 0, 0, 30, 0, 0] == [row.standing.used for row in rows]
    assert 1 == rows[1].standing.held
    assert 30 == other.used
    assert [Taken(OF_TEAM.name, "tokens", 30)] == named
    assert {"reset"} == {each["action"] for each in world.audit.actions}
    assert [each.limit for each in taken + named] == [each["limit"] for each in world.audit.actions]
    assert known == world.audit.actions[-1]["known"]


@pytest.mark.parametrize(
    ("limit", "error"),
    [
        ("chat/tokens 100/hour", NoSuchLimit),
        ("tokens 100/day", NoSuchLimit),
        ("batch/tokens 100/day", NoSuchLimit),
        (f"chat/{BY_MODEL.name}", NotForgivable),
        ("chat/streams 2", NotForgivable),
    ],
)
async def test_what_can_not_be_meant_changes_nothing(
    world: World, limit: str, error: type[Exception]
) -> None:
    """A name that is none, an account of whom nobody said which, and what is held and not used."""
    await world.spend(OWN, KEY, 30)
    with pytest.raises(error):
        await world.granter.forgive(Order(KEY, {}, limit, 5, ""), "me")
    rows, _ = await world.granter.show(KEY, {})

    assert 30 == rows[0].standing.used
    assert [] == world.audit.lines


async def test_nobody_gets_more_without_a_trace(world: World) -> None:
    """While the audit log is unwell nothing is forgiven."""
    await world.spend(OWN, KEY, 30)
    world.audit.is_healthy = False
    with pytest.raises(StoreUnavailable):
        await world.granter.forgive(Order(KEY, {}, None, None, ""), "me")
    rows, _ = await world.granter.show(KEY, {})

    assert 30 == rows[0].standing.used


async def test_what_nobody_knows_is_written_down_too(world: World) -> None:
    """The store did not answer: it may have been done, so it is on the record, without an amount."""

    class Silent:
        async def show(self, accounts: Sequence[Account], /) -> list[Standing]:
            raise StoreUnavailable

        async def forgive(self, accounts: Sequence[Account], most: int | None, /) -> list[int | None]:
            return [None] * len(accounts)

    world.accounts = Silent()
    taken, _ = await world.granter.forgive(Order(KEY, {}, "all cost 9/day", 5, ""), "me")
    [action] = world.audit.actions

    assert [Taken("all cost 9/day", "cost", None)] == taken
    assert ("granted", 5, None) == (action["action"], action["asked"], action.get("taken"))


async def test_what_is_broken_off_is_written_down_too(world: World) -> None:
    """The process is told to end while it waits for others: the first half may be done."""

    class Slow:
        def __init__(self) -> None:
            self.is_asked = asyncio.Event()

        async def show(self, accounts: Sequence[Account], /) -> list[Standing]:
            raise AssertionError

        async def forgive(self, accounts: Sequence[Account], most: int | None, /) -> list[int | None]:
            self.is_asked.set()
            await asyncio.Event().wait()
            raise AssertionError

    slow = world.accounts = Slow()
    task = asyncio.ensure_future(world.granter.forgive(Order(KEY, {}, "all cost 9/day", 5, ""), "me"))
    await slow.is_asked.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    [action] = world.audit.actions

    assert ("granted", 5, None) == (action["action"], action["asked"], action.get("taken"))

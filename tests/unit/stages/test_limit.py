"""Stage limit: a ledger becomes a proof or a refusal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gateway.core.identity import Identity
from gateway.core.limits import ConcurrencyLimit, Ledger, RateLimit, RouteLimits
from gateway.core.permit import Admission, Entry, issue_entry
from gateway.core.ports import StoreUnavailable
from gateway.core.refusal import Reason, Refusal, Refused, Source
from gateway.core.route import Requirements, Route
from gateway.stages.limit import limit
from gateway.state.memory import MemoryStore
from tests.contract.conftest import FakeClock

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gateway.core.budgets import Hold

RATED = RouteLimits("chat", (RateLimit("per-minute", 6, 60.0, 1),))
ALONE = RouteLimits("chat", (), ConcurrencyLimit("alone", 1))


class Broken:
    """A store that is away, or answers locally."""

    def __init__(self, ledger: Ledger | None = None) -> None:
        self.ledger = ledger
        self.asked = 0

    async def admit(
        self, key: str, limits: RouteLimits, _ahead: Callable[[], Sequence[Hold]] | None = None, /
    ) -> Ledger:
        self.asked += 1
        if self.ledger is None:
            raise StoreUnavailable
        return self.ledger

    def settle(self, ledger: Ledger, /) -> None:
        raise AssertionError


def entry(limits: RouteLimits) -> Entry:
    """Proof for a route with these limits."""
    none = object()
    route = Route(
        "chat", frozenset({"POST"}), "/v1/chat", "llama", "json", Requirements(),
        none, limits, none, none,  # type: ignore[arg-type]  # policy, inspector and meter are not asked here
    )  # fmt: skip
    return issue_entry(Identity("issuer|ann", "issuer", "ann", ("jwt",), frozenset(), 1e12), route)


async def refused(proof: Entry, store: MemoryStore | Broken) -> Refusal:
    """Return why the stage refused."""
    with pytest.raises(Refused) as caught:
        await limit(proof, store)
    return caught.value.refusal


async def test_room_is_a_proof_that_carries_the_ledger() -> None:
    """What was charged can be settled later."""
    proof = entry(ALONE)
    store = MemoryStore(FakeClock())
    admission = await limit(proof, store)
    store.settle(admission.ledger)

    assert isinstance(admission, Admission)
    assert admission.entry is proof
    assert (await limit(proof, store)).ledger.refused is None


async def test_a_route_without_limits_asks_nobody() -> None:
    """No limits, no trip; and nothing to settle."""
    store = Broken()
    admission = await limit(entry(RouteLimits("free")), store)

    assert (store.asked, admission.ledger.lease, admission.ledger.refused) == (0, None, None)


async def test_over_the_rate_says_when_to_come_back() -> None:
    """The limit's name is for the record; the client reads whole seconds, rounded up."""
    proof, clock = entry(RATED), FakeClock()
    store = MemoryStore(clock)
    await limit(proof, store)
    clock.now += 0.5
    refusal = await refused(proof, store)

    assert Reason.RATE_EXCEEDED is refusal.reason
    assert refusal.detail == "Too many requests; try again in 10 s."
    assert (
        refusal.retry_after, refusal.rule, refusal.source, refusal.note,
    ) == (9.5, "per-minute", Source.CLIENT, "")  # fmt: skip
    assert [state.name for state in refusal.limits] == ["per-minute"]


async def test_too_many_at_once_says_so() -> None:
    """Another reason, another sentence."""
    proof, store = entry(ALONE), MemoryStore(FakeClock())
    await limit(proof, store)
    refusal = await refused(proof, store)

    assert (refusal.reason, refusal.rule, refusal.retry_after) == (Reason.CONCURRENCY_EXCEEDED, "alone", 1.0)
    assert refusal.detail == "Too many requests at the same time."


@pytest.mark.parametrize("is_concurrency", [False, True])
async def test_what_lies_idle_elsewhere_is_a_temporary_lack(*, is_concurrency: bool) -> None:
    """It will be back within a second, and the client is told so."""
    ledger = Ledger(refused="r", retry_after=1.0, is_concurrency=is_concurrency, is_temporary=True)
    refusal = await refused(entry(RATED), Broken(ledger))

    assert (refusal.reason, refusal.retry_after, refusal.rule) == (Reason.BUDGET_HELD, 1.0, "r")


async def test_the_record_says_that_a_local_share_refused() -> None:
    """A reviewer can tell the fleet's limit from a process's share."""
    refusal = await refused(
        entry(RATED), Broken(Ledger(refused="per-minute", retry_after=0.0, is_local=True))
    )

    assert refusal.note == "answered by the local share"
    assert refusal.detail == "Too many requests; try again in 1 s."


async def test_a_store_that_is_away_refuses() -> None:
    """Nobody knows whether there is room, so there is none: and it is not the client's fault."""
    refusal = await refused(entry(RATED), Broken())

    assert (refusal.reason, refusal.source, refusal.retry_after) == (
        Reason.STORE_UNAVAILABLE,
        Source.GATEWAY,
        1.0,
    )

"""What keeps revocations, in memory and in Redis and Valkey alike: holds, lifts, ends, survives."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from gateway.core.revocation import Lift
from gateway.core.revoking import RevocationsFull
from tests.contract.conftest import KINDS, Servers, reach
from tests.contract.fleet import NOW, Fleet, revoke, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.servers import RunningServer


@pytest.fixture(params=KINDS)
async def fleet(request: pytest.FixtureRequest, servers: Servers, tmp_path: Path) -> AsyncIterator[Fleet]:
    """A fleet of each kind, with keys of its own."""
    kind = request.param
    server = None if kind == "memory" else reach(servers[kind.split("-")[0]], kind)
    made = Fleet(tmp_path, server, f"gateway:{uuid4()}:")
    yield made
    await made.close()


async def test_a_revocation_holds_at_once(fleet: Fleet) -> None:
    """Before anything was awaited, and for others not."""
    worker = await fleet.start()
    assert worker.index.is_current
    task = asyncio.ensure_future(worker.keeper.add([revoke("a")]))
    await asyncio.sleep(0)
    is_revoked = worker.is_revoked()
    await task

    assert is_revoked
    assert not worker.is_revoked("issuer|bob")


async def test_a_restart_forgets_nothing(fleet: Fleet) -> None:
    """What was added holds, what was lifted does not; as often as it is started."""
    worker = await fleet.start()
    await worker.keeper.add([revoke("a"), revoke("b", "issuer|bob")])
    await worker.keeper.lift(Lift("b", NOW))
    for _ in range(2):
        await fleet.stop()
        worker = await fleet.start()

        assert worker.index.is_current
        assert {"a"} == worker.ids


async def test_twice_is_once(fleet: Fleet) -> None:
    """The same id changes nothing, a lifted one stays lifted."""
    worker = await fleet.start()
    await worker.keeper.add([revoke("a")])
    with pytest.raises(ValueError, match="another revocation's"):
        await worker.keeper.add([revoke("a", "issuer|bob")])
    await worker.keeper.add([revoke("a")])
    assert (True, False) == (worker.is_revoked(), worker.is_revoked("issuer|bob"))
    await worker.keeper.lift(Lift("a", NOW))
    await worker.keeper.lift(Lift("a", NOW))
    await worker.keeper.add([revoke("a")])

    assert set() == worker.ids


async def test_of_one_id_the_latest_counts(fleet: Fleet) -> None:
    """Locked again after a lift, it is locked, also after a restart; an older lift does not end it."""
    worker = await fleet.start()
    await worker.keeper.add([revoke("a")])
    await worker.keeper.lift(Lift("a", NOW + 1))
    again = replace(revoke("a"), at=NOW + 2)
    await worker.keeper.add([again])
    await worker.keeper.lift(Lift("a", NOW + 1.5))
    await worker.keeper.add([revoke("a")])
    assert [again] == list(worker.index)
    await fleet.stop()
    worker = await fleet.start()
    assert [again] == list(worker.index)
    await worker.keeper.lift(Lift("a", NOW + 2))

    assert set() == worker.ids


async def test_a_revocation_ends(fleet: Fleet) -> None:
    """At its time; it does not come back, not by a restart either."""
    worker = await fleet.start()
    await worker.keeper.add([revoke("a", expires=NOW + 10), revoke("b")])
    fleet.clock.now += 10
    assert ("a",) == worker.index.end()
    await fleet.stop()
    worker = await fleet.start()

    assert {"b"} == worker.ids


async def test_a_full_index_says_so(fleet: Fleet) -> None:
    """Nothing is added, nothing is lost, everybody else is still believed."""
    fleet.capacity = 2
    worker = await fleet.start()
    await worker.keeper.add([revoke("a"), revoke("b")])
    with pytest.raises(RevocationsFull):
        await worker.keeper.add([revoke("c")])

    assert {"a", "b"} == worker.ids
    assert worker.index.is_current


async def test_malformed_ones_are_refused(fleet: Fleet) -> None:
    """All of a call or none."""
    worker = await fleet.start()
    with pytest.raises(ValueError, match="value"):
        await worker.keeper.add([revoke("a"), revoke("b", "")])

    assert set() == worker.ids


class Machine(RuleBasedStateMachine):
    """Random lives of a fleet, beside a model: what was revoked and neither lifted nor ended."""

    def __init__(self, directory: Path, kind: str, server: RunningServer | None) -> None:
        super().__init__()
        self.server = server
        place = directory / str(uuid4())
        place.mkdir()
        reached = None if server is None else reach(server, kind)
        self.fleet = Fleet(place, reached, f"gateway:{uuid4()}:")
        self.names = ["one"] if server is None else ["one", "two"]
        self.holding: dict[str, float | None] = {}
        self.count = 0
        self.runner = asyncio.Runner()
        for name in self.names:
            self.runner.run(self.fleet.start(name))

    def teardown(self) -> None:
        self.runner.run(self.fleet.close())
        self.runner.close()

    @rule(name=st.integers(0, 1), life=st.sampled_from([None, 5.0, 50.0]))
    def add(self, name: int, life: float | None) -> None:
        """Somebody revokes, on any worker."""
        self.count += 1
        made = f"r-{self.count}"
        expires = None if life is None else self.fleet.clock.now + life
        worker = self.fleet.workers[self.names[name % len(self.names)]]
        self.runner.run(worker.keeper.add([revoke(made, f"subject-{made}", expires=expires)]))
        self.holding[made] = expires
        assert worker.is_revoked(f"subject-{made}")

    @rule(data=st.data(), name=st.integers(0, 1))
    def lift(self, data: st.DataObject, name: int) -> None:
        """Somebody lifts what is known there."""
        worker = self.fleet.workers[self.names[name % len(self.names)]]
        known = sorted(worker.ids)
        if known:
            chosen = data.draw(st.sampled_from(known))
            self.runner.run(worker.keeper.lift(Lift(chosen, NOW, self.holding.get(chosen))))
            self.holding.pop(chosen, None)

    @rule(seconds=st.sampled_from([1.0, 10.0, 100.0]))
    def time_passes(self, seconds: float) -> None:
        """What has ended is gone."""
        self.fleet.clock.now += seconds
        for worker in self.fleet.workers.values():
            worker.index.end()
        now = self.fleet.clock.now
        self.holding = {each: end for each, end in self.holding.items() if end is None or end > now}

    @rule(name=st.integers(0, 1))
    def restart(self, name: int) -> None:
        """A worker goes and comes back."""
        chosen = self.names[name % len(self.names)]
        self.runner.run(self.fleet.stop(chosen))
        self.runner.run(self.fleet.start(chosen))

    @rule()
    def lose_everything(self) -> None:
        """The server forgets all of it."""
        if self.server is not None:
            self.server.admin("FLUSHALL")

    @invariant()
    def everybody_agrees(self) -> None:
        """Soon, every worker holds exactly what the model holds."""

        def agrees() -> bool:
            return all(
                set(self.holding) == worker.ids and worker.index.is_current
                for worker in self.fleet.workers.values()
            )

        self.runner.run(until(agrees))


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "kind", ["memory", *[kind for kind in KINDS if kind in {"valkey", "redis", "cluster"}]]
)
def test_random_lives(kind: str, servers: Servers, tmp_path: Path) -> None:
    """Adding, lifting, ending, restarting and flushing in any order: the fleet agrees with the model."""
    server = None if kind == "memory" else servers[kind]
    run_state_machine_as_test(
        lambda: Machine(tmp_path, kind, server),
        settings=settings(
            max_examples=8,
            stateful_step_count=10,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            derandomize=True,
        ),
    )

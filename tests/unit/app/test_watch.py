"""When is looked: at once where somebody is revoked, in turns, and again whatever went wrong."""

from __future__ import annotations

import asyncio
from typing import Any, final

import structlog
from structlog.testing import capture_logs

from gateway.app import watch as module
from gateway.app.watch import Watch
from gateway.core.identity import Peer, PeerCertificate
from gateway.core.revocation import Lift, Revocation, Target
from gateway.credentials.clock import SystemClock
from gateway.state.revocations import RevocationIndex

CERTIFICATE = PeerCertificate("fp", "CN=a", "CN=ca", "1", (), (), None, 0.0, 1.0)


@final
class Round:
    """A look that takes so many steps."""

    def __init__(self, steps: int = 1) -> None:
        self.steps = steps
        self.fails = 0

    def step(self, _seconds: float) -> bool:
        if self.fails:
            self.fails -= 1
            raise RuntimeError("secret")
        self.steps -= 1
        return self.steps > 0


@final
class Vigil:
    """Counts the looks that it was asked for."""

    def __init__(self) -> None:
        self.urgents: list[Round] = []
        self.sweeps: list[Round] = []
        self.next = Round()

    def urgent(self) -> Round:
        self.urgents.append(self.next)
        self.next = Round()
        return self.urgents[-1]

    def sweep(self) -> Round:
        self.sweeps.append(Round(2))
        return self.sweeps[-1]


@final
class Service:
    """Asks which peers are meant."""

    def __init__(self) -> None:
        self.meant: list[bool] = []

    def retire(self, is_meant: Any) -> int:
        self.meant += [is_meant(Peer("a", 1)), is_meant(Peer("a", 1, CERTIFICATE))]
        return 1


def make() -> tuple[Watch, Vigil, RevocationIndex, Service]:
    """A watch over doubles."""
    vigil, index, service = Vigil(), RevocationIndex(SystemClock()), Service()
    index.complete()
    return Watch(vigil, index, service, structlog.get_logger()), vigil, index, service  # type: ignore[arg-type]  # doubles


def lock(id: str, target: Target = Target.SUBJECT, value: str = "a|b") -> Revocation:
    """Make a revocation."""
    return Revocation(id, target, value, 1.0)


async def turn(times: int = 5) -> None:
    """Let the loop run what is due now."""
    for _ in range(times):
        await asyncio.sleep(0)


async def test_a_revocation_is_looked_at_in_the_next_turn() -> None:
    """Not in the same one: a line may be on its way through. A lift is no reason to look."""
    _, vigil, index, service = make()
    index.apply([lock("a")])
    at_once = vigil.urgents[0].steps
    await turn()
    index.apply([Lift("a", 2.0)])
    await turn()

    assert (1, 0) == (at_once, vigil.urgents[0].steps)
    assert 1 == len(vigil.urgents)
    assert [] == service.meant


async def test_what_comes_during_a_look_is_looked_at_after_it() -> None:
    """A round goes to its end, however many revocations come; then there is one more for all of them."""
    _, vigil, index, _ = make()
    vigil.next = Round(3)
    index.apply([lock("a")])
    await turn(1)
    index.apply([lock("b")])
    index.apply([lock("c")])
    await turn(10)
    index.apply([lock("d")])  # while it rests
    async with asyncio.timeout(5):
        while len(vigil.urgents) < 2 or vigil.urgents[1].steps:
            await asyncio.sleep(0.001)
    await turn(10)

    assert [0, 0] == [looking.steps for looking in vigil.urgents]


async def test_a_fault_does_not_end_the_watch() -> None:
    """It is said, without its text, and the look goes on behind it."""
    _, vigil, index, _ = make()
    vigil.next.fails = 1
    with capture_logs() as lines:
        index.apply([lock("a")])
        await turn()
        index.apply([lock("b")])
        await turn()

    assert [0, 0] == [looking.steps for looking in vigil.urgents]
    assert [("fault", "RuntimeError")] == [(line["event"], line["fault"]) for line in lines]
    assert "secret" not in str(lines)


async def test_connections_of_a_revoked_certificate_are_retired() -> None:
    """Those that showed it, and no others."""
    _, _, index, service = make()
    index.apply([lock("a", Target.CERTIFICATE, "fp")])

    assert [False, True] == service.meant


async def test_sweeps_come_again_and_again(monkeypatch: Any) -> None:
    """One at a time; after `stop`, none."""
    monkeypatch.setattr(module, "GRAIN", 0.002)
    monkeypatch.setattr(module, "SWEEP_PAUSE", 0.01)
    watch, vigil, _, _ = make()
    watch.stop()
    watch.start()
    async with asyncio.timeout(5):
        while len(vigil.sweeps) < 3:
            await asyncio.sleep(0.001)
    watch.stop()
    done = [looking.steps for looking in vigil.sweeps[:2]]
    count = len(vigil.sweeps)
    await asyncio.sleep(0.02)

    assert [0, 0] == done
    assert count == len(vigil.sweeps)

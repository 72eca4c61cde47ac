"""`periodic`: one owned background task."""

from __future__ import annotations

import asyncio

from gateway.credentials.periodic import Periodic


async def test_runs_until_stopped() -> None:
    """The action runs again and again, and not after `stop`."""
    runs = 0
    third = asyncio.Event()

    async def action() -> None:
        nonlocal runs
        runs += 1
        if runs == 3:
            third.set()

    periodic = Periodic("test", 0.0, action)
    periodic.start()
    periodic.start()
    await third.wait()
    await periodic.stop()
    after = runs
    for _ in range(5):
        await asyncio.sleep(0)

    assert after == runs
    await periodic.stop()


async def test_the_interval_may_change() -> None:
    """It is asked for before each wait."""
    asked: list[int] = []
    third = asyncio.Event()

    def interval() -> float:
        asked.append(len(asked))
        if len(asked) == 3:
            third.set()
        return 0.0

    async def action() -> None:
        pass

    periodic = Periodic("test", interval, action)
    periodic.start()
    await third.wait()
    await periodic.stop()

    assert [0, 1, 2] == asked[:3]


async def test_a_fault_is_said_and_does_not_end_the_watching() -> None:
    """An action that fails has a bug: its type is said, its text is not, and the next run comes."""
    said: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: said.append(context))
    runs = 0
    third = asyncio.Event()

    async def action() -> None:
        nonlocal runs
        runs += 1
        if runs == 3:
            third.set()
        raise LookupError("a secret")

    periodic = Periodic("test", 0.0, action)
    periodic.start()
    await third.wait()
    await periodic.stop()

    assert {"message": "test: a fault of the gateway: LookupError"} == said[0]
    assert 2 <= len(said)

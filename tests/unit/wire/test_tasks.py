"""Background tasks have names and never fail in silence."""

from __future__ import annotations

import asyncio

from structlog.testing import capture_logs

from gateway.wire.tasks import _running, spawn
from tests.unit.wire.parts import turn


async def test_a_task_is_kept_until_it_ends() -> None:
    """Asyncio itself keeps only a weak reference."""
    gate = asyncio.Event()

    async def work() -> None:
        await gate.wait()

    task = spawn(work(), "work")

    assert task in _running
    assert "work" == task.get_name()

    gate.set()
    await task
    await turn()

    assert task not in _running


async def test_a_failure_is_logged_with_the_task_s_name() -> None:
    """Nobody awaits it."""

    async def work() -> None:
        raise ValueError("bug")

    with capture_logs() as logs:
        spawn(work(), "work")
        await turn()

    assert [("task-failed", "work")] == [(log["event"], log["task"]) for log in logs]


async def test_a_cancelled_task_is_no_failure() -> None:
    """It was told to stop."""
    with capture_logs() as logs:
        spawn(asyncio.Event().wait(), "work").cancel()  # type: ignore[arg-type]
        await turn()

    assert [] == logs

"""Tasks that are named, kept until they end, and never fail in silence."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import structlog

if TYPE_CHECKING:
    from collections.abc import Coroutine

_running: set[asyncio.Task[Any]] = set()  # asyncio itself keeps only weak references
_log = structlog.get_logger("gateway.tasks")


def spawn(coroutine: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
    """Start a background task; an exception that nobody awaits is logged with the task's name.

    Args:
        coroutine: What to run.
        name: Shown in logs and debuggers.
    """
    task = asyncio.get_running_loop().create_task(coroutine, name=name)
    _running.add(task)
    task.add_done_callback(_finish)
    return task


def _finish(task: asyncio.Task[Any]) -> None:
    _running.discard(task)
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("task-failed", task=task.get_name(), exc_info=error)

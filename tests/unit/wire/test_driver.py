"""A line driven by hand: gates, futures, errors, the end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from gateway.core.ports import ClientGone
from gateway.wire.driver import Driver, Gate
from tests.unit.wire.parts import turn

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


def start(line: Callable[[], Any]) -> tuple[Driver, list[BaseException | None]]:
    """Drive a line; the list gets what `done` is told."""
    ends: list[BaseException | None] = []
    driver = Driver(line(), ends.append)
    driver.resume()
    return driver, ends


def waiting(*things: Awaitable[Any]) -> tuple[Callable[[], Any], list[object]]:
    """A line that waits for things in turn and keeps what each gave or raised."""
    got: list[object] = []

    async def line() -> None:
        for thing in things:
            try:
                got.append(await thing)
            except ValueError as error:
                got.append(str(error))

    return line, got


def test_a_line_that_never_waits_ends_at_once() -> None:
    """Without a loop at all."""
    line, got = waiting()
    _, ends = start(line)

    assert [None] == ends
    assert [] == got


def test_an_open_gate_is_no_wait() -> None:
    """Opened before, with nothing or an error; the first call counts."""
    free, broken = Gate(), Gate()
    free.open()
    free.open(ValueError("late"))
    broken.open(ValueError("early"))
    broken.open()
    line, got = waiting(free, broken)
    _, ends = start(line)

    assert [None, "early"] == got
    assert [None] == ends


def test_a_gate_resumes_its_line_within_the_call() -> None:
    """No turn of the loop in between."""
    first, second = Gate(), Gate()
    line, got = waiting(first, second)
    _, ends = start(line)

    assert [] == got

    first.open()
    second.open(ValueError("no"))

    assert [None, "no"] == got
    assert [None] == ends


async def test_futures_are_waited_for_as_tasks_do() -> None:
    """Results and errors of plain futures; coroutines that await them."""
    future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    broken: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    line, got = waiting(future, broken)
    _, ends = start(line)
    future.set_result(3)
    await turn()
    broken.set_exception(ValueError("no"))
    await turn()

    assert [3, "no"] == got
    assert [None] == ends


async def test_a_cancelled_future_ends_the_line() -> None:
    """The error reaches `done`, not the loop."""
    future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    line, _ = waiting(future)
    _, ends = start(line)
    future.cancel()
    await turn()

    assert [asyncio.CancelledError] == [type(each) for each in ends]


async def test_waiting_for_anything_else_is_a_bug_that_is_heard() -> None:
    """A bare yield would hang the request for ever."""

    async def line() -> None:
        await asyncio.sleep(0)

    _, ends = start(line)

    assert [RuntimeError] == [type(each) for each in ends]


@pytest.mark.parametrize("kind", ["gate", "future"])
async def test_an_error_is_thrown_where_the_line_waits(kind: str) -> None:
    """What it waited for does not wake it afterwards."""
    gate = Gate()
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    line, got = waiting(gate if kind == "gate" else future)
    driver, ends = start(line)
    driver.throw(ClientGone())
    gate.open()
    future.set_result(None)
    await turn()

    assert [ClientGone] == [type(each) for each in ends]
    assert [] == got


def test_a_line_may_survive_a_throw() -> None:
    """It ends, or it waits for something else."""
    first, second, third = Gate(), Gate(), Gate()
    line, got = waiting(first, second, third)
    driver, ends = start(line)
    driver.throw(ValueError("one"))
    second.open()
    driver.throw(ValueError("three"))

    assert ["one", None, "three"] == got
    assert [None] == ends


def test_after_the_end_nothing_happens() -> None:
    """`done` is called once."""
    line, _ = waiting()
    driver, ends = start(line)
    driver.resume()
    driver.throw(ClientGone())

    assert [None] == ends


def test_what_escapes_is_handed_over() -> None:
    """Nothing is swallowed."""

    async def line() -> None:
        raise ValueError("bug")

    _, ends = start(line)

    assert ["bug"] == [str(each) for each in ends]

"""The log."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import structlog

from gateway.core.refusal import Reason, Refusal
from gateway.observe.log import MAX_FRAMES, LibraryHandler, LogSink, build_log, fault_reporter, frames, render
from tests.unit.observe.exchanges import ID, ManualClock, refused

if TYPE_CHECKING:
    from collections.abc import Iterator

HOLD = """
import fcntl, sys
file = open(sys.argv[1], "wb")
fcntl.lockf(file, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


class Output:
    """A file that a sink writes to."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
        self.sink = LogSink(self.descriptor)

    def lines(self) -> list[dict[str, Any]]:
        assert self.sink.close()
        return [msgspec.json.decode(line) for line in self._path.read_bytes().splitlines()]


@pytest.fixture
def output(tmp_path: Path) -> Iterator[Output]:
    """Give a sink, and put structlog back as it was."""
    found = Output(tmp_path / "log")
    yield found
    os.close(found.descriptor)
    structlog.reset_defaults()


def test_events_are_json_lines(output: Output) -> None:
    """Event, time and level first, then what the caller says."""
    build_log(output.sink, "info", ManualClock(1_700_000_000.5)).info(
        "started", listen="127.0.0.1:1", workers=2
    )

    line = output.lines()[0]
    assert ["event", "time", "level", "listen", "workers"] == list(line)
    assert ["started", "2023-11-14T22:13:20.500Z", "info", "127.0.0.1:1", 2] == list(line.values())


@pytest.mark.parametrize(("level", "expected"), [("debug", 5), ("warning", 3), ("critical", 1)])
def test_levels_filter(output: Output, level: str, expected: int) -> None:
    """What is below the level is not written."""
    log = build_log(output.sink, level, ManualClock())
    for method in ("debug", "info", "warning", "error", "critical"):
        getattr(log, method)("x")

    assert expected == len(output.lines())


def test_the_thread_writes(output: Output) -> None:
    """The way it runs in production."""
    output.sink.start()
    for number in range(100):
        output.sink.line(b'{"n":%d}' % number)

    assert list(range(100)) == [line["n"] for line in output.lines()]


def test_the_line_of_an_exchange_is_its_record(output: Output) -> None:
    """Marked as an exchange, otherwise the same bytes."""
    output.sink.exchange(b'{"time":"t","id":"i"}')

    assert [{"event": "exchange", "time": "t", "id": "i"}] == output.lines()


@pytest.mark.parametrize("text", ["a\nb", "\x1b[31m", "\u2028", "\u202e", "\ud800", "\x9b"])
def test_lines_cannot_be_forged(text: str) -> None:
    """Controls are escapes, whoever logs them."""
    line = render(None, "info", {"event": "x", "value": text}).decode()

    assert line.isascii()
    assert line.isprintable()


def test_values_are_bounded() -> None:
    """A value of a megabyte does not become a line of a megabyte; odd types become their repr."""
    line = render(
        None, "info", {"event": "x", "value": "v" * 1_000_000, "path": Path("/a"), "exc_info": True}
    )

    assert len(line) < 3000
    assert b"PosixPath" in line
    assert b"exc_info" not in line


def test_a_reader_who_is_gone_costs_lines_only() -> None:
    """A closed pipe is counted and never raised."""
    reader, writer = os.pipe()
    os.close(reader)
    sink = LogSink(writer)
    sink.line(b"{}")

    assert sink.close()
    assert 1 == sink.lost
    os.close(writer)


def _fail(depth: int) -> None:
    if depth:
        _fail(depth - 1)
    raise ValueError("canary: what a client sent")


def test_faults_are_logged_by_class_and_place(output: Output) -> None:
    """The text of an exception can hold a prompt; its place cannot."""
    report = fault_reporter(build_log(output.sink, "info", ManualClock()))
    with pytest.raises(ValueError) as caught:
        _fail(0)
    report(refused(Refusal(Reason.INTERNAL)), caught.value)

    line = output.lines()[0]
    assert (ID, "builtins.ValueError") == (line["id"], line["fault"])
    assert line["frames"][-1].endswith(" _fail")
    assert "canary" not in str(line)


def test_deep_stacks_are_bounded() -> None:
    """The innermost frames are kept."""
    with pytest.raises(ValueError) as caught:
        _fail(100)

    assert MAX_FRAMES == len(frames(caught.value))


def test_libraries_log_through_ours(output: Output) -> None:
    """Warnings and errors, by their template; arguments may be a client's."""
    logger = logging.getLogger("test.library")
    handler = LibraryHandler(build_log(output.sink, "info", ManualClock()))
    logger.addHandler(handler)
    logger.propagate = False
    logger.info("not this")
    logger.warning("bad request from %s", "canary")
    try:
        _fail(0)
    except ValueError:
        logger.exception("failed %s", "canary")
    logger.removeHandler(handler)

    lines = output.lines()
    assert [("warning", "bad request from %s"), ("error", "failed %s")] == [
        (x["level"], x["message"]) for x in lines
    ]
    assert "ValueError" == lines[1]["fault"]
    assert "canary" not in str(lines)


def test_workers_write_one_log(tmp_path: Path) -> None:
    """Each says who it is in every line, and who writes holds the lock meanwhile."""
    with (tmp_path / "lock").open("wb") as lock, (tmp_path / "log").open("wb") as file:
        sink = LogSink(file.fileno(), lock=lock.fileno(), worker=2)
        build_log(sink, "info", ManualClock(), worker=2).info("started", n=1)
        sink.exchange(b'{"id":"i"}')
        held = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(tmp_path / "lock")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert held.stdout is not None
        held.stdout.readline()
        sink.start()
        while not sink._spool._kept:  # it has taken the lines, and waits
            pass
        early = (tmp_path / "log").read_bytes()
        held.communicate()
        assert sink.close()
    structlog.reset_defaults()
    lines = [msgspec.json.decode(line) for line in (tmp_path / "log").read_bytes().splitlines()]

    assert b"" == early
    assert [("started", 2), ("exchange", 2)] == [(line["event"], line["worker"]) for line in lines]

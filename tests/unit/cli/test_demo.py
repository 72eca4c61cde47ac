"""`gateway demo` shows what it promises, says so by its exit code, and leaves nobody running."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import shlex
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from gateway.cli import demo
from gateway.cli.demo import playground, tour
from gateway.cli.demo.attempts import Came
from gateway.cli.demo.children import ChildError, Children
from gateway.cli.demo.screen import Screen
from gateway.cli.demo.world import World

SAY = ("timeit", "-n1", "-r1")  # a module that runs a statement


def arguments(directory: Path, *, once: bool = True) -> argparse.Namespace:
    """Make what the command line would."""
    return argparse.Namespace(directory=directory, once=once)


def test_the_command_line_is_understood() -> None:
    """Both options, and their defaults."""
    root = argparse.ArgumentParser()
    demo.add(root.add_subparsers())
    plain, full = root.parse_args(["demo"]), root.parse_args(["demo", "--once", "--directory", "/d"])

    assert (False, Path("demo"), demo.run) == (plain.once, plain.directory, plain.run)
    assert (True, Path("/d")) == (full.once, full.directory)


def test_a_missing_package_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An installation without the demo's extras says how to get them."""
    monkeypatch.setattr(demo, "NEEDED", ("msgspec", "no_such_package"))

    assert 2 == demo.run(arguments(tmp_path))
    assert "needs no_such_package" in capsys.readouterr().out


def test_a_directory_of_somebody_else_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The exit code is that of a wrong call."""
    (tmp_path / "thesis.txt").write_text("precious")

    assert 2 == demo.run(arguments(tmp_path))
    assert "--directory" in capsys.readouterr().out


def test_a_child_that_fails_is_quoted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The end of its log is what a person needs."""
    log = tmp_path / "model.log"
    log.write_text("\n".join(f"line {number}" for number in range(100)))

    def play(*_: object, **__: object) -> int:
        raise ChildError("model", log)

    monkeypatch.setattr(demo, "_play", play)

    assert 2 == demo.run(arguments(tmp_path))
    said = capsys.readouterr().out
    assert "model did not start" in said
    assert "line 99" in said
    assert "line 1\n" not in said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_ends_it_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    """SIGTERM and SIGHUP do what Ctrl-C does, and only while the demo runs."""
    before = signal.getsignal(signal.SIGTERM)

    def play(*_: object, **__: object) -> int:
        os.kill(os.getpid(), number)
        threading.Event().wait(10)
        return 0

    monkeypatch.setattr(demo, "_play", play)

    assert 1 == demo.run(arguments(tmp_path))
    assert before == signal.getsignal(signal.SIGTERM)


def stay(tmp_path: Path, statement: str) -> str:
    """Stay with one child; return what was said."""
    out = io.StringIO()
    world = World(tmp_path / "demo")
    with Children(world.logs) as children:
        children.start_and_hear("one", *SAY, statement)
        demo._stay(Screen(out), world, children, 1, 2)
    return out.getvalue()


def test_it_stays_until_control_c(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands to try are on the screen meanwhile."""

    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, "time", SimpleNamespace(sleep=interrupt))
    said = stay(tmp_path, "import sys; print('ready', flush=True); sys.stdin.read()")

    assert "curl https://localhost:1/v1/chat/completions" in said
    assert "good-bye" in said


def test_it_does_not_stay_with_the_dead(tmp_path: Path) -> None:
    """If a child ends by itself there is nothing left to try."""
    assert "one ended by itself" in stay(tmp_path, "print('ready', flush=True)")


def test_the_commands_are_complete() -> None:
    """Every command is one that a shell can read, with nothing left to fill in."""
    named = playground.commands(Path("/d"), Path(".venv/bin/gateway"), 1, 2)
    unnamed = playground.commands(Path("/d"), Path("pytest"), 1, 2)

    assert any(".venv/bin/gateway token mint" in command for _, command in named)
    assert any("python -m gateway token mint" in command for _, command in unnamed)
    for _, command in named + unnamed:
        assert shlex.split(command.split("<<")[0])
        assert "{d}" not in command


def test_an_answer_that_must_not_be_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One wrong row makes the whole tour wrong."""
    rows = [
        tour.Attempt("right", "403 forbidden", lambda: Came("403 forbidden", "x" * 200)),
        tour.Attempt("wrong", "403 forbidden", lambda: Came("200", "oh")),
    ]
    monkeypatch.setattr(tour.Tour, "_answers", lambda _: None)
    monkeypatch.setattr(tour.Tour, "_attempts", lambda _: rows)
    monkeypatch.setattr(tour.Tour, "_records", lambda _: None)
    out = io.StringIO()

    assert not tour.Tour(World(tmp_path / "demo"), Screen(out), 1, 2).run()
    assert "✓ right" in out.getvalue()
    assert "✗ wrong" in out.getvalue()


def test_a_stream_that_breaks_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody listens: both answers are missing, and the tour says so instead of ending."""
    monkeypatch.setattr(tour.Tour, "_attempts", lambda _: [])
    monkeypatch.setattr(tour.Tour, "_records", lambda _: None)
    out = io.StringIO()

    assert not tour.Tour(World(tmp_path / "demo"), Screen(out), 1, 2).run()
    assert "APIConnectionError" in out.getvalue()


def test_a_wrong_answer_is_the_exit_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the demo in a script learns that something came back that must not."""
    monkeypatch.setattr(demo, "_start", lambda *_: (1, 2, 3))
    monkeypatch.setattr(tour.Tour, "run", lambda _: False)

    assert 1 == demo.run(arguments(tmp_path / "demo"))


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_the_whole_demo(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A real model, a real gateway, the official client: every answer is the expected one."""
    directory = tmp_path / "demo"
    code = demo.run(arguments(directory))
    said = capsys.readouterr().out

    assert 0 == code, said
    assert 17 == said.count("  ✓ ")  # six steps, then eleven rows
    assert "✗" not in said
    assert "Every answer was the expected one." in said
    mint = dict(playground.commands(directory, Path("pytest"), 1, 2))
    command = next(text for text in mint.values() if "token mint" in text)
    shell = command.replace("python -m gateway", f"{sys.executable} -m gateway")
    subprocess.run(["sh", "-c", shell], check=True)
    assert 3 == len((directory / "tokens" / "alice").read_text().strip().split("."))


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_demo_that_is_terminated_leaves_nobody(tmp_path: Path) -> None:
    """It stays after the tour; SIGTERM ends it and its three children."""
    directory = tmp_path / "demo"
    command = [sys.executable, "-u", "-m", "gateway", "demo", "--directory", str(directory)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = ""
        for line in process.stdout:
            said += line
            if "/metrics" in line:
                break
        process.terminate()
        assert 0 == process.wait(30), said
    alive = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if str(directory).encode() in path.read_bytes():
                alive.append(path)

    assert [] == alive

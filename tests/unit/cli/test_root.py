"""The command line itself."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING

import pytest

from gateway import __version__
from gateway.cli import build_parser, main, run

if TYPE_CHECKING:
    import argparse

COMMANDS = ("run", "check", "explain", "certs", "token", "audit", "demo", "version")


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    """As a command and as an option, in the same words."""
    code = main(["version"])
    with pytest.raises(SystemExit) as caught:
        main(["--version"])

    assert (0, 0) == (code, caught.value.code)
    assert f"gateway {__version__}\n" * 2 == capsys.readouterr().out


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    """Every command is listed, and the first steps are shown."""
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    said = capsys.readouterr().out

    assert 0 == caught.value.code
    assert [] == [command for command in COMMANDS if f"\n    {command} " not in said]
    assert "gateway run --config" in said


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Asked for, it is shown."""
    with pytest.raises(SystemExit) as caught:
        main([command, "--help"])

    assert 0 == caught.value.code
    assert f"usage: gateway {command}" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [[], ["no-such-command"], ["run"], ["check"]])
def test_wrong_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, with how it is used."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)

    assert 2 == caught.value.code
    assert "usage: gateway" in capsys.readouterr().err


def test_an_interrupt_is_no_stack_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Control-C: 130, as shells expect it."""

    def interrupt(_options: argparse.Namespace) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "run", interrupt)

    assert 130 == main(["run", "--config", "any"])


def test_a_reader_who_has_seen_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """`gateway audit show | head` is no failure, and says nothing more."""

    def broken(_options: argparse.Namespace) -> int:
        raise BrokenPipeError

    monkeypatch.setattr(run, "run", broken)
    monkeypatch.setattr(sys, "stderr", io.StringIO())

    assert 0 == main(["run", "--config", "any"])
    assert sys.stderr.closed


def test_options_are_the_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command gets what it declared, and its code is the program's."""
    monkeypatch.setattr(run, "run", lambda options: len(str(options.config)))

    assert 3 == main(["run", "--config", "abc"])
    assert "gateway" == build_parser("run").prog

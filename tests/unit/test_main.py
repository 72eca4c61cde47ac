"""`python -m gateway`."""

from __future__ import annotations

import runpy
import sys

import pytest

from gateway import __version__


def test_the_package_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """It is the command, and its exit code the process'."""
    monkeypatch.setattr(sys, "argv", ["gateway", "version"])
    with pytest.raises(SystemExit) as caught:
        runpy.run_module("gateway", run_name="__main__")

    assert (0, f"gateway {__version__}\n") == (caught.value.code, capsys.readouterr().out)


def test_importing_it_runs_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """Only the program itself is the program."""
    names = runpy.run_module("gateway.__main__", run_name="gateway.__main__")

    assert callable(names["main"])
    assert "" == capsys.readouterr().out

"""`gateway check`: everything that can be said about a configuration before it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gateway.cli import main
from tests.unit.app.settings import FULL, Directory

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def directory(tmp_path: Path) -> Directory:
    """Everything that a full configuration names."""
    return Directory(tmp_path)


def check(directory: Directory, text: str) -> int:
    """Run the command on a configuration."""
    return main(["check", str(directory.write("gateway.yaml", text.encode()))])


def test_a_configuration_that_may_be_run(directory: Directory, capsys: pytest.CaptureFixture[str]) -> None:
    """One line: which file, how much is in it, its version; exit code 0."""
    code = check(directory, FULL)
    said = capsys.readouterr()

    assert 0 == code
    assert said.out.startswith(f"{directory.path}/gateway.yaml: fine; 4 routes, 4 backends, version ")
    assert directory.load().digest[:16] in said.out
    assert "error" not in said.err


def test_it_opens_no_socket(
    directory: Directory, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keys at a URL are not fetched, no backend is tried."""
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("a socket was opened"))

    assert 0 == check(directory, FULL)


def test_a_warning_does_not_stop_it(directory: Directory, capsys: pytest.CaptureFixture[str]) -> None:
    """What an operator should know stands on the standard error; the exit code is still 0."""
    code = check(
        directory, FULL.replace("roles:\n  res", "  anonymous: {roles: [researcher]}\nroles:\n  res")
    )

    assert 0 == code
    assert "warning: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        ("backend: plain", "backend: plane", "plane"),
        ("request.max_tokens", "request.max_tokns", "max_tokns"),
        ("server:", "servers:", "servers"),
    ],
)
def test_a_configuration_that_may_not(
    old: str, new: str, word: str, directory: Directory, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing on the standard output, the whole report on the standard error, exit code 1."""
    code = check(directory, FULL.replace(old, new, 1))
    said = capsys.readouterr()

    assert (1, "") == (code, said.out)
    assert word in said.err
    assert "nothing was started" in said.err


def test_a_file_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Said in words, without a stack trace."""
    code = main(["check", str(tmp_path / "nothing.yaml")])

    assert 1 == code
    assert "cannot be read" in capsys.readouterr().err

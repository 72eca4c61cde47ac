"""`gateway check`: everything that can be said about a configuration before it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gateway.cli import check as command
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
    assert directory.compile().version in said.out
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


def test_several_workers_need_shared_state(
    directory: Directory, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refused with its mend for state in memory, `auto` where there are cores for it too; fine with Redis."""
    path = str(directory.write("gateway.yaml", FULL.encode()))
    shared = FULL + 'state: {url: "redis://127.0.0.1:6379"}\n'
    monkeypatch.setattr(command, "usable_cores", lambda: 2)
    codes = [main(["check", "--workers", word, path]) for word in ("1", "2", "auto")]
    said = capsys.readouterr().err
    directory.write("gateway.yaml", shared.encode())
    codes.append(main(["check", "--workers", "auto", path]))

    assert [0, 1, 1, 0] == codes
    assert 2 == said.count("with state in memory each of 2 workers would grant every limit in full")
    assert "= mend: keep the state in Redis (docs/redis.md), or run one worker: `--workers 1`" in said


@pytest.mark.parametrize("word", ["0", "-1", "513", "two", "1.5", "", "²"])
def test_numbers_of_workers(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    """From 1 to 512, or `auto`."""
    with pytest.raises(SystemExit):
        main(["check", f"--workers={word}", "gateway.yaml"])

    assert f"`{word}` is neither a number from 1 to 512 nor `auto`" in capsys.readouterr().err

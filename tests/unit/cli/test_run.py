"""`gateway run`: exit codes and what is said when it cannot."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest
import structlog

from gateway.app.listening import CannotListen
from gateway.app.process import Process
from gateway.cli import main
from gateway.observe.audit import AuditBroken
from tests.unit.app.settings import FULL, Directory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


IN_USE = "gateway: cannot start: cannot listen on 127.0.0.1:1: Address already in use"
MEND = "\n      = mend: "


@pytest.fixture
def configuration(tmp_path: Path) -> Iterator[str]:
    """A configuration that may be run; what the command does to the process' logging is undone."""
    handlers = logging.getLogger().handlers.copy()
    yield str(Directory(tmp_path).write("gateway.yaml", FULL.encode()))
    logging.getLogger().handlers[:] = handlers
    structlog.reset_defaults()


def run(configuration: str, monkeypatch: pytest.MonkeyPatch, fault: Exception | None) -> int:
    """Run the command with a process that ends at once."""

    async def end(_process: Process) -> None:
        if fault is not None:
            raise fault

    monkeypatch.setattr(Process, "run", end)
    return main(["run", "--config", configuration])


def test_it_ends_as_asked(configuration: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 0."""
    assert 0 == run(configuration, monkeypatch, None)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (
            CannotListen(98, "cannot listen on 127.0.0.1:1: Address already in use"),
            f"{IN_USE}{MEND}end what listens there (`ss -ltnp` shows it), or give another address\n",
        ),
        (
            CannotListen(5, "cannot listen on 127.0.0.1:1: Input/output error"),
            f"gateway: cannot start: cannot listen on 127.0.0.1:1: Input/output error{MEND}give another address\n",
        ),
        (
            PermissionError(13, "Permission denied", "/audit"),
            f"gateway: cannot start: /audit cannot be used: permission denied{MEND}let this user open it, or correct the path\n",
        ),
        (OSError("odd"), "gateway: cannot start: odd\n"),
        (
            AuditBroken("audit.jsonl is in use"),
            "gateway: the audit log cannot be continued: audit.jsonl is in use\n",
        ),
    ],
)
def test_what_keeps_it_from_starting(
    fault: Exception,
    said: str,
    configuration: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What is wrong, and how to mend it; exit code 2."""
    code = run(configuration, monkeypatch, fault)

    assert 2 == code
    assert capsys.readouterr().err.endswith(said)


def test_a_bug_is_not_hidden(configuration: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody foresaw ends with its stack trace: there is no other place for it."""
    with pytest.raises(ZeroDivisionError):
        run(configuration, monkeypatch, ZeroDivisionError())


def test_a_broken_configuration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 1, and nothing was opened."""
    (tmp_path / "gateway.yaml").write_text("server: {}\n")
    code = main(["run", "--config", str(tmp_path / "gateway.yaml")])

    assert 1 == code
    assert "nothing was started" in capsys.readouterr().err
    assert ["gateway.yaml"] == [path.name for path in tmp_path.iterdir()]

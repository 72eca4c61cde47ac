"""What revocations need, and what is said where they would not hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.unit.config.writing import Authority, messages, warnings

if TYPE_CHECKING:
    from pathlib import Path

REDIS = {"url": "redis://127.0.0.1/0"}
SEALED = {"secret": "env:SECRET"}


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A directory."""
    Authority(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"revocations": {"max_staleness": "900ms"}},
            ('"900ms"', "this is shorter than an ordinary pause of a network, and would refuse everybody"),
        ),
        ({"revocations": SEALED}, ('"secret"', "`secret` has no effect with `memory://`")),
        (
            {"state": REDIS, "revocations": {"secret": "file:none"}},
            ('"file:none"', "there is no file {}/none"),
        ),
        (
            {"audit": {"path": "a"}, "revocations": {"journal": "a"}},
            ('"a"', "the audit log and the journal of revocations are one file"),
        ),
        (
            {"routes.0.continuous": {"every": "100ms"}},
            ('"100ms"', "looking at everything that runs so often would cost more than serving it"),
        ),
    ],
)
def test_what_would_not_hold_is_refused(
    files: Path, changes: dict[str, object], expected: tuple[str, str]
) -> None:
    """At the setting that causes it."""
    text, message = expected

    assert [(text, message.format(files))] == messages(files, changes)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"revocations": {"max_staleness": "1s", "journal": "j", "capacity": 1000}}, []),
        ({"routes.0.continuous": {"every": "250ms", "expiry": "finish", "policy": "finish"}}, []),
        ({"state": REDIS, "revocations": SEALED}, []),
        (
            {"state": REDIS},
            ["revocations are sealed with what Redis knows: whoever runs it could make and lift them"],
        ),
        (
            {"state": {**REDIS, "on_failure": "local", "processes": 2}, "revocations": SEALED},
            ["without Redis this goes on for `revocations.max_staleness` (5 s) and no longer"],
        ),
    ],
)
def test_what_is_doubtful_warns(files: Path, changes: dict[str, object], expected: list[str]) -> None:
    """A fleet without a secret of its own, a setting that another one overrules."""
    assert expected == warnings(files, changes)

"""How many cores may be used."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from gateway.app.cores import usable_cores

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def eight(monkeypatch: pytest.MonkeyPatch) -> None:
    """The scheduler allows eight cores."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))


def machine(directory: Path, own: str, **quotas: str) -> tuple[Path, Path]:
    """Write control groups: a quota by name of a group, `root` for the uppermost."""
    cgroups = directory / "cgroup"
    for name, quota in quotas.items():
        group = cgroups if name == "root" else cgroups / name.replace("__", "/")
        group.mkdir(parents=True, exist_ok=True)
        (group / "cpu.max").write_text(quota)
    (directory / "own").write_text(own)
    return cgroups, directory / "own"


@pytest.mark.parametrize(
    ("own", "quotas", "cores"),
    [
        ("0::/\n", {}, 8),
        ("0::/\n", {"root": "max 100000\n"}, 8),
        ("0::/\n", {"root": "250000 100000\n"}, 2),  # whole cores
        ("0::/\n", {"root": "50000 100000\n"}, 1),  # never none
        ("0::/a/b\n", {"a": "300000 100000\n", "a__b": "max 100000\n"}, 3),  # the group above counts
        ("0::/a/b\n", {"a": "nonsense", "a__b": "1 0"}, 8),
        ("1:cpu:/a\n", {"a": "100000 100000"}, 8),  # version 1 is not read
        ("0::/../x\n", {"root": "100000 100000"}, 8),  # outside of what we see
    ],
)
def test_the_least_bound_counts(tmp_path: Path, own: str, quotas: dict[str, str], cores: int) -> None:
    """Of the scheduler's cores and the quotas of all groups above."""
    assert cores == usable_cores(*machine(tmp_path, own, **quotas))


def test_without_control_groups(tmp_path: Path) -> None:
    """The scheduler's word is all there is."""
    assert 8 == usable_cores(tmp_path, tmp_path / "nothing")

"""A line that leaves a stage out does not type-check: the proofs are demanded where something is forwarded."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.house.tree import ROOT

if TYPE_CHECKING:
    from pathlib import Path

# The stage that is left out, and what somebody in a hurry would put in its place.
SHORTCUTS = {
    "identify": ("identity = ex.identity = await identify(call, rt.identification, now)", "identity = None"),
    "enter": ("entry = enter(identity, route, call, now)", "entry = route"),
    "limit": (
        "admission = await limit(entry, rt.store, foresee(entry, call.peer.address))",
        "admission = None",
    ),
    "inspect": ("vetted = inspect(entry, call, body)", "vetted = entry.route.inspector(body, call)"),
    "authorize": (
        "permit = ex.permit = authorize(entry, call, vetted, risk, now)",
        "permit = ex.permit = entry",
    ),
    "reserve": (
        "reservation = await reserve(permit, admission, vetted, call.peer.address, rt.budgets)",
        "reservation = admission",
    ),
}


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program, to be spoiled."""
    directory = tmp_path_factory.mktemp("spoiled")
    shutil.copytree(ROOT / "gateway", directory / "gateway", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", directory)
    return directory


def loosely(code: str) -> str:
    """Make a pattern that finds code however it is broken into lines."""
    return r"\s*,?\s*".join(re.escape(token) for token in re.findall(r"\w+|[^\w\s]", code))


def errors(directory: Path) -> list[str]:
    """What mypy says about the line."""
    command = [sys.executable, "-m", "mypy", "gateway/pipeline.py"]
    done = subprocess.run(command, cwd=directory, check=False, capture_output=True, text=True)
    return [line for line in done.stdout.splitlines() if ": error:" in line]


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_no_stage_can_be_left_out(copy: Path) -> None:
    """Whole, the line type-checks; with any stage replaced by a shortcut, it does not."""
    line = copy / "gateway/pipeline.py"
    whole = line.read_text()
    assert [] == errors(copy)
    passed = []
    for stage, (call, shortcut) in SHORTCUTS.items():
        spoiled, count = re.subn(loosely(call), shortcut, whole)
        assert 1 == count, stage
        line.write_text(spoiled)
        if not errors(copy):
            passed.append(stage)

    assert [] == passed

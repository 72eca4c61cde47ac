"""One directory per test: files are spoiled in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.unit.app.settings import Directory

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def directory(tmp_path: Path) -> Directory:
    """Everything that a full configuration names."""
    return Directory(tmp_path)

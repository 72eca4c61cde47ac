"""One directory per test: files are spoiled in it; and a log for whoever wants one."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from gateway.observe.log import LogSink
from tests.unit.app.settings import Directory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def directory(tmp_path: Path) -> Directory:
    """Everything that a full configuration names."""
    return Directory(tmp_path)


@pytest.fixture
def sink(tmp_path: Path) -> Iterator[LogSink]:
    """A log that nobody reads."""
    descriptor = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT)
    made = LogSink(descriptor)
    made.start()
    yield made
    made.close()
    os.close(descriptor)

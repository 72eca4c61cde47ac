"""`files`: private by birth, never overwritten by accident."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gateway.credentials.files import PRIVATE, read_bounded, write_new

if TYPE_CHECKING:
    from pathlib import Path


def test_new_files_have_their_mode(tmp_path: Path) -> None:
    """The mode is right before the first byte, in a directory that is made if needed."""
    path = tmp_path / "a/b/key"
    write_new(path, b"x", mode=PRIVATE)

    assert (0o600, b"x") == (path.stat().st_mode & 0o777, path.read_bytes())


def test_nothing_is_overwritten_without_force(tmp_path: Path) -> None:
    """With force the new file replaces the old one at once, mode included."""
    path = tmp_path / "key"
    write_new(path, b"old")
    with pytest.raises(FileExistsError):
        write_new(path, b"new")
    assert b"old" == path.read_bytes()
    write_new(path, b"new", mode=PRIVATE, force=True)

    assert (b"new", 0o600) == (path.read_bytes(), path.stat().st_mode & 0o777)
    assert [path] == list(tmp_path.iterdir())


def test_reading_is_bounded(tmp_path: Path) -> None:
    """The largest file is read, one byte more is not."""
    path = tmp_path / "data"
    path.write_bytes(b"12345")

    assert b"12345" == read_bounded(path, 5)
    with pytest.raises(ValueError, match="larger than 4"):
        read_bounded(path, 4)

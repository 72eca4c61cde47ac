"""`watched`: things made from files stay as they were until the files can be used again."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from gateway.credentials.watched import Watched

if TYPE_CHECKING:
    from pathlib import Path


def test_only_changes_are_read_and_failures_are_said_once(tmp_path: Path) -> None:
    """Good, broken, gone, back: what is in use is always the last good one."""
    file = tmp_path / "number"
    file.write_text("1")
    said: list[tuple[str, str | None]] = []
    made: list[int] = []

    def make() -> int:
        made.append(int(file.read_text()))
        return made[-1]

    def report(name: str, failure: str | None, /) -> None:
        said.append((name, failure))

    watched = Watched("number", [file], make)

    def look(text: str | None = None, *, is_due: bool = False) -> tuple[bool, int, bool]:
        if text is not None:
            file.write_text(text)
            os.utime(file, ns=(len(made) + len(said), 10**9 + len(made) + len(said)))
        return watched.look(report, is_due=is_due), watched.value, watched.is_failing

    assert (False, 1, False) == look()
    assert (True, 2, False) == look("2")
    assert (False, 2, True) == look("two")
    assert (False, 2, True) == look()
    assert (True, 3, False) == look("3")
    assert (True, 3, False) == look(is_due=True)
    file.unlink()
    assert (False, 3, True) == look()
    assert (True, 3, False) == look("3")
    assert [
        ("number", None),
        ("number", "invalid literal for int() with base 10: 'two'"),
        ("number", None),
    ] == said[:3]
    assert f"{file}: No such file or directory" == said[4][1]
    assert [1, 2, 3, 3, 3] == made


def test_what_cannot_be_used_yet_is_used_once_it_can(tmp_path: Path) -> None:
    """Without another change: a revocation list of a clock that is ahead must not wait for the next one."""
    file = tmp_path / "list"
    file.write_text("1")
    clock, said = [100], []

    def make() -> str:
        text = file.read_text()
        if clock[0] < int(text):
            raise ValueError("is not valid yet")
        return text

    watched = Watched("list", [file], make)
    file.write_text("101")
    looks = [watched.look(lambda name, failure: said.append(failure)) for _ in range(3)]
    assert ([False] * 3, "1", True, ["is not valid yet"]) == (looks, watched.value, watched.is_failing, said)
    clock[0] = 101

    assert watched.look(lambda name, failure: said.append(failure))
    assert ("101", False, None) == (watched.value, watched.is_failing, said[-1])
    assert not watched.look(lambda name, failure: said.append(failure))


def test_another_change_and_another_reason_are_said(tmp_path: Path) -> None:
    """The same fault of another file, and another fault of the same one."""
    file = tmp_path / "list"
    file.write_text("1")
    why, said = [""], []

    def make() -> str:
        if why[0]:
            raise ValueError(why[0])
        return file.read_text()

    watched = Watched("list", [file], make)
    why[0] = "is stale"
    for text in ("22", "333", "333"):
        if text != file.read_text():
            file.write_text(text)
        assert not watched.look(lambda name, failure: said.append(failure))
    why[0] = "is older"
    assert not watched.look(lambda name, failure: said.append(failure))

    assert ["is stale", "is stale", "is older"] == said


def test_a_file_that_changes_while_it_is_read_is_read_again(tmp_path: Path) -> None:
    """The stamp is taken before reading."""
    file = tmp_path / "number"
    file.write_text("1")

    def make() -> str:
        text = file.read_text()
        if text == "1":
            file.write_text("22")
        return text

    watched = Watched("number", [file], make)

    assert watched.look(lambda name, failure: None)
    assert "22" == watched.value


def test_the_first_time_must_succeed(tmp_path: Path) -> None:
    """There is nothing to fall back on."""
    with pytest.raises(FileNotFoundError):
        Watched("none", [tmp_path / "none"], (tmp_path / "none").read_text)

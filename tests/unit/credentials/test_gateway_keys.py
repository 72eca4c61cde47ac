"""`gateway_keys`: the running gateway's view of the file, whatever happens to it."""

from __future__ import annotations

import asyncio
import errno
from typing import TYPE_CHECKING

import msgspec
import pytest

from gateway.credentials.gateway_keys import KeyFile, make_blind
from gateway.credentials.key_records import KeyFileError, Record, parse_records, write_records

from .parts import FixedClock
from .test_key_records import line

if TYPE_CHECKING:
    from pathlib import Path

PEPPER = "p" * 32


def records(*letters: str) -> list[Record]:
    """One key per letter."""
    [one] = parse_records(line())
    return [msgspec.structs.replace(one, id=letter * 20) for letter in letters]


class Held:
    """A file of keys, its reader, and what that said."""

    def __init__(self, directory: Path, interval: float = 1.0) -> None:
        self.path = directory / "keys.jsonl"
        self.clock = FixedClock()
        self.changes: list[int] = []
        self.failures: list[str] = []
        if not self.path.exists():
            write_records(self.path, records("a", "b"))
        self.keys = KeyFile(
            self.path,
            make_blind(PEPPER),
            ["batch"],
            self.clock,
            interval=interval,
            tell=self.changes.append,
            on_failure=self.failures.append,
        )


@pytest.fixture
def held(tmp_path: Path) -> Held:
    """Two keys."""
    return Held(tmp_path)


def test_a_removed_key_is_gone(held: Held) -> None:
    """And what was proven by older keys is void; a look at an unchanged file changes nothing."""
    assert not held.keys.reload()
    generations: list[int] = []
    held.keys.on_change = lambda: generations.append(held.keys.generation)
    write_records(held.path, records("b", "c"))

    assert held.keys.reload()
    assert (None, True, True) == (
        held.keys.find("a" * 20),
        held.keys.find("b" * 20) is not None,
        held.keys.find("c" * 20) is not None,
    )
    assert (1, [1], [2], 2) == (held.keys.generation, generations, held.changes, len(held.keys))


def test_the_same_keys_in_another_file_void_nothing(held: Held) -> None:
    """A file that is only written again proves nothing new."""
    write_records(held.path, records("a", "b"))

    assert not held.keys.reload()
    assert 0 == held.keys.generation


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_bytes(b"{"),
        lambda path: path.write_bytes(line(roles=["unknown"])),
        lambda path: path.chmod(0o606),
        lambda path: (path.unlink(), path.mkdir()),
    ],
)
def test_a_broken_file_changes_nothing_and_is_said(held: Held, spoil: object) -> None:
    """Loudly, once a minute, until it is mended."""
    spoil(held.path)  # type: ignore[operator]
    for _ in range(3):
        assert not held.keys.reload()
    assert (2, 0, 1) == (len(held.keys), held.keys.generation, len(held.failures))
    held.clock.now += 60
    assert not held.keys.reload()
    assert 2 == len(held.failures)
    assert str(held.path) in held.failures[0]
    if held.path.is_dir():
        held.path.rmdir()
    write_records(held.path, records("a"))

    assert held.keys.reload()
    assert held.keys.find("b" * 20) is None


def test_a_file_that_is_gone_has_no_keys(held: Held) -> None:
    """Whoever takes the file away takes the keys away; one that comes back brings them back."""
    held.path.unlink()

    assert held.keys.reload()
    assert 0 == len(held.keys)
    write_records(held.path, records("a"))
    assert held.keys.reload()
    assert 1 == len(held.keys)


def test_a_file_that_could_not_be_looked_at_is_looked_at_again(held: Held) -> None:
    """What kept it from being read may pass without a change of the file: its keys must not outlive it."""
    directory = held.path.parent
    away = directory.with_name("away")
    directory.rename(away)
    directory.write_bytes(b"no directory")
    assert not held.keys.reload()
    assert (2, 1) == (len(held.keys), len(held.failures))
    directory.unlink()
    directory.mkdir()

    assert held.keys.reload()
    assert 0 == len(held.keys)


def test_a_file_that_could_not_be_read_is_read_again(held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without waiting for its next change: a key that is gone from it would live on."""

    def starved(path: Path) -> bytes:
        raise OSError(errno.EMFILE, "Too many open files", str(path))

    write_records(held.path, records("b"))
    with monkeypatch.context() as patched:
        patched.setattr("gateway.credentials.gateway_keys.read_file", starved)
        assert not held.keys.reload()
    assert [f"{held.path}: Too many open files"] == held.failures

    assert held.keys.reload()
    assert held.keys.find("a" * 20) is None


def test_a_broken_file_does_not_start(tmp_path: Path) -> None:
    """There are no last good keys then."""
    path = tmp_path / "keys.jsonl"
    path.write_bytes(b"{")
    path.chmod(0o600)
    with pytest.raises(KeyFileError):
        Held(tmp_path)


def test_nobody_need_be_told(tmp_path: Path) -> None:
    """Changes and failures are told to whoever wants to know."""
    path = tmp_path / "keys.jsonl"
    keys = KeyFile(path, make_blind(PEPPER), ["batch"], FixedClock())
    write_records(path, records("a"))
    assert keys.reload()
    path.write_bytes(b"{")

    assert not keys.reload()
    assert 1 == len(keys)


async def test_the_file_is_watched(tmp_path: Path) -> None:
    """In the background, until it is stopped."""
    held = Held(tmp_path, interval=0.001)
    await held.keys.start()
    write_records(held.path, records("a"))
    while not held.changes:
        await asyncio.sleep(0.001)
    await held.keys.stop()
    write_records(held.path, [])
    await asyncio.sleep(0.01)

    assert [1] == held.changes


def test_a_digest_needs_the_pepper() -> None:
    """Another pepper, or another key, makes another digest; a short pepper is refused."""
    blind = make_blind(PEPPER)

    assert (32, True) == (len(blind(b"gk_a")), blind(b"gk_a") == blind(b"gk_a"))
    assert blind(b"gk_a") not in {blind(b"gk_b"), make_blind("q" * 32)(b"gk_a")}
    with pytest.raises(ValueError, match="fewer than 32"):
        make_blind("p" * 31)

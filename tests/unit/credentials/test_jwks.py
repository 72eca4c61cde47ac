"""`jwks`: lookup, and keys from a file that changes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec
import pytest

from gateway.credentials.jwk import MAX_SET_BYTES, JwksError, parse_set
from gateway.credentials.jwks import REFRESH_WINDOW, FileKeySet, Keys
from gateway.credentials.signing import Signer, generate_key, key_set

from .parts import FixedClock

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.credentials.key_news import KeyNews

ONE = Signer(generate_key("ES256"), kid="one")
TWO = Signer(generate_key("ES256"), kid="two")
EDWARDS = Signer(generate_key("EdDSA"), kid="three")


def write(path: Path, data: bytes, stamp: int) -> None:
    """Write a file with a modification time of its own: the file system's is too coarse."""
    path.write_bytes(data)
    os.utime(path, ns=(stamp, stamp))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file with the first key."""
    file = tmp_path / "jwks.json"
    write(file, key_set(ONE), 1)
    return file


def test_keys_are_found_by_name_and_algorithm() -> None:
    """The right name with the wrong algorithm finds nothing."""
    keys = Keys(parse_set(key_set(ONE, EDWARDS)))

    assert keys.find("one", "ES256") is not None
    assert keys.find("three", "Ed25519") is keys.find("three", "EdDSA") is not None
    assert keys.find("one", "EdDSA") is None
    assert keys.find("two", "ES256") is None


def test_without_a_name_the_key_must_be_the_only_one() -> None:
    """Nothing is guessed."""
    assert Keys(parse_set(key_set(ONE, EDWARDS))).find(None, "ES256") is not None
    assert Keys(parse_set(key_set(ONE, TWO))).find(None, "ES256") is None
    assert Keys().find(None, "ES256") is None
    nameless = {name: value for name, value in EDWARDS.jwk.items() if name != "kid"}
    both = Keys(parse_set(msgspec.json.encode({"keys": [nameless, ONE.jwk]})))
    assert frozenset({"one"}) == both.kids
    assert both.find(None, "EdDSA") is not None


async def test_a_changed_file_is_read_once_per_window(path: Path) -> None:
    """An unknown key id looks at the file; removed keys are gone, and the generation grows."""
    clock = FixedClock()
    keys = FileKeySet(path, clock)
    assert (True, 1, False) == (keys.is_usable, keys.generation, await keys.refresh())
    write(path, key_set(TWO), 2)

    assert not await keys.refresh()
    clock.now += REFRESH_WINDOW
    assert await keys.refresh()
    assert (None, 2) == (keys.find("one", "ES256"), keys.generation)
    assert keys.find("two", "ES256") is not None


def test_the_same_keys_written_again_change_nothing(path: Path) -> None:
    """What was verified stays verified if only white space or order changed."""
    keys = FileKeySet(path, FixedClock())
    write(path, key_set(ONE) + b"\n", 2)

    assert (False, 1) == (keys.reload(), keys.generation)


def test_a_change_is_told_after_it_counts(path: Path) -> None:
    """Whoever re-verifies what was proven finds the new keys, and no longer the old ones."""
    news: list[KeyNews] = []
    seen: list[object] = []
    keys = FileKeySet(path, FixedClock(), tell=news.append)
    keys.on_change = lambda: seen.append((keys.generation, keys.find("one", "ES256")))
    keys.reload()
    write(path, key_set(TWO), 2)
    keys.reload()
    keys.reload()

    assert [(2, None)] == seen
    assert [("keys-changed", "", 1, ("two",))] == news


def test_a_broken_file_is_said(path: Path) -> None:
    """Once, in words of ours; and that it is sound again."""
    news: list[KeyNews] = []
    keys = FileKeySet(path, FixedClock(), tell=news.append)
    write(path, b"[]", 2)
    keys.reload()
    keys.reload()
    path.unlink()
    keys.reload()
    write(path, b"x" * (MAX_SET_BYTES + 1), 3)
    keys.reload()
    write(path, key_set(ONE), 1)
    keys.reload()

    assert [
        "the document is not a JSON object in UTF-8",
        "the file cannot be read",
        f"file is larger than {MAX_SET_BYTES} bytes",
        "",
    ] == [each.why for each in news]
    assert "keys-back" == news[-1].event


@pytest.mark.parametrize("data", [b"", b"{}", b'{"keys":[{"kty":"oct","k":"AA"}]}'])
def test_a_broken_file_leaves_the_keys(path: Path, data: bytes) -> None:
    """A half-written file costs nothing; the next good one counts."""
    keys = FileKeySet(path, FixedClock())
    write(path, data, 2)
    assert not keys.reload()
    assert keys.find("one", "ES256") is not None
    path.unlink()
    assert not keys.reload()
    write(path, key_set(TWO), 3)

    assert keys.reload()


def test_a_file_must_be_good_at_the_start(path: Path, tmp_path: Path) -> None:
    """A configuration that names a broken key set does not load."""
    path.write_bytes(b"{}")
    with pytest.raises(JwksError):
        FileKeySet(path, FixedClock())
    with pytest.raises(FileNotFoundError):
        FileKeySet(tmp_path / "none", FixedClock())


async def test_a_started_set_watches_its_file(path: Path) -> None:
    """A removed key dies without anybody asking for another."""
    import asyncio

    keys = FileKeySet(path, FixedClock(), interval=0.0)
    write(path, key_set(TWO), 2)
    await keys.start()
    while keys.generation == 1:
        await asyncio.sleep(0)
    await keys.stop()

    assert keys.find("one", "ES256") is None

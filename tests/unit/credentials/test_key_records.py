"""The file of gateway keys: what is read, and what is refused whole."""

from __future__ import annotations

import stat
import threading
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from gateway.core.gateway_key import NO_DIGEST
from gateway.credentials.key_records import (
    KeyFileError,
    Record,
    alone,
    compile_keys,
    moment,
    parse_records,
    read_records,
    write_records,
)

from .parts import NOW

if TYPE_CHECKING:
    from pathlib import Path

LINE: dict[str, Any] = {
    "id": "a" * 20,
    "subject": "nightly",
    "roles": ["batch"],
    "created": "2026-09-21T14:13:20Z",
    "expires": "2026-12-01T00:00:00Z",
    "secrets": [{"digest": "ab" * 32, "made": "2026-09-21T14:13:20Z"}],
}
PREVIOUS = {"digest": "cd" * 32, "made": "2026-09-01T00:00:00Z", "ends": "2026-10-01T00:00:00Z"}
FULL = LINE | {
    "secrets": [*LINE["secrets"], PREVIOUS],
    "groups": ["ops"],
    "scopes": ["models:chat"],
    "certificates": ["f" * 43],
    "spiffe_ids": ["spiffe://example.org/ci"],
    "networks": ["10.0.0.0/8", "2001:db8::/32"],
    "note": "for the report",
}


def line(**changes: object) -> bytes:
    """One line of a file."""
    return msgspec.json.encode(LINE | changes)


def test_a_record_becomes_a_key() -> None:
    """Everything in it arrives; a key that was not rotated has no second secret."""
    [full, plain] = parse_records(msgspec.json.encode(FULL) + b"\n\n" + line(id="b" * 20))
    key = full.key()

    assert ("nightly", frozenset({"batch"}), NOW) == (key.subject, key.roles, key.issued)
    assert (bytes.fromhex("ab" * 32), bytes.fromhex("cd" * 32)) == (key.digest, key.previous)
    assert key.previous_issued < key.previous_until < key.expires
    assert (("ops",), frozenset({"models:chat"})) == (key.groups, key.scopes)
    assert (["10.0.0.0/8", "2001:db8::/32"], True) == ([str(each) for each in key.networks], key.is_bound)
    assert (NO_DIGEST, 0.0, False, ()) == (
        plain.key().previous,
        plain.key().previous_until,
        plain.key().is_bound,
        plain.key().networks,
    )


@pytest.mark.parametrize(
    "text",
    [
        b"{",
        b"[]",
        b"\xff",
        line(id="A" * 20),
        line(id="a" * 19),
        line(subject=""),
        line(subject="a\nb"),
        line(subject="\u202ealice"),
        line(roles=[]),
        line(roles="batch"),
        line(created="2026-09-21T14:13:20"),
        line(expires=1),
        line(secrets=[]),
        line(secrets=[LINE["secrets"][0]] * 2),
        line(secrets=[PREVIOUS]),
        line(secrets=[*LINE["secrets"], PREVIOUS, PREVIOUS]),
        line(secrets=[{"digest": "AB" * 32, "made": LINE["created"]}]),
        line(networks=["10.0.0.1/8"]),
        line(networks=["everywhere"]),
        line(certificates=["x"]),
        line(admin=True),
        b'{"expires":"2026-12-02T00:00:00Z",' + line()[1:],
        line() + b"\n" + line(),
    ],
)
def test_one_wrong_line_refuses_the_file(text: bytes) -> None:
    """Half a list of keys is no list; what is wrong is named by its line, never repeated."""
    with pytest.raises(KeyFileError, match=r"^line [12] "):
        parse_records(text)


def test_keys_without_number_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file has a largest number of keys."""
    monkeypatch.setattr("gateway.credentials.key_records.MAX_KEYS", 1)
    with pytest.raises(KeyFileError, match="more than 1 keys"):
        parse_records(line() + b"\n" + line(id="b" * 20))


@pytest.mark.parametrize(
    ("roles", "longest", "message"),
    [({"other"}, 366 * 86400.0, "a role that"), ({"batch"}, 86400.0, "lives longer")],
)
def test_keys_must_fit_the_configuration(roles: set[str], longest: float, message: str) -> None:
    """Roles that exist, and a life that is not too long, counted from the last rotation."""
    with pytest.raises(KeyFileError, match=f"^line 1: the key .*{message}"):
        compile_keys(line(), roles, longest, {})

    [key] = compile_keys(line(), {"batch", "more"}, 100 * 86400.0, {}).values()
    assert "a" * 20 == key.id


def test_lines_that_are_known_are_not_read_again() -> None:
    """A file of many keys in which one changes costs little; two keys of one id are still refused."""
    first = compile_keys(line() + b"\n" + line(id="b" * 20), {"batch"}, 1e9, {})
    second = compile_keys(line() + b"\n" + line(id="c" * 20), {"batch"}, 1e9, first)

    assert first[line()] is second[line()]
    assert line(id="b" * 20) not in second
    with pytest.raises(KeyFileError, match=r"^line 2 is a second key"):
        compile_keys(line() + b"\n" + line(note="x"), {"batch"}, 1e9, first)


def test_a_file_is_replaced_whole_and_private(tmp_path: Path) -> None:
    """What is written is read; the mode is right from its first byte; none is no keys."""
    path = tmp_path / "deep" / "keys.jsonl"
    assert () == read_records(path)
    records = parse_records(msgspec.json.encode(FULL))
    write_records(path, records)

    assert records == read_records(path)
    assert 0o600 == stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_file_that_others_may_write_is_refused(tmp_path: Path, mode: int) -> None:
    """Whoever can write it could give any role to any key, without knowing a secret."""
    path = tmp_path / "keys.jsonl"
    path.write_bytes(line())
    path.chmod(mode)
    with pytest.raises(KeyFileError, match="may write"):
        read_records(path)


def test_a_file_that_cannot_be_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too large, or malformed: the file is named."""
    path = tmp_path / "keys.jsonl"
    path.write_bytes(b"{")
    path.chmod(0o600)
    with pytest.raises(KeyFileError, match=r"keys\.jsonl: line 1"):
        read_records(path)
    monkeypatch.setattr("gateway.credentials.key_records.MAX_FILE_BYTES", 0)
    with pytest.raises(KeyFileError, match="larger than 0 bytes"):
        read_records(path)


def test_writers_take_turns(tmp_path: Path) -> None:
    """Two commands at the same time lose no key."""
    path = tmp_path / "keys.jsonl"
    [base] = parse_records(line())

    def add(letter: str) -> None:
        with alone(path):
            write_records(path, (*read_records(path), msgspec.structs.replace(base, id=letter * 20)))

    threads = [threading.Thread(target=add, args=(letter,)) for letter in "abcdefgh"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert 8 == len(read_records(path))


def test_times_are_whole_seconds() -> None:
    """Records are read by people."""
    assert b'"2026-09-21T14:13:20Z"' == msgspec.json.encode(moment(NOW + 0.7))
    assert isinstance(msgspec.json.decode(line(), type=Record), Record)

"""The file of gateway keys: one JSON object a line, digests only. Read strictly, written whole.

Whoever may write this file may widen what a key is good for, so one that others than its owner may write is
refused. Nothing here knows a secret for longer than it takes to print it.
"""

from __future__ import annotations

import stat
from contextlib import contextmanager
from datetime import UTC, datetime
from fcntl import LOCK_EX, flock
from ipaddress import ip_network
from typing import TYPE_CHECKING, Annotated, Final, final

import msgspec
from msgspec import Meta

from gateway.core.gateway_key import NO_DIGEST, GatewayKey
from gateway.core.members import measure, written_members
from gateway.credentials.files import PRIVATE, read_bounded, write_new

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping
    from pathlib import Path

MAX_FILE_BYTES: Final = 16 * 1024 * 1024
MAX_KEYS: Final = 20_000
MAX_DEPTH: Final = 3  # a record, its secrets, a secret
WRITABLE: Final = stat.S_IWGRP | stat.S_IWOTH

Name = Annotated[str, Meta(min_length=1, max_length=256, pattern=r"^[ -~]*[!-~]$")]
Digest = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]
Moment = Annotated[datetime, Meta(tz=True)]


class KeyFileError(ValueError):
    """The file cannot be used; the text names the line, and nothing that stands in it."""


@final
class Secret(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One secret of a key. `ends` is for the one before the last rotation alone."""

    digest: Digest
    made: Moment
    ends: Moment | None = None


@final
class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One key as it stands in the file; docs/gateway-keys.md explains each member."""

    id: Annotated[str, Meta(pattern=r"^[a-z2-7]{20}$")]
    subject: Name
    roles: Annotated[tuple[Name, ...], Meta(min_length=1)]
    created: Moment
    expires: Moment
    secrets: Annotated[tuple[Secret, ...], Meta(min_length=1, max_length=2)]
    groups: tuple[Name, ...] = ()
    scopes: tuple[Name, ...] = ()
    certificates: tuple[Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{43}$")], ...] = ()
    spiffe_ids: tuple[Name, ...] = ()
    networks: tuple[Name, ...] = ()
    note: Annotated[str, Meta(max_length=1024)] = ""

    def key(self) -> GatewayKey:
        """Return what the record says.

        Raises:
            ValueError: A network is none, or the secrets are not one that lasts and one that ends.
        """
        current, *before = self.secrets
        if current.ends is not None or any(one.ends is None for one in before):
            raise ValueError("the first secret has no end, and the one before it has")
        previous, ends = (before[0], before[0].ends) if before else (None, None)
        return GatewayKey(
            id=self.id,
            subject=self.subject,
            roles=frozenset(self.roles),
            digest=bytes.fromhex(current.digest),
            issued=current.made.timestamp(),
            expires=self.expires.timestamp(),
            previous=NO_DIGEST if previous is None else bytes.fromhex(previous.digest),
            previous_issued=0.0 if previous is None else previous.made.timestamp(),
            previous_until=0.0 if ends is None else ends.timestamp(),
            groups=self.groups,
            scopes=frozenset(self.scopes),
            certificates=frozenset(self.certificates),
            spiffe_ids=frozenset(self.spiffe_ids),
            networks=tuple(ip_network(network) for network in self.networks),
        )


_decoder: Final = msgspec.json.Decoder(Record)


def moment(now: float) -> datetime:
    """Return a time as records have it: whole seconds, UTC."""
    return datetime.fromtimestamp(int(now), UTC)


def parse_records(data: bytes) -> tuple[Record, ...]:
    """Parse a file of keys.

    Raises:
        KeyFileError: A line is no record, or two have one id, or there are too many.
    """
    records: dict[str, Record] = {}
    for number, line in _lines(data):
        record, _ = _parse(number, line)
        if records.setdefault(record.id, record) is not record:
            raise KeyFileError(f"line {number} is a second key of the same id")
    return tuple(records.values())


def compile_keys(
    data: bytes, roles: Collection[str], longest: float, known: Mapping[bytes, GatewayKey]
) -> dict[bytes, GatewayKey]:
    """Make keys of a file of keys, by the line that each stands in.

    Args:
        data: The file.
        roles: All roles of the configuration.
        longest: Longest life that a key may have, seconds.
        known: Keys of lines that need not be read again: some 40 us each.

    Raises:
        KeyFileError: As `parse_records`; or a key does not fit the configuration.
    """
    keys: dict[bytes, GatewayKey] = {}
    ids: set[str] = set()
    for number, line in _lines(data):
        key = known.get(line)
        if key is None:
            record, key = _parse(number, line)
            misfit = find_misfit(record, roles, longest)
            if misfit:
                raise KeyFileError(f"line {number}: the key {misfit}")
        if key.id in ids:
            raise KeyFileError(f"line {number} is a second key of the same id")
        ids.add(key.id)
        keys[line] = key
    return keys


def find_misfit(record: Record, roles: Collection[str], longest: float) -> str:
    """Say how a key does not fit the configuration; "" if it does."""
    if not set(record.roles) <= set(roles):
        return "has a role that the configuration does not have"
    if record.expires.timestamp() > record.secrets[0].made.timestamp() + longest:
        return "lives longer than `max_lifetime`"
    return ""


def _lines(data: bytes) -> Iterator[tuple[int, bytes]]:
    found = [(number, line) for number, line in enumerate(data.splitlines(), 1) if line.strip()]
    if len(found) > MAX_KEYS:
        raise KeyFileError(f"more than {MAX_KEYS} keys")
    yield from found


def _parse(number: int, line: bytes) -> tuple[Record, GatewayKey]:
    try:
        record = _decoder.decode(line)
        key = record.key()
    except (msgspec.DecodeError, ValueError, RecursionError) as wrong:
        raise KeyFileError(f"line {number} is no gateway key") from wrong
    if written_members(line) != measure(msgspec.json.decode(line), MAX_DEPTH)[0]:
        raise KeyFileError(f"line {number} names a member twice")
    return record, key


def read_file(path: Path) -> bytes:
    """Read a file of keys; none is no keys.

    Raises:
        OSError: It cannot be read.
        KeyFileError: It is too large, or others than its owner may write it.
    """
    try:
        mode = path.stat().st_mode
        data = read_bounded(path, MAX_FILE_BYTES)
    except FileNotFoundError:
        return b""
    except ValueError as large:
        raise KeyFileError(f"it is larger than {MAX_FILE_BYTES} bytes") from large
    if mode & WRITABLE:
        raise KeyFileError(f"others than its owner may write it (mode {stat.S_IMODE(mode):o})")
    return data


def read_records(path: Path) -> tuple[Record, ...]:
    """Read all records of a file of keys, for who writes it.

    Raises:
        OSError: It cannot be read.
        KeyFileError: It is malformed, or others than its owner may write it.
    """
    try:
        return parse_records(read_file(path))
    except KeyFileError as malformed:
        raise KeyFileError(f"{path}: {malformed}") from malformed


def write_records(path: Path, records: Iterable[Record]) -> None:
    """Replace a file of keys, atomically for readers, readable by its owner alone.

    Raises:
        OSError: It cannot be written.
    """
    data = b"".join(msgspec.json.encode(record) + b"\n" for record in records)
    write_new(path, data, mode=PRIVATE, force=True)


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Keep other writers of a file of keys away: between reading it and writing it nothing may change.

    Raises:
        OSError: The lock beside the file cannot be made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = path.with_name(f".{path.name}.lock")
    with lock.open("a") as held:
        lock.chmod(PRIVATE)
        flock(held, LOCK_EX)
        yield

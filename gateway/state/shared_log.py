"""What the fleet wrote down about revocations, in Redis or Valkey: how it is read, and how one adds to it.

Commands and replies alone: believes nothing that does not open under the fleet's seal, and says so when a
reply is not what the server of this protocol answers. Who asks when, and what follows, is `replicated`'s.
"""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, final

from gateway.core.revocation import Lift
from gateway.state.connection import Answer, pack
from gateway.state.link import fault
from gateway.state.script import Script
from gateway.state.sealing import Foreign, Forged

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from gateway.core.revocation import Revocation
    from gateway.state.connection import Connection, Reply
    from gateway.state.sealing import Seal

BLOCK: Final = 0.2  # seconds that a read waits for news: the heartbeat
KEPT: Final = 4096  # calls that the stream keeps: who misses more reads everything
BATCH: Final = 50  # changes per call at most
BATCH_BYTES: Final = 32 * 1024  # of one call, unless a single change is larger
READ: Final = 16  # calls per reply: far below what the connection takes for no Redis
SCAN: Final = 64  # fields per reply while everything is read: below a millisecond of work
BEGIN: Final = b"0-0"
TAG: Final = b"revocations"  # the hash tag of the three keys: they are on one server of a cluster


class Unreadable(Exception):
    """A reply that no server of this protocol gives, or an error; the argument is our word for it."""


@final
@dataclass
class News:
    """What one read brought.

    Args:
        changes: What opened under our seal.
        forged: How many entries did not.
        foreign: How many are sealed with another key.
        is_whole: False if calls were missed: everything must be read.
        is_all: False if there may be more to read at once.
    """

    changes: list[Revocation | Lift] = field(default_factory=list)
    forged: int = 0
    foreign: int = 0
    is_whole: bool = True
    is_all: bool = True

    def open(self, sealed: Iterable[bytes], seal: Seal) -> None:
        """Open what is ours."""
        for each in sealed:
            try:
                self.changes.append(seal.open(each))
            except Foreign:
                self.foreign += 1
            except Forged:
                self.forged += 1


@final
class SharedLog:
    """The three keys of the fleet, and how far this process has read them.

    Args:
        prefix: What all keys begin with.
        seal: Of the fleet.
    """

    __slots__ = ("_at", "_keys", "_mark", "_seal", "script")

    def __init__(self, prefix: str, seal: Seal) -> None:
        base = f"{prefix}{{{TAG.decode()}}}:"
        self._keys = tuple(f"{base}{name}".encode() for name in ("known", "log", "mark"))
        self._seal = seal
        self._at = BEGIN
        self._mark = b""
        self.script = Script("revoke")

    def probe(self) -> bytes:
        """Return a command that reads, and changes nothing: a connection for reading is tried with it."""
        return pack("XREVRANGE", self._keys[1], "+", "-", "COUNT", 1)

    def mark(self) -> bytes:
        """Return the command that writes nothing but a mark: it tries a connection for writing, and mends."""
        return self._call([])

    def writing(self, changes: Iterable[Revocation | Lift]) -> Iterator[bytes]:
        """Return the commands that write changes down."""
        words: list[bytes | str] = []
        size = 0
        for change in changes:
            sealed = self._seal.close(change)
            if words and (len(words) >= 2 * BATCH or size + len(sealed) > BATCH_BYTES):
                yield self._call(words)
                words, size = [], 0
            words += (f"{'l' if isinstance(change, Lift) else 'a'}:{change.id}", sealed)
            size += len(sealed)
        if words:
            yield self._call(words)

    def forgetting(self, ids: Sequence[str]) -> bytes:
        """Return the command that removes what has ended long ago."""
        return pack("HDEL", self._keys[0], *(f"{kind}:{each}" for each in ids for kind in "al"))

    def _call(self, words: list[bytes | str]) -> bytes:
        return pack("EVALSHA", self.script.digest, 3, *self._keys, secrets.token_hex(16), str(KEPT), *words)

    async def everything(self, connection: Connection) -> News:
        """Read all that is known; `wait` goes on from here.

        Raises:
            Unreadable: The server fails, or is none.
        """
        last = await _ask(connection, "XREVRANGE", self._keys[1], "+", "-", "COUNT", "1")
        self._at, self._mark = BEGIN, b""
        news = News()
        for at, fields in _entries(last):
            self._at, self._mark = at, _words(fields).get(b"m", b"")
        cursor = b"0"
        while True:
            reply = await _ask(connection, "HSCAN", self._keys[0], cursor, "COUNT", str(SCAN))
            match reply:
                case [bytes(cursor), list(pairs)]:
                    news.open((each for each in pairs[1::2] if isinstance(each, bytes)), self._seal)
                case _:
                    raise Unreadable("no-scan")
            if cursor == b"0":
                return news

    async def wait(self, connection: Connection) -> News:
        """Read what comes, for at most the time of a heartbeat.

        Raises:
            Unreadable: The server fails, or is none.
        """
        loop = asyncio.get_running_loop()
        read, mark = Answer(loop), Answer(loop)
        connection.send(pack(*self._reading("BLOCK", str(int(BLOCK * 1000)))), read)
        connection.send(pack("GET", self._keys[2]), mark)  # answered when the read has ended
        entries = _stream(await read.future)
        now = await mark.future
        if not entries and (_sound(now) or b"") != self._mark:  # perhaps written in between the two
            entries = _stream(await connection.ask(*self._reading()))
            if not entries:
                return News(is_whole=False)
        news = News(is_all=len(entries) < READ)
        for at, fields in entries:
            words = _words(fields)
            news.is_whole = news.is_whole and words.get(b"b", b"") == self._mark
            self._at, self._mark = at, words.get(b"m", b"")
            pairs = zip(fields[::2], fields[1::2], strict=False)
            news.open((value for name, value in pairs if name == b"c"), self._seal)
        return news

    def _reading(self, *block: str) -> tuple[bytes | str, ...]:
        return ("XREAD", "COUNT", str(READ), *block, "STREAMS", self._keys[1], self._at)


async def _ask(connection: Connection, *words: bytes | str) -> Reply:
    return _sound(await connection.ask(*words))


def _sound(reply: Reply) -> Reply:
    why = fault(reply)
    if why is not None:
        raise Unreadable(why)
    return reply


def _stream(reply: Reply) -> list[tuple[bytes, list[bytes]]]:
    """Take the reply to a read of our one stream apart; nothing is an answer too."""
    match _sound(reply):
        case None:
            return []
        case [[bytes(), entries]]:
            return _entries(entries)
        case _:
            raise Unreadable("no-stream")


def _entries(reply: Reply) -> list[tuple[bytes, list[bytes]]]:
    """Take a list of stream entries apart."""
    if not isinstance(reply, list):
        raise Unreadable("no-stream")
    entries = []
    for entry in reply:
        match entry:
            case [bytes(at), list(fields)]:
                entries.append((at, [each for each in fields if isinstance(each, bytes)]))
            case _:
                raise Unreadable("no-stream")
    return entries


def _words(fields: list[bytes]) -> dict[bytes, bytes]:
    """Return the fields that an entry has once."""
    return dict(zip(fields[:4:2], fields[1:4:2], strict=False))

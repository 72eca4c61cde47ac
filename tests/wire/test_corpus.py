"""Every raw request of the corpora, on a connection of its own, against a backend of its own."""

from __future__ import annotations

import asyncio
import base64
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.wire.corpus import REFUSED, TAKEN
from tests.wire.world import World, world

SHARED = Path(__file__).parents[3] / "shared/conformance/http/raw-requests.jsonl"
QUIET = 0.3  # seconds without a byte after which nothing more is expected
MARKER = re.compile(rb"/(smuggled|evil|pwned|bad_path)")


@dataclass(frozen=True)
class Seen:
    """What came of some bytes."""

    answered: bytes
    is_closed: bool
    arrived: list[bytes]
    broken: list[bytes]

    @property
    def statuses(self) -> list[int]:
        """Status codes of the answers."""
        return [int(each) for each in re.findall(rb"HTTP/1\.1 (\d{3})", self.answered)]

    @property
    def lines(self) -> list[bytes]:
        """Method and target of what arrived."""
        return [each.rpartition(b" HTTP/1.1\r\n\r\n")[0] or each.split(b" HTTP/")[0] for each in self.arrived]


async def send(made: World, raw: bytes) -> Seen:
    """Send bytes and watch until the connection is closed or quiet."""
    client = await made.client(raw)
    answered = b""
    is_closed = False
    try:
        while not is_closed:
            async with asyncio.timeout(QUIET):
                piece = await client.reader.read(65536)
            answered += piece
            is_closed = not piece
    except TimeoutError:
        pass
    except ConnectionResetError:
        is_closed = True
    return Seen(answered, is_closed, made.backend.requests, made.backend.broken)


async def one(raw: bytes) -> Seen:
    """Send bytes to a gateway of their own."""
    async with world() as made:
        return await send(made, raw)


@pytest.mark.parametrize("name", REFUSED)
async def test_what_must_be_refused(name: str) -> None:
    """Nothing reaches the backend; one answer at most; closed."""
    seen = await one(REFUSED[name])

    assert [] == seen.arrived
    assert seen.is_closed
    assert [400] == seen.statuses


@pytest.mark.parametrize("name", TAKEN)
async def test_what_must_be_taken(name: str) -> None:
    """Exactly these requests arrive, each is answered, and no field of the client's comes along."""
    raw, expected = TAKEN[name]
    seen = await one(raw)

    assert expected == seen.lines
    assert [200] * len(expected) == seen.statuses[: len(expected)]
    assert not any(MARKER.search(line) for line in seen.lines)
    assert not any(b"uthorization" in each or b"X-A" in each for each in seen.arrived)


@pytest.mark.parametrize("name", TAKEN)
async def test_cut_into_single_bytes_nothing_changes(name: str) -> None:
    """Packets mean nothing."""
    raw, expected = TAKEN[name]
    async with world() as made:
        client = await made.client()
        for index in range(len(raw)):
            client.write(raw[index : index + 1])
            await asyncio.sleep(0)
        await made.arrived(len(expected))

        assert expected == [each.split(b" HTTP/")[0] for each in made.backend.requests]


def prepared(entry: dict[str, Any]) -> bytes:
    """The bytes of an entry; a head alone gets the body that it declares."""
    raw = base64.b64decode(entry["raw_b64"])
    if entry.get("head_only") and (length := re.search(rb"(?im)^content-length: *(\d{1,5})\r$", raw)):
        raw += b"x" * int(length[1])
    return raw


def is_odd(line: bytes) -> bool:
    """Tell a line that some parser may take for a framing field, and that is not plainly one."""
    name = re.sub(rb"[^a-z]", b"", line.split(b":")[0].lower())
    plain = rb"(?i)(transfer-encoding: ?chunked|content-length: ?\d+)"
    return name in (b"transferencoding", b"contentlength", b"transfrencoding") and not re.fullmatch(
        plain, line
    )


def judge(entry: dict[str, Any], seen: Seen) -> str:
    """Why this is not what must happen, or ""."""
    expect = entry["expect"]
    if expect == "refuse":
        if seen.arrived:
            return "reached the backend"
        if seen.statuses and seen.statuses[0] < 400:
            return "answered as if it were fine"
        return "" if seen.is_closed else "neither refused nor closed"
    if any(MARKER.search(line) for line in seen.lines):
        return "smuggled"
    if seen.broken:
        return "unframeable bytes at the backend"
    if len(seen.arrived) > len(seen.statuses):
        return "more requests than answers"
    if any(is_odd(row) for each in seen.arrived for row in each.split(b"\r\n\r\n")[0].split(b"\r\n")[1:]):
        return "odd framing at the backend"
    return ""


async def test_the_shared_corpus() -> None:
    """270 requests collected by others, where they are at hand; no failure is allowed."""
    rows = SHARED.read_bytes().splitlines() if SHARED.is_file() else []
    entries = [msgspec.json.decode(row) for row in rows]
    bad = []
    for start in range(0, len(entries), 45):
        some = entries[start : start + 45]
        for entry, seen in zip(
            some, await asyncio.gather(*(one(prepared(each)) for each in some)), strict=True
        ):
            if why := judge(entry, seen):
                bad.append((entry["id"], why))

    assert [] == bad

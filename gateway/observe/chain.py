"""The audit log's line format and hash chain: pure bytes, no files. Writer and verifier share it.

A line is one JSON object, its bytes fixed to the last one:

    {"seq":N,"prev":"HEX","KIND":PAYLOAD,"hash":"HEX"}

KIND is `record` (an exchange), `action` (what an operator did), `checkpoint` (signed) or `event` (the log
about itself). PAYLOAD is a JSON object without line ends. HEX are 64 lower-case digits, N counts from 1
without gaps, `prev` is the `hash` of the line before (64 zeros for the first), and

    hash = SHA-256(prev, 32 bytes || N, 8 bytes big-endian || KIND, one byte R, A, C or E || PAYLOAD bytes)

A checkpoint's payload is {"time":T,"key":K,"signature":S}: S is Ed25519 (RFC 8032), base64url without
padding, over

    "gateway audit checkpoint v1" LF || prev, 32 bytes || N, 8 bytes big-endian || T, UTF-8

so it vouches for every line before it. Since lines are compared byte by byte with what the chain
demands, no byte can change without being found.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from enum import Enum
from hashlib import sha256
from typing import TYPE_CHECKING, Final, NamedTuple, final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

GENESIS: Final = bytes(32)
CONTEXT: Final = b"gateway audit checkpoint v1\n"
MAX_LINE: Final = 256 * 1024  # bytes; a record is below 10 KiB
_PREV: Final = b',"prev":"'
_TAIL: Final = len(b',"hash":""}') + 64


@final
class Kind(Enum):
    """What a line holds; the value is its key, the first letter its byte in the hash."""

    RECORD = "record"
    ACTION = "action"
    CHECKPOINT = "checkpoint"
    EVENT = "event"


_KEYS: Final = {kind: b'","%b":' % kind.value.encode() for kind in Kind}
_BYTES: Final = {kind: kind.value[:1].upper().encode() for kind in Kind}


@final
class Head(NamedTuple):
    """Where a chain ends: number and hash of its last line."""

    seq: int = 0
    hash: bytes = GENESIS


@final
class Line(NamedTuple):
    """One line, taken apart."""

    kind: Kind
    payload: bytes
    head: Head


@final
class Signature(msgspec.Struct, forbid_unknown_fields=True):
    """Payload of a checkpoint."""

    time: str
    key: str
    signature: str


class ChainBroken(Exception):
    """A line is not what the chain demands. The message names what differs, never the line's content."""


def link(head: Head, kind: Kind, payload: bytes) -> tuple[Head, bytes]:
    """Chain a payload to a head.

    Returns:
        The new head, and the line with its line end.
    """
    new, lines = link_all(head, kind, (payload,))
    return new, lines[0]


def link_all(head: Head, kind: Kind, payloads: Iterable[bytes]) -> tuple[Head, list[bytes]]:
    """Chain payloads of one kind to a head, one after the other.

    Returns:
        The new head, and the lines with their line ends.
    """
    seq, last = head
    tag, key = _BYTES[kind], _KEYS[kind]
    before = last.hex().encode()
    lines: list[bytes] = []
    for payload in payloads:
        seq += 1
        last = sha256(b"%b%b%b%b" % (last, seq.to_bytes(8, "big"), tag, payload)).digest()
        after = last.hex().encode()
        lines.append(b'{"seq":%d,"prev":"%b%b%b,"hash":"%b"}\n' % (seq, before, key, payload, after))
        before = after
    return Head(seq, last), lines


def parse(line: bytes) -> Line:
    """Take a line apart by its own words, with its line end.

    Raises:
        ChainBroken: It is not a line of an audit log, or its hash is not that of its content.
    """
    begin, _, rest = line.partition(_PREV)
    number, previous, rest = begin[len(b'{"seq":') :], rest[:64], rest[64:]
    if not (number.isdigit() and len(number) < 19):  # noqa: PLR2004 - fits 64 bits
        raise ChainBroken("this is not a line of an audit log")
    kind = next((kind for kind, key in _KEYS.items() if rest.startswith(key)), None)
    if kind is None:
        raise ChainBroken("this is not a line of an audit log")
    try:
        head = Head(int(number) - 1, bytes.fromhex(previous.decode("ascii")))
    except ValueError:
        raise ChainBroken("the previous hash is malformed") from None
    payload = rest[len(_KEYS[kind]) : -_TAIL - 1]
    new, expected = link(head, kind, payload)
    if line != expected:
        raise ChainBroken("the content does not fit its hash")
    return Line(kind, payload, new)


def follow(head: Head, line: bytes) -> Line:
    """Take the line apart that must come after `head`.

    Raises:
        ChainBroken: It is another line: edited, moved, or something before it was deleted.
    """
    parsed = parse(line)
    again, expected = link(head, parsed.kind, parsed.payload)
    if line != expected:
        if parsed.head.seq != again.seq:
            raise ChainBroken(f"line number {parsed.head.seq} stands where {again.seq} must stand")
        raise ChainBroken("it does not continue the line before")
    return parsed


def signed_bytes(head: Head, time: str) -> bytes:
    """Return what a checkpoint after `head` signs."""
    return b"%b%b%b%b" % (CONTEXT, head.hash, (head.seq + 1).to_bytes(8, "big"), time.encode())


def sign(head: Head, time: str, key: Ed25519PrivateKey, key_id: str) -> bytes:
    """Make the payload of the checkpoint that comes after `head`."""
    signature = urlsafe_b64encode(key.sign(signed_bytes(head, time))).rstrip(b"=").decode()
    return msgspec.json.encode(Signature(time, key_id, signature))


def signature_bytes(signature: str) -> bytes:
    """Decode base64url without padding.

    Raises:
        ValueError: It is something else.
    """
    return urlsafe_b64decode(signature + "=" * (-len(signature) % 4))

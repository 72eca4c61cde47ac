"""Which heads of backends are kept to compare the next ones with, and which are not."""

from __future__ import annotations

from typing import Any, cast

import pytest

from gateway.wire.answer import Answer
from gateway.wire.known import MAX_MISSES, KnownHead

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX: %d\r\n\r\n"


def answer(length: int | None = 2) -> Answer:
    """Return an answer as llhttp read it."""
    made = Answer(cast("Any", None), "e")
    made.length = length
    made.status = 200
    made.headers = [(b"x", b"1")]
    return made


def test_a_head_is_kept_with_its_meaning() -> None:
    """Status, fields, and a length that is read anew."""
    known, found = KnownHead(), answer(None)
    known.keep(HEAD % 1 + b"ok", answer())
    begin = known.match(HEAD.replace(b": 2", b": 13") % 1 + b"hello", found)

    assert len(HEAD) == begin
    assert (200, [(b"x", b"1")], 13, 13) == (found.status, found.headers, found.length, known.length)
    assert 0 == known.match(HEAD % 2, answer(None))
    assert 0 == KnownHead().match(b"3", answer(None))


@pytest.mark.parametrize(
    ("data", "length"),
    [
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\n", None),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nok", 2),
        (b"\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 2),
        (b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok", 2),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok", 2),
    ],
    ids=["no body", "older", "empty line", "bare line ends", "twice"],
)
def test_a_head_whose_length_is_not_certain_is_not_kept(data: bytes, length: int | None) -> None:
    """Neither does it leave the one before in its place."""
    known = KnownHead()
    known.keep(HEAD % 1 + b"ok", answer())
    was_kept = known.is_kept
    known.keep(data, answer(length))

    assert (True, False) == (was_kept, known.is_kept)


def test_one_that_comes_again_ends_the_doubt() -> None:
    """Heads that differ are kept no longer after a few; one match, and they are again."""
    known = KnownHead()
    for number in range(MAX_MISSES):
        known.keep(HEAD % number, answer())
    known.match(HEAD % (MAX_MISSES - 1), answer(None))
    known.keep(HEAD % 99, answer())

    assert known.is_kept

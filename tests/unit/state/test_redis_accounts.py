"""What a server may answer about an account, and what is made of it."""

from __future__ import annotations

import hiredis
import pytest

from gateway.core.accounts import Standing
from gateway.state.connection import LOST
from gateway.state.redis_accounts import read


def test_an_answer_is_read() -> None:
    """Numbers as the script writes them."""
    look = read([b"3", b"9007199254740992", b"2", b"1.5", 4])

    assert look is not None
    assert (3, Standing(9007199254740992, 2, 1.5), 4) == (look.taken, look.standing, look.others)


@pytest.mark.parametrize(
    "reply",
    [
        LOST,
        None,
        1,
        b"OK",
        [],
        [b"1", b"2", b"3", b"4"],
        [b"1", b"2", b"3", b"4", b"0"],
        [1, b"2", b"3", b"4", 0],
        [b"x", b"2", b"3", b"4", 0],
        [b"nan", b"2", b"3", b"4", 0],
        [b"1", b"inf", b"3", b"4", 0],
        hiredis.ReplyError("ERR not an account"),
    ],
)
def test_what_is_no_answer_says_nothing(reply: object) -> None:
    """Of what is not understood nobody knows what it did."""
    assert read(reply) is None

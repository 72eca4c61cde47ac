"""`compact`: one token, one spelling."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.refusal import Reason, Refusal
from gateway.stages.identify.compact import MAX_TOKEN_BYTES, Compact, split

from .parts import encode

part = st.binary(min_size=1, max_size=40)


@given(part, part, part)
def test_parts_come_back(header: bytes, payload: bytes, signature: bytes) -> None:
    """What was encoded canonically is decoded exactly, and the signed octets are the first two parts."""
    signed = encode(header) + b"." + encode(payload)

    assert Compact(header, payload, signature, signed) == split(signed + b"." + encode(signature))


@given(st.binary(max_size=60))
def test_accepted_spellings_are_canonical(text: bytes) -> None:
    """Whatever is accepted is exactly what encoding its parts gives."""
    found = split(text)
    if isinstance(found, Compact):
        assert text == b".".join(map(encode, found[:3]))


@pytest.mark.parametrize(
    "token",
    [
        b"",
        b"..",
        b"YQ.YQ",
        b"YQ.YQ.",
        b".YQ.YQ",
        b"YQ..YQ",
        b"YQ.YQ.YQ.YQ",
        b"YQ.YQ.YQ.YQ.YQ",  # an encrypted token
        b"YQ=.YQ.YQ",
        b"YQ.YQ==.YQ",
        b"YQ.YQ.YQ==",
        b"YQ.YQ.YQ\n",
        b" YQ.YQ.YQ",
        b"YQ.Y Q.YQ",
        b"YQ.Y+.YQ",
        b"YQ.Y/.YQ",
        b"YQ.YQ.Y",  # a length that no octets have
        b"YR.YQ.YQ",  # unused bits that are set
        b"YWJ.YQ.YQ",
        b"YQ.YR.YQ",
        b"YQ.YQ.YR",
        b"YQ.YQ.YQ\x00",
        b'{"payload":"YQ"}',  # JSON serialisation
    ],
)
def test_other_spellings_are_malformed(token: bytes) -> None:
    """Padding, foreign characters, set unused bits, other serialisations."""
    found = split(token)

    assert isinstance(found, Refusal)
    assert Reason.TOKEN_MALFORMED is found.reason


def test_size_is_bounded() -> None:
    """The largest token passes, one octet more does not."""
    largest = b"YQ.YQ." + b"A" * (MAX_TOKEN_BYTES - 6)
    found = split(largest + b"A")

    assert isinstance(split(largest), Compact | Refusal)
    assert not isinstance(split(largest[:-2]), Refusal)
    assert isinstance(found, Refusal)
    assert Reason.TOKEN_TOO_LARGE is found.reason

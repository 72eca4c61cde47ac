"""`document`: JSON of tokens has one meaning or is refused."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.refusal import Reason, Refusal
from gateway.stages.identify.document import DUPLICATE, MAX_DEPTH, NOT_JSON, TOO_DEEP, parse

scalars = st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(st.characters(codec="utf-8"))
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=8), values, max_size=4))
def test_objects_come_back(members: dict[str, object]) -> None:
    """Every object within the depth is read as what it is, colons and quotes in strings included."""
    found = parse(msgspec.json.encode(members))

    assert found in (members, TOO_DEEP)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"[]", NOT_JSON),
        (b'"a"', NOT_JSON),
        (b"1", NOT_JSON),
        (b"", NOT_JSON),
        (b"{", NOT_JSON),
        (b"{} {}", NOT_JSON),
        (b'\xef\xbb\xbf{"a":1}', NOT_JSON),
        ('{"a":1}'.encode("utf-16"), NOT_JSON),
        (b'{"a":"\xff"}', NOT_JSON),
        (b'{"a":"\\ud800"}', NOT_JSON),
        (b'{"a":NaN}', NOT_JSON),
        (b'{"a":Infinity}', NOT_JSON),
        (b'{"a":1e999}', NOT_JSON),
        (b"{'a':1}", NOT_JSON),
        (b'{"a":1,}', NOT_JSON),
        (b'{"a":1,"a":2}', DUPLICATE),
        (b'{"a":1,"\\u0061":1}', DUPLICATE),
        (b'{"x":[{"b":":","b":"\\":"}]}', DUPLICATE),
        (b'{"a":' * 9 + b"1" + b"}" * 9, TOO_DEEP),
        (b'{"a":' + b"[" * 8 + b"]" * 8 + b"}", TOO_DEEP),
        (b'{"a":' + b"[" * 4000 + b"]" * 4000 + b"}", TOO_DEEP),
    ],
)
def test_ambiguous_json_is_refused(text: bytes, expected: Refusal) -> None:
    """UTF-8, one object, no name twice at any level, at most eight levels."""
    assert expected is parse(text)
    assert Reason.TOKEN_MALFORMED is expected.reason


def test_deepest_object_passes() -> None:
    """Exactly eight levels are read."""
    text = b'{"a":' * MAX_DEPTH + b"1" + b"}" * MAX_DEPTH

    assert isinstance(parse(text), dict)

"""`members`: duplicates and depth of JSON, without a second parser."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.members import measure, written_members

text = st.text(st.characters(codec="utf-8"), max_size=6)
values = st.recursive(
    st.none() | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=12,
)


def depth_of(value: object) -> int:
    """Depth by definition."""
    if isinstance(value, dict):
        return 1 + max(map(depth_of, value.values()), default=0)
    return 1 + max(map(depth_of, value), default=0) if isinstance(value, list) else 0


@given(values)
def test_without_duplicates_both_counts_agree(value: object) -> None:
    """Written members are the parsed ones, whatever quotes, colons and backslashes strings contain."""
    members, depth = measure(value, 100)

    assert members == written_members(msgspec.json.encode(value))
    assert depth_of(value) == depth


@given(values, text, text)
def test_a_duplicate_is_one_more(value: object, name: str, other: str) -> None:
    """A name written twice is counted twice, and parsed once."""
    encoded = msgspec.json.encode(value)
    twice = (
        b"{"
        + msgspec.json.encode(name)
        + b":"
        + encoded
        + b","
        + msgspec.json.encode(name)
        + b":"
        + msgspec.json.encode(other)
        + b"}"
    )

    assert measure({name: value}, 100)[0] + 1 == written_members(twice)


@pytest.mark.parametrize(
    ("value", "expected"), [(1, 0), ({}, 1), ([], 1), ([[]], 2), ([[[]]], 3), ([[[[[]]]]], 3)]
)
def test_depth_is_bounded(value: object, expected: int) -> None:
    """Nothing is looked at below one level more than the limit."""
    assert expected == measure(value, 2)[1]

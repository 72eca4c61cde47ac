"""Text of clients, made harmless."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.observe.redact import _UNSAFE_TEXT, clip, mend, neutralise, printable


def test_short_text_stays() -> None:
    """The bound itself is allowed."""
    assert "abc" == clip("abc", 3)


def test_long_texts_never_look_alike() -> None:
    """Two texts with one beginning differ in the digest."""
    one, two = clip("abcd", 3), clip("abce", 3)

    assert one != two
    assert "abc...[4 characters, sha256 88d4266fd4e6338d]" == one


def test_surrogates_can_be_clipped() -> None:
    """What cannot be encoded is still bounded."""
    assert clip("\ud800" * 5, 1).startswith("\ud800...[5 characters")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain \u00e4\u4e2d", "plain \u00e4\u4e2d"),
        ("a\nb\x1b[0m\x7f\x9b", "a\\x0ab\\x1b[0m\\x7f\\x9b"),
        ("\u202e\u2066\u200b\ufeff", "\\u202e\\u2066\\u200b\\ufeff"),
        ("\U000e0041\ud800", "\\U000e0041\\ud800"),
    ],
)
def test_terminals_get_escapes(text: str, expected: str) -> None:
    """Letters stay, whatever drives a terminal or a reader's eye does not."""
    assert expected == printable(text)


def test_harmless_json_is_not_copied() -> None:
    """The hot path allocates nothing."""
    encoded = b'{"a":"b"}'

    assert encoded is neutralise(encoded)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_neutralised_json_means_the_same(text: str) -> None:
    """Escapes change the bytes, never the value, and leave nothing unsafe."""
    encoded = neutralise(msgspec.json.encode(text))

    assert text == msgspec.json.decode(encoded)
    assert _UNSAFE_TEXT.search(encoded.decode()) is None


@pytest.mark.parametrize(
    "code", [*range(0x20), *range(0x7F, 0xAE), *range(0x2000, 0x2070), 0x61C, 0x180E, 0xFEFF, 0xE0041]
)
def test_both_tables_agree(code: int) -> None:
    """The byte table finds exactly what the text table finds."""
    text = chr(code)
    is_escaped = text not in neutralise(msgspec.json.encode(text)).decode()

    assert is_escaped == (_UNSAFE_TEXT.search(text) is not None)


def test_values_are_mended_to_their_leaves() -> None:
    """Keys, lists and tuples; numbers stay."""
    assert {"\\ud800": ["\\udcff", 1, ["a"]]} == mend({"\ud800": ("\udcff", 1, ["a"])})

"""`documents`: JSON objects from outside."""

from __future__ import annotations

import pytest

from gateway.credentials.documents import DocumentError, parse_object


def test_an_object_is_read() -> None:
    """Members of any kind, text with escapes and colons."""
    assert {"a": [1, None], "b:c": {"d": 'e"":'}} == parse_object(
        rb'{"a":[1,null],"b:c":{"d":"e\"\":"}}', 100
    )


def test_size_and_depth_are_bounded() -> None:
    """Both bounds are exact."""
    assert {"a": {"a": {}}} == parse_object(b'{"a":{"a":{}}}', 14, 3)
    with pytest.raises(DocumentError, match="larger than 13"):
        parse_object(b'{"a":{"a":{}}}', 13, 3)
    with pytest.raises(DocumentError, match="too deeply"):
        parse_object(b'{"a":{"a":{}}}', 14, 2)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b'"a"',
        b"{",
        b"{}{}",
        b'{"a":NaN}',
        b'\xef\xbb\xbf{"a":1}',
        '{"a":1}'.encode("utf-16"),
        b'{"a":"\xff"}',
        b"[" * 100_000,
        b"<html></html>",
    ],
)
def test_what_is_no_object_is_refused(text: bytes) -> None:
    """One object in UTF-8, and nothing before or behind it."""
    with pytest.raises(DocumentError, match="not a JSON object"):
        parse_object(text, 200_000)


@pytest.mark.parametrize("text", [b'{"a":1,"a":1}', b'{"b":{"a":1,"\\u0061":2}}', b'{"b":[{"a":1,"a":2}]}'])
def test_a_name_stands_once(text: bytes) -> None:
    """Duplicates are refused at any depth, escapes included: which of them counts is nobody's guess."""
    with pytest.raises(DocumentError, match="names a member twice"):
        parse_object(text, 100)

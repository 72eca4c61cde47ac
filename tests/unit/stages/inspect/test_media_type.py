"""Which heads announce plain JSON."""

from __future__ import annotations

import pytest

from gateway.core.refusal import Reason
from gateway.stages.inspect.media_type import check_json_head
from tests.unit.stages.inspect.doubles import JSON_HEAD, reason


@pytest.mark.parametrize(
    "value",
    [
        b"application/json",
        b"application/json;charset=utf-8",
        b"application/json; charset=UTF-8",
        b'Application/JSON ;\tCharset="utf-8"',
    ],
)
def test_takes_json(value: bytes) -> None:
    """`application/json` in any case, with no charset but UTF-8."""
    assert check_json_head({b"content-type": value}) is None


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"text/plain",
        b"application/jsonp",
        b"application/json, application/json",
        b"application/json; charset=utf-16",
        b"application/json; charset=utf-8; charset=utf-16",
        b"application/json; boundary=x",
        b"application/json;",
        b"application/vnd.api+json",
        b"multipart/form-data; boundary=application/json",
    ],
)
def test_refuses_everything_else(value: bytes) -> None:
    """Any other type, charset or parameter is refused."""
    assert Reason.CONTENT_TYPE is reason(check_json_head({b"content-type": value}))


def test_refuses_a_missing_type() -> None:
    """A body of no declared type is not guessed."""
    assert Reason.CONTENT_TYPE is reason(check_json_head({}))


@pytest.mark.parametrize("value", [b"gzip", b"br", b"identity, gzip", b"deflate", b"zstd", b"", b"aes128gcm"])
def test_refuses_encoded_bodies(value: bytes) -> None:
    """Nothing is decompressed, so nothing compressed passes."""
    assert Reason.CONTENT_ENCODING is reason(check_json_head(JSON_HEAD | {b"content-encoding": value}))


@pytest.mark.parametrize("value", [b"identity", b"Identity"])
def test_takes_the_identity_encoding(value: bytes) -> None:
    """`identity` says that there is no encoding."""
    assert check_json_head(JSON_HEAD | {b"content-encoding": value}) is None

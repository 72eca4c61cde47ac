"""The digest that tells prompts apart."""

from __future__ import annotations

from hashlib import blake2b

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.stages.inspect.fingerprint import Fingerprint


@given(st.binary(), st.binary(min_size=1, max_size=64))
def test_is_keyed_blake2b(body: bytes, key: bytes) -> None:
    """The digest is BLAKE2b's own, and calling it changes nothing for the next call."""
    fingerprint = Fingerprint(key)
    fingerprint(b"another")

    assert int.from_bytes(blake2b(body, digest_size=8, key=key).digest(), "little") == fingerprint(body)


def test_depends_on_the_key() -> None:
    """Who does not know the key cannot compare digests."""
    assert Fingerprint(b"a")(b"body") != Fingerprint(b"b")(b"body")


@pytest.mark.parametrize("key", [b"", b"k" * 65])
def test_refuses_a_bad_key(key: bytes) -> None:
    """No key, or one that BLAKE2b cannot take."""
    with pytest.raises(ValueError, match="key"):
        Fingerprint(key)

"""The form of gateway keys: one spelling each, and a typo is known for one without any list."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.gateway_key import GatewayKey, compose, new_id, read_id

SECRETS = st.binary(min_size=32, max_size=32)
IDS = st.text("abcdefghijklmnopqrstuvwxyz234567", min_size=20, max_size=20)
EXAMPLE = compose("a" * 20, bytes(range(32)))


@given(IDS, SECRETS)
def test_what_is_written_is_read(id: str, secret: bytes) -> None:
    """Every key names its id, has one length, and can stand in a header, a URL and a shell."""
    key = compose(id, secret)

    assert id == read_id(key.encode())
    assert 73 == len(key)
    assert set(key) <= {*string.ascii_letters, *string.digits, "_"}


@given(IDS, SECRETS, SECRETS)
def test_two_secrets_make_two_keys(id: str, one: bytes, other: bytes) -> None:
    """No two secrets share a spelling."""
    assert (one == other) == (compose(id, one) == compose(id, other))


@given(st.integers(0, 72), st.sampled_from(string.ascii_letters + string.digits + "_"))
def test_a_typo_is_recognised(place: int, character: str) -> None:
    """One wrong character makes it no key, wherever it stands: the checksum finds every such error."""
    typed = EXAMPLE[:place] + character + EXAMPLE[place + 1 :]

    assert (typed == EXAMPLE) == (read_id(typed.encode()) is not None)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "gk_",
        EXAMPLE[:-1],
        EXAMPLE + "0",
        EXAMPLE + "\n",
        " " + EXAMPLE,
        EXAMPLE.upper(),
        "sk_" + EXAMPLE[3:],
    ],
)
def test_other_texts_are_none(text: str) -> None:
    """Cut, longer, of another case, or of another kind."""
    assert read_id(text.encode()) is None


@pytest.mark.parametrize(
    ("id", "secret"), [("a" * 19, bytes(32)), ("A" * 20, bytes(32)), ("a" * 20, bytes(31))]
)
def test_weak_keys_are_not_made(id: str, secret: bytes) -> None:
    """An id or a secret of another size is a mistake of ours."""
    with pytest.raises(ValueError, match="32 bytes"):
        compose(id, secret)


@given(st.binary(min_size=20, max_size=40))
def test_any_random_bytes_make_an_id(random: bytes) -> None:
    """Five bits of each of twenty bytes."""
    assert read_id(compose(new_id(random), bytes(32)).encode()) == new_id(random)


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, False),
        ({"certificates": frozenset({"f"})}, True),
        ({"spiffe_ids": frozenset({"spiffe://a/b"})}, True),
    ],
)
def test_what_binds_a_key(more: dict[str, frozenset[str]], expected: bool) -> None:
    """A certificate or a SPIFFE ID binds; networks do not prove who asks."""
    assert expected == GatewayKey("id", "s", frozenset(), b"", 0.0, 1.0, **more).is_bound

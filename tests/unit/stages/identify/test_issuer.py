"""`issuer`: what an issuer entry cannot express."""

from __future__ import annotations

import pytest

from gateway.stages.identify import Issuer
from gateway.stages.identify.issuer import media_type

from .parts import HeldKeys, issuer, signer

KEYS = HeldKeys(signer())


@pytest.mark.parametrize(
    "options",
    [
        {"skew": 61.0},
        {"skew": -1.0},
        {"skew": float("nan")},
        {"max_lifetime": 0.0},
        {"max_lifetime": float("nan")},
        {"token_types": frozenset()},
        {"token_types": frozenset({""})},
    ],
)
def test_unsafe_options_are_refused(options: dict[str, object]) -> None:
    """Skew up to a minute, a real lifetime, a type."""
    with pytest.raises(ValueError, match=next(iter(options))):
        issuer("ES256", **options)


@pytest.mark.parametrize(
    ("name", "audience", "algorithms"),
    [
        ("", "a", {"ES256"}),
        ("x|y", "a", {"ES256"}),
        ("anonymous", "a", {"ES256"}),
        ("key", "a", {"ES256"}),
        ("x", "", {"ES256"}),
        ("x", "a", set()),
        ("x", "a", {"HS256"}),
        ("x", "a", {"ES256", "none"}),
    ],
)
def test_unsafe_entries_are_refused(name: str, audience: str, algorithms: set[str]) -> None:
    """An issuer has a name, an audience and asymmetric algorithms."""
    with pytest.raises(ValueError, match=r"issuer|audience|algorithms"):
        Issuer(name, KEYS, audience, frozenset(algorithms))


@pytest.mark.parametrize(
    ("typ", "expected"),
    [
        ("JWT", "jwt"),
        ("application/at+jwt", "at+jwt"),
        ("application/a/b", "application/a/b"),
        ("text/at+jwt", "text/at+jwt"),
    ],
)
def test_media_types_are_normalised(typ: str, expected: str) -> None:
    """RFC 7515, section 4.1.9: case and a leading `application/` do not count."""
    assert expected == media_type(typ)
    assert {expected} == issuer("ES256", token_types=frozenset({typ})).token_types

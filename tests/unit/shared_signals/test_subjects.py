"""`subjects`: whom a subject identifier names, and whom it cannot."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.revocation import Target
from gateway.shared_signals.subjects import Voice, read_subject

ISSUER = "https://idp.example.org"
VOICE = Voice((ISSUER, "spiffe://example.org"), "mail")
USER = {"format": "iss_sub", "iss": ISSUER, "sub": "alice"}
SESSION = {"format": "opaque", "id": "s-1"}


@pytest.mark.parametrize(
    ("subject", "expected"),
    [
        (USER, [(Target.SUBJECT, f"{ISSUER}|alice")]),
        ({"subject_type": "iss-sub", "iss": ISSUER, "sub": "alice"}, [(Target.SUBJECT, f"{ISSUER}|alice")]),
        ({"format": "iss_sub", "iss": "https://evil.example.org", "sub": "alice"}, []),
        ({"format": "iss_sub", "iss": ISSUER, "sub": ""}, []),
        (
            {"format": "iss_sub", "iss": "spiffe://example.org", "sub": "spiffe://example.org/a"},
            [(Target.SUBJECT, "spiffe://example.org/a")],
        ),
        ({"format": "iss_sub", "iss": "spiffe://example.org", "sub": "spiffe://example.org.evil/a"}, []),
        ({"format": "iss_sub", "iss": "spiffe://example.org", "sub": f"{ISSUER}|alice"}, []),
        ({"format": "iss_sub", "iss": ISSUER, "sub": ["alice"]}, []),
        ({"format": "iss_sub", "iss": ISSUER, "sub": "x" * 1025}, []),
        ({"format": "jwt_id", "iss": ISSUER, "jti": "t-1"}, [(Target.TOKEN, f"{ISSUER}|t-1")]),
        ({"format": "jwt_id", "iss": ISSUER, "jti": ""}, []),
        ({"format": "jwt_id", "iss": "https://evil.example.org", "jti": "t-1"}, []),
        (
            {"format": "email", "email": "A@B.org"},
            [(Target.CLAIM, f"{ISSUER}|mail|a@b.org"), (Target.CLAIM, "spiffe://example.org|mail|a@b.org")],
        ),
        ({"format": "email"}, []),
        ({"format": "opaque", "id": "alice"}, [(Target.SUBJECT, f"{ISSUER}|alice")]),
        ({"format": "opaque", "id": 7}, []),
        ({"format": "opaque", "id": ""}, []),
        ({"format": "opaque", "id": "bob", "user": USER}, [(Target.SUBJECT, f"{ISSUER}|bob")]),
        ({"format": "uri", "uri": f"{ISSUER}/a"}, []),
        ({"session": SESSION}, [(Target.SESSION, f"{each}|s-1") for each in VOICE.issuers]),
        ({"format": "complex", "session": {"format": "email", "id": "s-1"}}, []),
        ({"format": "complex", "session": {"format": "opaque", "id": ""}}, []),
        ({"format": "aliases", "identifiers": [{"format": "aliases", "identifiers": [USER]}]}, []),
        ({"format": "aliases"}, []),
        ({"format": "uri", "uri": "spiffe://example.org/a"}, [(Target.SUBJECT, "spiffe://example.org/a")]),
        ({"format": "uri", "uri": "spiffe://example.org.evil/a"}, []),
        ({"format": "uri", "uri": "https://example.org/a"}, []),
        (
            {"format": "complex", "user": USER, "session": SESSION},
            [
                (Target.SESSION, f"{ISSUER}|s-1"),
                (Target.SESSION, "spiffe://example.org|s-1"),
            ],
        ),
        ({"format": "complex", "user": USER}, [(Target.SUBJECT, f"{ISSUER}|alice")]),
        ({"user": USER, "device": SESSION}, [(Target.SUBJECT, f"{ISSUER}|alice")]),
        ({"format": "complex", "session": USER, "user": USER}, [(Target.SUBJECT, f"{ISSUER}|alice")]),
        ({"format": "complex", "tenant": SESSION}, []),
        (
            {
                "format": "aliases",
                "identifiers": [USER, {"format": "opaque", "id": "bob"}, "x", {"format": "aliases"}],
            },
            [(Target.SUBJECT, f"{ISSUER}|alice"), (Target.SUBJECT, f"{ISSUER}|bob")],
        ),
        ({"format": "aliases", "identifiers": "x"}, []),
        ({"format": "phone_number", "phone_number": "+12065550100"}, []),
        ({"format": 7}, []),
        ({}, []),
        (None, []),
        ("alice", []),
    ],
)
def test_formats(subject: object, expected: list[tuple[Target, str]]) -> None:
    """RFC 9493 and SSF 1.0: who is named here, and nobody whom the transmitter does not speak for."""
    assert expected == read_subject(subject, VOICE)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["format", "iss", "sub", "id", "user", "session", "identifiers", "email", "uri"]),
            inner | st.sampled_from(["iss_sub", "opaque", "aliases", "complex", "email", "uri"]),
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(JSON)
def test_any_json_names_somebody_or_nobody(subject: object) -> None:
    """Total: whatever an event holds, the answer is a list of targets of our own issuers."""
    for target, value in read_subject(subject, VOICE):
        assert isinstance(target, Target)
        assert value.startswith(VOICE.issuers)

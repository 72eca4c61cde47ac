"""`binding`: a token that says it is bound is bound, or refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gateway.stages.identify.binding import (
    NO_CERTIFICATE,
    NO_PROOF,
    OTHER_CERTIFICATE,
    UNBOUND,
    UNKNOWN,
    check_binding,
    proof_key,
)

from .parts import certificate

if TYPE_CHECKING:
    from gateway.core.identity import PeerCertificate
    from gateway.core.refusal import Refusal

OURS = "f" * 43
KEY = "k" * 43


@pytest.mark.parametrize(
    ("confirmation", "peer", "expected"),
    [
        ({"x5t#S256": OURS}, certificate(OURS), None),
        ({"x5t#S256": OURS}, None, NO_CERTIFICATE),
        ({"x5t#S256": "g" * 43}, certificate(OURS), OTHER_CERTIFICATE),
        ({"x5t#S256": OURS + "="}, certificate(OURS), OTHER_CERTIFICATE),
        ({"x5t#S256": ""}, certificate(OURS), OTHER_CERTIFICATE),
        ({"x5t#S256": "\u00e9"}, certificate(OURS), OTHER_CERTIFICATE),
        ({"x5t#S256": 1}, certificate(OURS), UNKNOWN),
        ({"x5t#S256": OURS, "jkt": "k"}, certificate(OURS), UNKNOWN),
        ({"x5t#S256": OURS, "jkt": KEY}, certificate(OURS), NO_PROOF),
        ({"x5t#S256": OURS, "jwk": {}}, certificate(OURS), UNKNOWN),
        ({"jkt": "k"}, None, UNKNOWN),
        ({"jkt": KEY}, None, NO_PROOF),
        ({"jkt": KEY}, certificate(OURS), NO_PROOF),
        ({"jwk": {}}, certificate(OURS), UNKNOWN),
        ({}, certificate(OURS), UNKNOWN),
        (None, certificate(OURS), UNKNOWN),
        (OURS, certificate(OURS), UNKNOWN),
        (["x5t#S256"], certificate(OURS), UNKNOWN),
    ],
)
def test_confirmation_decides(
    confirmation: object, peer: PeerCertificate | None, expected: Refusal | None
) -> None:
    """Exactly one known confirmation, and it holds here; an unknown one is never ignored."""
    assert expected is check_binding({"cnf": confirmation}, peer)


def test_unbound_tokens_are_let_through() -> None:
    """Whether a route demands binding is decided later."""
    assert check_binding({}, certificate(OURS)) is None


@pytest.mark.parametrize(
    ("confirmation", "peer", "expected"),
    [
        ({"jkt": KEY}, None, None),
        ({"jkt": KEY}, certificate(OURS), None),
        ({"jkt": KEY, "x5t#S256": OURS}, certificate(OURS), None),
        ({"jkt": KEY, "x5t#S256": OURS}, None, NO_CERTIFICATE),
        ({"jkt": KEY, "x5t#S256": "g" * 43}, certificate(OURS), OTHER_CERTIFICATE),
        ({"x5t#S256": OURS}, certificate(OURS), UNBOUND),
        ({"jkt": KEY + "="}, None, UNKNOWN),
        ({"jkt": KEY[:-1]}, None, UNKNOWN),
        ({"jkt": KEY + "\n"}, None, UNKNOWN),
        ({"jkt": None}, None, UNKNOWN),
        ({"jkt": [KEY]}, None, UNKNOWN),
        ({"jkt": KEY, "kid": "x"}, None, UNKNOWN),
        ({"jkt#S256": KEY}, None, UNKNOWN),
        ({}, None, UNKNOWN),
        (None, None, UNKNOWN),
    ],
)
def test_the_scheme_dpop_takes_tokens_that_are_bound_to_a_key(
    confirmation: object, peer: PeerCertificate | None, expected: Refusal | None
) -> None:
    """Those alone, and only where everything else that they name holds as well."""
    assert expected is check_binding({"cnf": confirmation}, peer, has_proof=True)


def test_the_scheme_dpop_takes_no_unbound_token() -> None:
    """A proof for a token that asks for none proves nothing about its owner."""
    assert UNBOUND is check_binding({}, certificate(OURS), has_proof=True)


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ({"cnf": {"jkt": KEY}}, KEY),
        ({"cnf": {"x5t#S256": OURS}}, None),
        ({}, None),
        ({"cnf": {"jkt": 1}}, None),
    ],
)
def test_the_key_of_a_token_is_what_it_names(claims: dict[str, object], expected: str | None) -> None:
    """Nothing else makes an identity that needs a proof."""
    assert expected == proof_key(claims)

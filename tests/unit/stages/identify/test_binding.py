"""`binding`: a token that says it is bound is bound, or refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gateway.stages.identify.binding import NO_CERTIFICATE, OTHER_CERTIFICATE, UNKNOWN, check_binding

from .parts import certificate

if TYPE_CHECKING:
    from gateway.core.identity import PeerCertificate
    from gateway.core.refusal import Refusal

OURS = "f" * 43


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
        ({"jkt": "k"}, None, UNKNOWN),
        ({"jwk": {}}, certificate(OURS), UNKNOWN),
        ({}, certificate(OURS), UNKNOWN),
        (None, certificate(OURS), UNKNOWN),
        (OURS, certificate(OURS), UNKNOWN),
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

"""Who calls, as data."""

from __future__ import annotations

import pytest

from gateway.core.identity import NO_CLAIMS, Identity, Peer
from tests.unit.stages.authorize.material import an_identity


@pytest.mark.parametrize(("methods", "expected"), [((), True), (("jwt",), False), (("jwt", "mtls"), False)])
def test_anonymous_is_who_proved_nothing(methods: tuple[str, ...], expected: bool) -> None:
    """One verified credential is enough to be somebody."""
    assert expected is Identity("k", "", "s", methods, frozenset(), 0.0).is_anonymous


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, "none"),
        ({"proof_key": "k", "claims": {"cnf": {"jkt": "k"}}}, "none"),
        ({"bound": True}, "certificate"),
        ({"bound": True, "claims": {"cnf": {"x5t#S256": "f"}}}, "certificate"),
        ({"bound": True, "proof_key": "k"}, "key"),
        ({"bound": True, "proof_key": "k", "claims": {"cnf": {"jkt": "k"}}}, "key"),
        ({"bound": True, "proof_key": "k", "claims": {"cnf": ["x5t#S256"]}}, "key"),
        ({"bound": True, "proof_key": "k", "claims": {"cnf": {"jkt": "k", "x5t#S256": "f"}}}, "both"),
    ],
)
def test_a_token_is_bound_to_what_was_proven(more: dict[str, object], expected: str) -> None:
    """One word for rules and routes: nothing, the certificate, a key, or both."""
    assert expected == an_identity("user", **more).binding  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("methods", "certificate", "bound", "expected"),
    [
        ((), None, False, 0),
        (("mtls",), "F", False, 1),
        (("jwt",), None, False, 1),
        (("dpop", "jwt"), None, True, 1),
        (("jwt", "mtls"), "F", False, 1),
        (("jwt", "mtls"), "F", True, 2),
        (("mtls", "opaque"), "F", True, 2),
    ],
)
def test_proofs_are_counted(
    methods: tuple[str, ...], certificate: str | None, bound: bool, expected: int
) -> None:
    """A token that whoever holds it may use adds none to a certificate."""
    identity = Identity("k", "", "s", methods, frozenset(), 0.0, certificate=certificate, bound=bound)

    assert expected == identity.proofs


def test_a_gateway_key_adds_no_proof() -> None:
    """Bound to the certificate beside it, it is still no token that somebody's issuer vouches for."""
    methods = ("key", "mtls")
    identity = Identity("k", "", "s", methods, frozenset(), 0.0, certificate="F", bound=True, key_id="k")

    assert 1 == identity.proofs


def test_claims_are_not_shown_and_not_shared() -> None:
    """A representation, wherever it is printed, has no claims in it; without claims there are none to write."""
    identity = an_identity("user", claims={"email": "canary@example.org"})

    assert "canary" not in repr(identity)
    with pytest.raises(TypeError):
        NO_CLAIMS["admin"] = True  # type: ignore[index]  # what must not work


def test_defaults_prove_nothing() -> None:
    """Whoever does not say so has no scope, no group, no binding."""
    identity = Identity("k", "", "s", (), frozenset(), 0.0)

    assert (frozenset(), (), False, None, 0.0) == (
        identity.scopes,
        identity.groups,
        identity.bound,
        identity.auth_time,
        identity.issued,
    )
    assert (None, None) == ((peer := Peer("::1", 1)).certificate, peer.tls)

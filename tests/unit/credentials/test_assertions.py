"""`assertions`: what a backend learns, and for how long it may believe it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import jwt
import msgspec
import pytest

from gateway.core.identity import Identity
from gateway.credentials.assertions import TYPE, SignedAssertions
from gateway.credentials.signing import Signer, generate_key, private_pem

from .parts import NOW

if TYPE_CHECKING:
    from pathlib import Path

SIGNER = Signer(generate_key("EdDSA"))


def identity(**changed: object) -> Identity:
    """A caller."""
    facts = {
        "key": "https://idp.example.org|alice",
        "issuer": "https://idp.example.org",
        "subject": "alice",
        "methods": ("jwt", "mtls"),
        "roles": frozenset({"b", "a"}),
        "expires": NOW + 300,
        "token": "0123456789abcdef",
        "spiffe_id": "spiffe://example.org/a",
        "certificate": "f" * 43,
    }
    return Identity(**(facts | changed))


def permit(
    who: Identity | None = None, *, model: str | None = "m", rule: str = "r", route: str = "chat"
) -> SimpleNamespace:
    """What `assertion` reads of a permit; real ones are issued by their stage alone."""
    return SimpleNamespace(
        identity=who or identity(), model=model, rule=rule, route=SimpleNamespace(name=route, backend="llama")
    )


def claims(assertions: SignedAssertions, token: bytes) -> dict[str, object]:
    """Verify a token with the published key, as a backend would."""
    key = jwt.PyJWK(msgspec.json.decode(assertions.jwks)["keys"][0])
    options = {"verify_aud": False, "verify_exp": False, "verify_iat": False}
    return jwt.decode(token.decode(), key, algorithms=["EdDSA", "ES256"], options=options)


def test_a_backend_learns_who_asks_for_what() -> None:
    """Every claim, under a type that is no access token's."""
    assertions = SignedAssertions(SIGNER, "gw", audiences={"llama": "https://llama.example"})
    name, token = assertions.assertion(permit(), NOW + 0.5)
    header = jwt.get_unverified_header(token.decode())

    assert (TYPE, SIGNER.kid, "EdDSA") == (header["typ"], header["kid"], header["alg"])
    assert {
        "iss": "gw",
        "sub": "alice",
        "sub_iss": "https://idp.example.org",
        "aud": "https://llama.example",
        "iat": int(NOW),
        "exp": int(NOW) + 60,
        "jti": name,
        "route": "chat",
        "model": "m",
        "rule": "r",
        "roles": ["a", "b"],
        "methods": ["jwt", "mtls"],
        "spiffe_id": "spiffe://example.org/a",
        "client_x5t#S256": "f" * 43,
    } == claims(assertions, token)


def test_unknown_facts_are_left_out() -> None:
    """No certificate, no claim about one; the backend's name is the audience by default."""
    assertions = SignedAssertions(SIGNER, "gw")
    found = claims(
        assertions, assertions.assertion(permit(identity(spiffe_id=None, certificate=None)), NOW)[1]
    )

    assert {"spiffe_id", "client_x5t#S256"}.isdisjoint(found)
    assert "llama" == found["aud"]


def test_an_assertion_is_used_for_half_its_life() -> None:
    """Then a new one is signed, and also when the clock was set back."""
    assertions = SignedAssertions(SIGNER, "gw")
    first = assertions.assertion(permit(), NOW)

    assert first == assertions.assertion(permit(), NOW + 29.9)
    assert first != assertions.assertion(permit(), NOW + 30)
    assert first != assertions.assertion(permit(), NOW - 1)


@pytest.mark.parametrize(
    "other",
    [
        permit(model="n"),
        permit(model=None),
        permit(rule="s"),
        permit(route="other"),
        permit(identity(key="https://idp.example.org|bob")),
        permit(identity(token="f" * 16)),
        permit(identity(certificate="g" * 43)),
    ],
)
def test_other_decisions_have_other_assertions(other: SimpleNamespace) -> None:
    """Another caller, token, certificate, route, rule or model is never told under the same name."""
    assertions = SignedAssertions(SIGNER, "gw")

    assert assertions.assertion(permit(), NOW)[0] != assertions.assertion(other, NOW)[0]


def test_an_assertion_never_outlives_the_identity() -> None:
    """Nothing is trusted for longer than it is true."""
    assertions = SignedAssertions(SIGNER, "gw")
    token = assertions.assertion(permit(identity(expires=NOW + 5.5)), NOW)[1]

    assert int(NOW) + 5 == claims(assertions, token)["exp"]


def test_memory_is_bounded() -> None:
    """When it is full, everything is signed anew."""
    assertions = SignedAssertions(SIGNER, "gw", capacity=2)
    first = assertions.assertion(permit(), NOW)
    assertions.assertion(permit(model="n"), NOW)
    assert first == assertions.assertion(permit(), NOW)
    assertions.assertion(permit(model="o"), NOW)

    assert first != assertions.assertion(permit(), NOW)


def test_keys_come_from_a_file_or_for_the_process(tmp_path: Path) -> None:
    """An EC key signs ES256; without a file, a fresh Ed25519 key signs."""
    path = tmp_path / "assertions.key"
    path.write_bytes(private_pem(generate_key("ES256")))
    kept = SignedAssertions.from_file(path, "gw")
    fresh = SignedAssertions.from_file(None, "gw", lifetime=10)

    assert ["ES256", "EdDSA"] == [
        jwt.get_unverified_header(one.assertion(permit(), NOW)[1].decode())["alg"] for one in (kept, fresh)
    ]
    assert "gw" == claims(kept, kept.assertion(permit(), NOW)[1])["iss"]
    assert b'"d"' not in kept.jwks


def test_useless_lifetimes_are_refused() -> None:
    """Dates are whole seconds."""
    with pytest.raises(ValueError, match="lifetime"):
        SignedAssertions(SIGNER, "gw", lifetime=1)

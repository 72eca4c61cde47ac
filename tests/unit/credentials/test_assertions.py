"""`assertions`: what a backend learns, and for how long it may believe it."""

from __future__ import annotations

import re
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


def issued(
    assertions: SignedAssertions, which: SimpleNamespace, now: float, id: str = "request-1"
) -> tuple[str, bytes]:
    """Return `jti` and token, as the backend finds it in its field."""
    credential = assertions.find(SimpleNamespace(id=id), which, now)
    found = re.fullmatch(rb"X-Gateway-Assertion: ([A-Za-z0-9._-]+)\r\n", credential.fields)
    assert found is not None
    return credential.name, found[1]


def claims(assertions: SignedAssertions, token: bytes) -> dict[str, object]:
    """Verify a token with the published key, as a backend would."""
    key = jwt.PyJWK(msgspec.json.decode(assertions.jwks)["keys"][0])
    options = {"verify_aud": False, "verify_exp": False, "verify_iat": False}
    return jwt.decode(token.decode(), key, algorithms=["EdDSA", "ES256"], options=options)


def test_a_backend_learns_who_asks_for_what() -> None:
    """Every claim, under a type that is no access token's."""
    assertions = SignedAssertions(SIGNER, "gw", audiences={"llama": "https://llama.example"})
    name, token = issued(assertions, permit(), NOW + 0.5)
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
        "decision": "request-1",
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
    found = claims(assertions, issued(assertions, permit(identity(spiffe_id=None, certificate=None)), NOW)[1])

    assert {"spiffe_id", "client_x5t#S256"}.isdisjoint(found)
    assert "llama" == found["aud"]


def test_an_assertion_is_used_for_half_its_life() -> None:
    """Then a new one is signed, and also when the clock was set back."""
    assertions = SignedAssertions(SIGNER, "gw")
    first = issued(assertions, permit(), NOW)

    assert first == issued(assertions, permit(), NOW + 29.9)
    assert first != issued(assertions, permit(), NOW + 30)
    assert first != issued(assertions, permit(), NOW - 1)


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
        permit(identity(key_id="0123")),
    ],
)
def test_other_decisions_have_other_assertions(other: SimpleNamespace) -> None:
    """Another caller, token, certificate, route, rule or model is never told under the same name."""
    assertions = SignedAssertions(SIGNER, "gw")

    assert issued(assertions, permit(), NOW)[0] != issued(assertions, other, NOW)[0]


def test_an_assertion_never_outlives_the_identity() -> None:
    """Nothing is trusted for longer than it is true."""
    assertions = SignedAssertions(SIGNER, "gw")
    token = issued(assertions, permit(identity(expires=NOW + 5.5)), NOW)[1]

    assert int(NOW) + 5 == claims(assertions, token)["exp"]


def test_memory_is_bounded() -> None:
    """When it is full, everything is signed anew."""
    assertions = SignedAssertions(SIGNER, "gw", capacity=2)
    first = issued(assertions, permit(), NOW)
    issued(assertions, permit(model="n"), NOW)
    assert first == issued(assertions, permit(), NOW)
    issued(assertions, permit(model="o"), NOW)

    assert first != issued(assertions, permit(), NOW)


def test_keys_come_from_a_file_or_for_the_process(tmp_path: Path) -> None:
    """An EC key signs ES256; without a file, a fresh Ed25519 key signs."""
    path = tmp_path / "assertions.key"
    path.write_bytes(private_pem(generate_key("ES256")))
    kept = SignedAssertions.from_file(path, "gw")
    fresh = SignedAssertions.from_file(None, "gw", lifetime=10)

    assert ["ES256", "EdDSA"] == [
        jwt.get_unverified_header(issued(one, permit(), NOW)[1].decode())["alg"] for one in (kept, fresh)
    ]
    assert "gw" == claims(kept, issued(kept, permit(), NOW)[1])["iss"]
    assert b'"d"' not in kept.jwks


def test_useless_lifetimes_are_refused() -> None:
    """Dates are whole seconds."""
    with pytest.raises(ValueError, match="lifetime"):
        SignedAssertions(SIGNER, "gw", lifetime=1)


def test_an_assertion_is_bound_to_the_gateways_own_certificate() -> None:
    """RFC 8705: for the backend that is shown one; another certificate, another assertion."""
    assertions = SignedAssertions(SIGNER, "gw", bindings={"llama": "a" * 43})
    first = issued(assertions, permit(), NOW)[1]
    assertions.bind("llama", "a" * 43)
    assert first == issued(assertions, permit(), NOW)[1]
    assertions.bind("llama", "b" * 43)
    second = issued(assertions, permit(), NOW)[1]

    assert [{"x5t#S256": "a" * 43}, {"x5t#S256": "b" * 43}] == [
        claims(assertions, token)["cnf"] for token in (first, second)
    ]


def test_every_request_may_have_an_assertion_of_its_own() -> None:
    """Single use: signed for this request alone, under its id."""
    assertions = SignedAssertions(SIGNER, "gw", is_single_use=True)
    tokens = [issued(assertions, permit(), NOW, name)[1] for name in ("request-1", "request-2")]

    assert ["request-1", "request-2"] == [claims(assertions, token)["decision"] for token in tokens]


async def test_a_signature_needs_no_waiting() -> None:
    """Whoever would wait gets the same."""
    assertions = SignedAssertions(SIGNER, "gw")
    call = SimpleNamespace(id="request-1")

    assert assertions.find(call, permit(), NOW) is await assertions.obtain(call, permit(), NOW)

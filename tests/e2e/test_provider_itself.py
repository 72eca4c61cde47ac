"""The identity provider of these tests does what its users rely on; the gateway has no part in this."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import jwt
import pytest
from requests_oauth2client import DPoPKey, DPoPToken, InvalidClient, InvalidScope, OAuth2Error

from gateway.credentials.development import fingerprint
from tests.identity_provider import HIGH, LOW, IdentityProvider

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import requests

    from tests.e2e.world import World

AS_GATEWAY = ("gateway-basic", "gateway-jwt", "gateway-mtls")


def claims(token: str) -> dict[str, Any]:
    """Read a token's claims; who verifies them is the gateway."""
    read: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return read


@pytest.fixture
def browser(idp: IdentityProvider) -> Iterator[requests.Session]:
    """A user's browser."""
    with idp.new_browser() as session:
        yield session


def test_a_provider_without_packages_says_so(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever runs pytest before `make test` reads what to do."""
    provider = IdentityProvider(tmp_path, world.pki)
    monkeypatch.setattr("tests.identity_provider.HERE", tmp_path / "idp")

    with pytest.raises(RuntimeError, match="make test"):
        provider.__enter__()


def test_it_can_be_discovered(idp: IdentityProvider) -> None:
    """The discovery document names every endpoint that tests use."""
    with idp.new_browser() as session:
        document = session.get(f"{idp.issuer}/.well-known/openid-configuration").json()

    assert (idp.issuer, idp.url("jwks")) == (document["issuer"], document["jwks_uri"])
    assert [idp.url(name) for name in ("token", "introspection", "revocation", "authorization")] == [
        document[f"{name}_endpoint"] for name in ("token", "introspection", "revocation", "authorization")
    ]


@pytest.mark.parametrize("name", ["alice", "batch", "robot", "self-signed"])
def test_every_way_to_authenticate(name: str, idp: IdentityProvider) -> None:
    """A secret, a private key, an issued certificate and a self-signed one each get their own client's token."""
    assert name == claims(idp.token(name))["sub"]


def test_another_certificate_authenticates_nobody(idp: IdentityProvider, world: World) -> None:
    """The name in the certificate is what counts, and who issued it."""
    impostor = world.pki.issue("impostor-at-the-provider", authority="backends")
    for certificate in (world.alice, impostor):
        with pytest.raises(InvalidClient):
            idp.token("robot", certificate=certificate)


def test_tokens_are_bound_to_certificates(idp: IdentityProvider, world: World) -> None:
    """Bound to the one that was shown, whatever the client proved itself with; none shown, no token."""
    own = idp.clients["robot"].certificate
    assert own is not None

    assert {"x5t#S256": fingerprint(own.certificate)} == claims(idp.token("robot"))["cnf"]
    assert {"x5t#S256": fingerprint(world.alice.certificate)} == claims(
        idp.token("bound", certificate=world.alice)
    )["cnf"]
    with pytest.raises(OAuth2Error):
        idp.token("bound")


@pytest.mark.parametrize(("name", "requests_made"), [("dpop", 1), ("dpop-nonce", 2)])
def test_tokens_are_bound_to_keys(name: str, requests_made: int, idp: IdentityProvider) -> None:
    """The thumbprint of the proof's key is in the token; a nonce, where demanded, costs a second request."""
    key, before = DPoPKey.generate(), idp.asked("token")
    token = idp.grant(name, key=key)

    assert isinstance(token, DPoPToken)
    assert {"jkt": key.dpop_jkt} == claims(token.access_token)["cnf"]
    assert requests_made == idp.asked("token") - before


def test_claims_are_chosen_by_request(idp: IdentityProvider) -> None:
    """A first token with little, then one with more: what a step-up needs; and claims can be left out."""
    now = int(time.time())
    first = claims(idp.token(auth_time=now - 3600))
    second = claims(idp.token(acr=HIGH, amr=["pwd", "hwk"], auth_time=now, sid="one-session"))

    assert (LOW, ["pwd"], now - 3600) == (first["acr"], first["amr"], first["auth_time"])
    assert (HIGH, ["pwd", "hwk"], now, "one-session") == tuple(
        second[name] for name in ("acr", "amr", "auth_time", "sid")
    )
    assert "groups" not in claims(idp.token(groups=None))


def test_users_step_up(idp: IdentityProvider, browser: requests.Session) -> None:
    """A session is used again as it is, until more is asked for than it proved (RFC 9470)."""
    first = claims(idp.sign_in("carol", browser=browser).access_token)
    again = claims(idp.sign_in("carol", browser=browser).access_token)
    stronger = claims(idp.sign_in("carol", browser=browser, acr_values=HIGH).access_token)
    kept = claims(idp.sign_in("carol", browser=browser).access_token)

    assert ("carol", "app", LOW) == (first["sub"], first["client_id"], first["acr"])
    assert first["auth_time"] == again["auth_time"]
    assert (HIGH, HIGH) == (stronger["acr"], kept["acr"])
    assert "mfa" in stronger["amr"]


def test_users_have_tokens_bound_to_keys(idp: IdentityProvider) -> None:
    """A sign-in with a proof gives a token of that key."""
    key = DPoPKey.generate()
    token = idp.sign_in("carol", key=key, claims={"sid": "s"}).access_token

    assert ({"jkt": key.dpop_jkt}, "s") == (claims(token)["cnf"], claims(token)["sid"])


@pytest.mark.parametrize("name", AS_GATEWAY)
def test_introspection(name: str, idp: IdentityProvider) -> None:
    """The gateway may ask in each of its three ways, and is told what a JWT would have said."""
    user = idp.introspect(idp.sign_in("carol", "opaque").access_token, name)
    machine = idp.introspect(idp.token("alice", "opaque", acr=HIGH), name)

    assert (True, "carol", "app") == (user["active"], user["sub"], user["client_id"])
    assert (True, "alice", "model-gateway", HIGH) == tuple(
        machine[key] for key in ("active", "client_id", "aud", "acr")
    )
    assert "sub" not in machine  # the client's own token: this provider names no subject
    assert {"active": False} == idp.introspect("never-issued", name)


def test_introspection_tells_bindings(idp: IdentityProvider) -> None:
    """Opaque tokens are bound like the others."""
    key, certificate = DPoPKey.generate(), idp.clients["robot"].certificate
    assert certificate is not None
    by_key = idp.introspect(idp.token("dpop", "opaque", key=key))
    by_certificate = idp.introspect(idp.token("robot", "opaque"))

    assert ({"jkt": key.dpop_jkt}, "DPoP") == (by_key["cnf"], by_key["token_type"])
    assert {"x5t#S256": fingerprint(certificate.certificate)} == by_certificate["cnf"]


def test_revoked_tokens_are_inactive(idp: IdentityProvider) -> None:
    """Revocation is seen by the next introspection."""
    token = idp.token("alice", "opaque")
    before = idp.introspect(token)["active"]
    idp.revoke(token)

    assert (True, {"active": False}) == (before, idp.introspect(token))


@pytest.mark.parametrize("name", AS_GATEWAY)
@pytest.mark.parametrize("resource", ["es256", "opaque"])
def test_exchange(name: str, resource: str, idp: IdentityProvider) -> None:
    """A token for another audience keeps the subject and what was known of it, and says who acts."""
    subject = idp.sign_in("carol", resource, acr_values=HIGH, scope="models:chat models:embed")
    exchanged = claims(
        idp.exchange(subject.access_token, name, audience="urn:backend:tiny", scope="models:chat")
    )

    assert ("carol", "urn:backend:tiny", name, "models:chat") == tuple(
        exchanged[key] for key in ("sub", "aud", "client_id", "scope")
    )
    assert ({"sub": name}, HIGH, ["ml-research"]) == tuple(exchanged[key] for key in ("act", "acr", "groups"))


def test_actors_nest(idp: IdentityProvider) -> None:
    """Who acts for an actor stands outermost (RFC 8693, section 4.1); `resource` works as `audience` does."""
    once = idp.exchange(idp.token("alice"), "gateway-basic", resource="urn:backend:one")
    twice = claims(idp.exchange(once, "gateway-jwt", resource="urn:backend:two"))

    assert {"sub": "gateway-jwt", "act": {"sub": "gateway-basic"}} == twice["act"]
    assert ("alice", "urn:backend:two") == (twice["sub"], twice["aud"])


def test_exchange_gives_nothing_new(idp: IdentityProvider) -> None:
    """No scope that the subject lacks, no unknown audience, no token that is dead, and only who may exchange."""
    token, revoked = idp.token("alice"), idp.token("alice", "opaque")
    idp.revoke(revoked)
    with pytest.raises(InvalidScope):
        idp.exchange(token, audience="urn:backend:tiny", scope="models:admin")
    for subject, name, audience in (
        (token, "gateway-basic", "nowhere"),
        (revoked, "gateway-basic", "urn:backend:tiny"),
        (token[:-4] + "AAAA", "gateway-basic", "urn:backend:tiny"),
        (token, "alice", "urn:backend:tiny"),
    ):
        with pytest.raises(OAuth2Error):
            idp.exchange(subject, name, audience=audience)


def test_keys_rotate_and_retire(world: World, tmp_path: Path) -> None:
    """Old keys stay published until they are retired; every endpoint can be broken and mended."""
    with IdentityProvider(tmp_path, world.pki) as idp:
        old = jwt.get_unverified_header(idp.token())["kid"]
        idp.rotate()
        new = jwt.get_unverified_header(idp.token())["kid"]
        both = idp.keys().keys()
        idp.retire()
        left = idp.keys().keys()
        idp.fault("introspection", "500")
        with pytest.raises(OAuth2Error):
            idp.introspect("anything")
        idp.fault("introspection", "off")

        assert {old, new} <= both
        assert (True, False) == (new in left, old in left)
        assert {"active": False} == idp.introspect("anything")

"""Tokens that a real identity provider minted: what the gateway makes of them, and of the provider's troubles."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import jwt
import pytest

from tests.e2e.trusting import Trusting
from tests.identity_provider import ALGORITHMS, IdentityProvider

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.backend import Backend
    from tests.e2e.world import World
    from tests.identity_provider import Fault

HURRIED = (Path(__file__).parent / "hurried.py",)
REJECTED = (401, "credential-rejected")


@pytest.fixture(scope="module")
def trusting(
    world: World, backend: Backend, idp: IdentityProvider, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Trusting]:
    """A gateway that believes the shared provider."""
    with Trusting(tmp_path_factory.mktemp("trusting"), world, backend, idp) as running:
        yield running


@pytest.fixture(scope="module", autouse=True)
def short(trusting: Trusting, idp: IdentityProvider) -> str:
    """A token that lives for three seconds, served once; it expires while other tests run."""
    for _ in range(5):  # on a busy machine one may die on its way
        token = idp.token("alice", "short")
        if trusting.ask(token).status == 200:
            return token
    raise AssertionError("never served")


@pytest.fixture(scope="module")
def breakable(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[IdentityProvider]:
    """A provider that only this module believes."""
    with IdentityProvider(tmp_path_factory.mktemp("breakable"), world.pki) as running:
        yield running


@pytest.fixture
def own(breakable: IdentityProvider) -> Iterator[IdentityProvider]:
    """The same, for one test, and mended after it."""
    yield breakable
    breakable.fault("jwks", "off")


@pytest.fixture(scope="module")
def hurried(
    world: World,
    backend: Backend,
    breakable: IdentityProvider,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Trusting]:
    """A gateway that believes that provider, and asks it again without waiting."""
    with Trusting(tmp_path_factory.mktemp("hurried"), world, backend, breakable, HURRIED) as running:
        yield running


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_algorithm_verifies(algorithm: str, trusting: Trusting, idp: IdentityProvider) -> None:
    """Keys come from the provider's own URL over TLS, and verify what it signs in each of its algorithms."""
    token = idp.token("alice", algorithm.lower())
    answered = trusting.ask(token)

    assert algorithm == jwt.get_unverified_header(token)["alg"]
    assert (200, "everybody") == (answered.status, answered.record["rule"])
    assert {"key": f"{idp.issuer}|alice", "methods": ["jwt"], "roles": ["researcher"]} == {
        name: answered.record["who"][name] for name in ("key", "methods", "roles")
    }


@pytest.mark.parametrize(
    ("resource", "reason"),
    [("other", "token-audience"), ("hs256", "token-algorithm"), ("opaque", "token-malformed")],
)
def test_tokens_for_others_and_of_other_kinds(
    resource: str, reason: str, trusting: Trusting, idp: IdentityProvider
) -> None:
    """The right issuer's tokens are refused if they are for another API, symmetric, or no JWT."""
    assert (*REJECTED, reason) == trusting.ask(idp.token("alice", resource)).refusal


def test_scope_is_what_the_provider_granted(trusting: Trusting, idp: IdentityProvider) -> None:
    """A good token without the route's scope is not enough."""
    answered = trusting.ask(idp.token("alice", scope="models:embed"))

    assert (403, "insufficient-scope", "scope-missing") == answered.refusal


def test_a_user_who_signed_in_is_served(trusting: Trusting, idp: IdentityProvider) -> None:
    """A token of an authorization code is its user's, not its client's."""
    answered = trusting.ask(idp.sign_in("carol").access_token)

    assert (200, "carol") == (answered.status, answered.record["who"]["subject"])


def test_an_exchanged_token_is_for_its_audience_alone(trusting: Trusting, idp: IdentityProvider) -> None:
    """A token that was exchanged for a backend's does not open the gateway; one exchanged for the gateway does."""
    subject = idp.token("alice")
    back = idp.exchange(subject, audience="model-gateway")

    assert (*REJECTED, "token-audience") == trusting.ask(
        idp.exchange(subject, audience="urn:backend:tiny")
    ).refusal
    assert (200, "alice") == ((answered := trusting.ask(back)).status, answered.record["who"]["subject"])


def test_a_bound_token_works_for_its_owner_alone(
    trusting: Trusting, idp: IdentityProvider, world: World
) -> None:
    """Bound to the certificate that fetched it (RFC 8705): on that one's connection, nobody else's, and not without."""
    token = idp.token("robot")
    owner = idp.clients["robot"].certificate
    served = trusting.ask(token, owner)

    assert (200, ["jwt", "mtls"]) == (served.status, served.record["who"]["methods"])
    assert (*REJECTED, "token-binding") == trusting.ask(token, world.alice).refusal
    assert (*REJECTED, "token-binding") == trusting.ask(token).refusal


def test_a_bound_token_of_a_certificate_that_nobody_issued(
    trusting: Trusting, idp: IdentityProvider, world: World
) -> None:
    """Bound to a self-signed certificate, a token cannot be used where only issued ones are accepted."""
    token = idp.token("self-signed")

    assert (*REJECTED, "token-binding") == trusting.ask(token).refusal
    assert (*REJECTED, "token-binding") == trusting.ask(token, world.robot).refusal


def test_a_token_bound_to_a_key_is_no_bearer_token(trusting: Trusting, idp: IdentityProvider) -> None:
    """Shown as a bearer token, without a proof of its key, it is refused."""
    answered = trusting.ask(idp.token("dpop"))

    assert REJECTED == (answered.status, answered.word)


def test_keys_are_rotated_and_retired_without_a_restart(hurried: Trusting, own: IdentityProvider) -> None:
    """A new key is fetched when its first token comes; what a withdrawn key signed dies with the next fetch."""
    old = own.token()
    assert 200 == hurried.ask(old).status
    own.rotate()
    asked = own.asked("jwks")
    assert [200, 200] == [hurried.ask(token).status for token in (own.token(), old)]
    assert asked + 1 == own.asked("jwks")
    own.rotate()
    own.retire()
    assert 200 == hurried.ask(own.token()).status

    assert (*REJECTED, "token-key-unknown") == hurried.ask(old).refusal
    assert (*REJECTED, "token-key-unknown") == hurried.ask(old).refusal


@pytest.mark.parametrize("kind", ["500", "garbage", "hang"])
def test_a_broken_key_server_takes_no_keys_away(
    kind: Fault, hurried: Trusting, own: IdentityProvider
) -> None:
    """The last good keys serve on; a key that cannot be fetched is unknown, until it can."""
    old = own.token(), own.token("bob")
    assert 200 == hurried.ask(old[0]).status
    own.fault("jwks", kind)
    own.rotate()
    new, before = own.token(), list(hurried.gateway.lines)

    assert (*REJECTED, "token-key-unknown") == hurried.ask(new).refusal
    assert own.issuer == hurried.gateway.event("keys-unavailable", lambda one: one not in before)["issuer"]
    assert [200, 200] == [hurried.ask(token).status for token in old]
    own.fault("jwks", "off")
    assert 200 == hurried.ask(new).status


def test_a_short_token_dies(trusting: Trusting, short: str) -> None:
    """What was proven does not outlive the token: it was served, and is refused from the second when it expires."""
    expires = jwt.decode(short, options={"verify_signature": False})["exp"]
    time.sleep(max(0.0, expires - time.time()))  # the other tests have used most of it

    assert (*REJECTED, "token-expired") == trusting.ask(short).refusal

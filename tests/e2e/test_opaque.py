"""Opaque tokens of a real identity provider, which the gateway asks about in each way that it can prove itself."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
import requests

from tests.e2e.trusting import Trusting, introspection
from tests.e2e.world import prompt, reachable
from tests.identity_provider import IdentityProvider
from tests.servers import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.e2e.backend import Backend
    from tests.e2e.world import World

REJECTED = (401, "credential-rejected")
UNCHECKED = (503, "unavailable", "token-unchecked")
WAYS = ("private_key_jwt", "mtls", "client_secret")


@pytest.fixture(scope="module")
def breakable(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[IdentityProvider]:
    """A provider that only this module believes, and breaks."""
    with IdentityProvider(tmp_path_factory.mktemp("idp-opaque"), world.pki) as running:
        yield running


@pytest.fixture
def own(breakable: IdentityProvider) -> Iterator[IdentityProvider]:
    """The same, for one test, and mended after it."""
    yield breakable
    breakable.fault("introspection", "off")


@pytest.fixture(scope="module")
def asking(
    world: World, backend: Backend, breakable: IdentityProvider, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Trusting]:
    """A gateway that asks that provider, proving itself by a signature."""
    directory = tmp_path_factory.mktemp("asking")
    how = introspection("private_key_jwt", breakable, directory)
    with Trusting(directory, world, backend, breakable, introspection=how) as running:
        yield running


@pytest.mark.parametrize("way", WAYS)
def test_each_way_to_prove_who_asks(
    way: str, world: World, backend: Backend, idp: IdentityProvider, tmp_path: Path
) -> None:
    """By a signature, by a certificate, by a secret: a real server takes each, and its tokens are served."""
    how = introspection(way, idp, tmp_path)
    with Trusting(tmp_path, world, backend, idp, introspection=how) as running:
        answered = running.ask(idp.token("alice", "opaque"))

        assert (200, "everybody") == (answered.status, answered.record["rule"])
        assert {
            "key": f"{idp.issuer}|client_id=alice",
            "methods": ["opaque"],
            "roles": ["researcher"],
            "client_id": "alice",
        } == {name: answered.record["who"][name] for name in ("key", "methods", "roles", "client_id")}
        assert (*REJECTED, "token-inactive") == running.ask("not-a-token-of-anybody").refusal


def test_a_user_has_the_name_that_a_jwt_would_give(asking: Trusting, own: IdentityProvider) -> None:
    """Signed in for an opaque token or for a JWT, carol is one caller."""
    opaque = asking.ask(own.sign_in("carol", "opaque").access_token)
    signed = asking.ask(own.sign_in("carol").access_token)

    assert (200, 200) == (opaque.status, signed.status)
    assert f"{own.issuer}|carol" == opaque.record["who"]["key"] == signed.record["who"]["key"]


def test_tokens_for_others_are_refused(asking: Trusting, own: IdentityProvider) -> None:
    """Active, but for another API; without the scope; without the certificate or the proof it is bound to."""
    assert (*REJECTED, "token-audience") == asking.ask(own.token("alice", "opaque-other")).refusal
    assert (403, "insufficient-scope", "scope-missing") == asking.ask(
        own.token("alice", "opaque", scope="models:embed")
    ).refusal
    assert (*REJECTED, "token-binding") == asking.ask(own.token("robot", "opaque")).refusal
    assert (*REJECTED, "token-binding") == asking.ask(own.token("dpop", "opaque")).refusal


def test_a_bound_token_is_served_to_its_owner(asking: Trusting, own: IdentityProvider) -> None:
    """Bound to the certificate that fetched it: the provider says so, and the connection proves it."""
    token = own.token("robot", "opaque")
    served = asking.ask(token, own.clients["robot"].certificate)

    assert (200, ["mtls", "opaque"]) == (served.status, served.record["who"]["methods"])
    assert (*REJECTED, "token-binding") == asking.ask(token).refusal


def test_a_revoked_token_is_dead_within_ten_seconds(asking: Trusting, own: IdentityProvider) -> None:
    """Believed for as long as an answer is, and then asked about again."""
    token = own.token("alice", "opaque")
    before = own.asked("introspection")
    assert [200] * 3 == [asking.ask(token).status for _ in range(3)]
    assert before + 1 == own.asked("introspection")
    own.revoke(token)
    until = time.monotonic() + 12
    refusal: tuple[int, str, str] | None = None
    while refusal is None and time.monotonic() < until:
        answered = asking.ask(token)
        refusal = None if answered.status == 200 else answered.refusal
        time.sleep(0.25)

    assert (*REJECTED, "token-inactive") == refusal


@pytest.mark.parametrize(
    ("kind", "why"), [("500", "status-500"), ("hang", "timeout"), ("garbage", "the issuer's answer")]
)
def test_an_issuer_that_fails_stops_nobody_else(
    kind: str, why: str, asking: Trusting, own: IdentityProvider
) -> None:
    """Opaque tokens cannot be checked, and the record says why; JWTs and known opaque tokens are served on."""
    known, unknown, signed = own.token("alice", "opaque"), own.token("bob", "opaque"), own.token("alice")
    assert [200, 200] == [asking.ask(token).status for token in (known, signed)]
    own.fault("introspection", kind)  # type: ignore[arg-type]
    answered = asking.ask(unknown)

    assert UNCHECKED == answered.refusal
    assert why in answered.record["note"]
    assert [200, 200] == [asking.ask(token).status for token in (known, signed)]
    own.fault("introspection", "off")
    time.sleep(2.1)  # that there was no answer is remembered for two seconds
    assert 200 == asking.ask(unknown).status


def test_a_flood_of_tokens_reaches_no_issuer(asking: Trusting, own: IdentityProvider) -> None:
    """Thought-up tokens of one address cause so many questions and no more; a genuine JWT is served meanwhile."""
    signed = own.token("alice")
    before, began = own.asked("introspection"), time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        words = list(pool.map(lambda number: asking.ask(f"thought-up-{number}").refusal[2], range(120)))
        assert 200 == asking.ask(signed).status
    seconds = time.monotonic() - began

    assert {"token-inactive", "token-unchecked"} == set(words)
    assert own.asked("introspection") - before == words.count("token-inactive") <= 20 + 20 * seconds


def test_a_token_bound_to_a_key_is_proven_by_somebody_else_s_client(
    world: World, backend: Backend, idp: IdentityProvider, tmp_path: Path
) -> None:
    """The provider says to which key, its client proves it with every request; stolen, the token is worth nothing.

    The endpoint is not written down here: it is discovered with the keys.
    """
    how = introspection("private_key_jwt", idp, tmp_path).replace(
        f"endpoint: {idp.url('introspection')}, ", ""
    )
    trusting = Trusting(tmp_path, world, backend, idp, introspection=how)
    configuration = trusting.gateway.configuration
    text = configuration.read_text().replace(f"      jwks: {idp.issuer}/jwks\n", "")
    assert "endpoint" not in how
    assert "jwks:" not in text
    configuration.write_text(text)
    reachable(configuration, free_port())
    token = idp.grant("dpop", "opaque")
    with trusting, requests.Session() as session:
        session.verify = str(world.pki.ca("gateway"))
        session.trust_env = False
        url = f"https://localhost:{trusting.gateway.port}/v1/chat/completions"
        answers = [session.post(url, json=prompt("proven"), auth=token, timeout=20) for _ in range(3)]
        records = [trusting.gateway.record(answer.headers["x-request-id"]) for answer in answers]

        assert [200] * 3 == [answer.status_code for answer in answers]
        assert [["dpop", "opaque"]] * 3 == [record["who"]["methods"] for record in records]
        assert (*REJECTED, "token-binding") == trusting.ask(token.access_token).refusal

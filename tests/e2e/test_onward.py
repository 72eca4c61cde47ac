"""What backends are shown of who asks: tokens that a real authorization server exchanged (RFC 8693)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jwt
import pytest

from tests.e2e.trusting import Trusting, authentication

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.e2e.backend import Backend, Seen
    from tests.e2e.world import World
    from tests.identity_provider import IdentityProvider

LINES = """
    exchange:
      endpoint: {issuer}/token
      server: {issuer}
      client_id: {client}
      authentication: {authentication}
      audience: {audience}
      ca: {ca}"""


WAYS = {"gateway-basic": "client_secret", "gateway-jwt": "private_key_jwt", "gateway-mtls": "mtls"}


@pytest.fixture
def exchanging(
    request: pytest.FixtureRequest, world: World, backend: Backend, idp: IdentityProvider, tmp_path: Path
) -> Iterator[Trusting]:
    """A gateway that exchanges callers' tokens for tokens of one audience."""
    client, audience = request.param
    lines = LINES.format(
        issuer=idp.issuer,
        client=client,
        authentication=authentication(WAYS[client], idp, tmp_path),
        audience=audience,
        ca=idp.ca,
    )
    with Trusting(tmp_path, world, backend, idp, more=lines) as running:
        yield running


def claims(seen: Seen) -> dict[str, Any]:
    """Read the token that a backend was shown."""
    scheme, _, token = (seen.header("authorization") or "").partition(" ")
    assert "Bearer" == scheme
    found: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return found


@pytest.mark.parametrize(
    "exchanging", [(client, "urn:backend:tiny") for client in WAYS], indirect=True, ids=list(WAYS)
)
def test_the_backend_gets_a_token_of_its_own(
    exchanging: Trusting, backend: Backend, idp: IdentityProvider
) -> None:
    """For its audience, about the caller, naming the gateway as who acts; the caller's token never crosses."""
    before = len(backend.seen)
    token = idp.token("alice")
    answers = [exchanging.ask(token) for _ in range(2)]
    seen = backend.seen[before:]
    found = claims(seen[0])

    assert [200, 200] == [answer.status for answer in answers]
    assert ("urn:backend:tiny", "alice") == (found["aud"], found["sub"])
    assert found["act"]["sub"].startswith("gateway-")
    assert all(token not in one.raw and one.header("x-gateway-assertion") is None for one in seen)
    assert seen[0].header("authorization") == seen[1].header("authorization")
    assert 16 == len(answers[0].record["assertion"])


@pytest.mark.parametrize("exchanging", [("gateway-basic", "urn:nobody")], indirect=True)
def test_without_a_token_nothing_reaches_the_backend(
    exchanging: Trusting, backend: Backend, idp: IdentityProvider
) -> None:
    """The server refuses the audience: 503, our word in the record and in the log, nothing forwarded."""
    before = len(backend.seen)
    answer = exchanging.ask(idp.token("alice"))

    assert (503, "unavailable", "backend-token") == answer.refusal
    assert "token exchange: status-400" == answer.record["note"]
    assert "tiny" == exchanging.gateway.event("token-exchange-failed")["backend"]
    assert before == len(backend.seen)

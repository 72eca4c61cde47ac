"""Tokens that are bound to a key: a real gateway over mutual TLS, clients of ours and of others, a real provider."""

from __future__ import annotations

import http.client
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Final

import pytest
import requests
from requests_oauth2client import DPoPToken

from gateway.credentials.clock import SystemClock
from gateway.credentials.development_proof import make_proof
from gateway.credentials.signing import Signer, generate_key, private_pem
from tests.challenges import parse_all
from tests.e2e.running import RunningGateway
from tests.e2e.test_state import configured
from tests.e2e.trusting import Trusting, introspection
from tests.e2e.world import prompt, reachable
from tests.servers import RunningServer, free_port, redis_binary, valkey_binary

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import httpx

    from tests.e2e.backend import Backend
    from tests.e2e.world import World
    from tests.identity_provider import IdentityProvider

CHAT: Final = "/v1/chat/completions"
CLOCK: Final = SystemClock()
HOLDER: Final = Signer(generate_key("ES256"))
THIEF: Final = Signer(generate_key("ES256"))


def started(world: World, backend: Backend, directory: Path, *, nonces: bool = False) -> RunningGateway:
    """Return a gateway that takes proofs, made for where it listens."""
    configuration = world.configure(directory, backend.port)
    reachable(configuration, free_port(), nonces=nonces)
    return RunningGateway(configuration, directory / "audit.jsonl")


@pytest.fixture(scope="module")
def proving(
    world: World, backend: Backend, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningGateway]:
    """A gateway without nonces."""
    with started(world, backend, tmp_path_factory.mktemp("proving")) as running:
        yield running


@pytest.fixture(scope="module")
def demanding(
    world: World, backend: Backend, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningGateway]:
    """A gateway that demands nonces."""
    with started(world, backend, tmp_path_factory.mktemp("demanding"), nonces=True) as running:
        yield running


def bound(world: World, subject: str, **options: Any) -> str:
    """Mint a researcher's token that is bound to the holder's key."""
    return world.token(subject, **({"bind": None, "bind_key": HOLDER.thumbprint} | options))


def proof_for(gateway: RunningGateway, token: str, signer: Signer = HOLDER, **options: Any) -> str:
    """Make a proof for a chat request, with changes."""
    method, url = (
        options.pop("method", "POST"),
        f"https://localhost:{gateway.port}{options.pop('path', CHAT)}",
    )
    return make_proof(signer, method, url, CLOCK.wall() + options.pop("later", 0), token=token, **options)


def ask(
    world: World,
    gateway: RunningGateway,
    token: str,
    proof: str | None,
    *,
    scheme: str = "DPoP",
    text: str = "proven",
) -> httpx.Response:
    """Send one chat request with a token and a proof."""
    headers = {"authorization": f"{scheme} {token}"} | ({} if proof is None else {"dpop": proof})
    with world.http(gateway, None) as client:
        return client.post(CHAT, json=prompt(text), headers=headers)


def reason(gateway: RunningGateway, answer: httpx.Response) -> str:
    """Return why a request was refused, from the record."""
    return str(gateway.record(answer.json()["instance"].rsplit(":", 1)[1])["reason"])


def test_an_owner_is_served(world: World, proving: RunningGateway, backend: Backend) -> None:
    """Each request with its own proof, in any spelling of the URL; neither token nor proof leaves or is logged."""
    token = bound(world, "owner")
    other = f"https://LOCALHOST:{proving.port}/v1/./chat/%63ompletions?x=1#y"
    proofs = [proof_for(proving, token), proof_for(proving, token, claims={"htu": other})]
    answers = [ask(world, proving, token, proof, text="owner-prompt") for proof in proofs]
    record = proving.record(answers[0].headers["x-request-id"])
    written = proving.audit.read_text() + "".join(map(str, proving.lines))
    seen = backend.asked("owner-prompt")

    assert [200, 200] == [answer.status_code for answer in answers]
    assert ["dpop", "jwt", "mtls"] == record["who"]["methods"]
    assert seen is not None
    for secret in (token, *proofs):
        assert secret not in written
        assert secret not in str(seen)
    assert "dpop-nonce" not in answers[0].headers


def test_a_proof_is_good_once(world: World, proving: RunningGateway) -> None:
    """The second time it is refused, with a challenge for the scheme that was tried."""
    token = bound(world, "once")
    proof = proof_for(proving, token)
    first, second = (ask(world, proving, token, proof) for _ in range(2))
    tried, *others = parse_all(second.headers.get_list("www-authenticate"))

    assert (200, 401) == (first.status_code, second.status_code)
    assert "proof-replayed" == reason(proving, second)
    assert ("DPoP", "invalid_dpop_proof", "ES256 EdDSA Ed25519") == (
        tried.scheme,
        tried.parameters["error"],
        tried.parameters["algs"],
    )
    assert [("Bearer", False)] == [(one.scheme, "error" in one.parameters) for one in others]


STOLEN: list[tuple[str, dict[str, Any], str]] = [
    ("no-proof", {"proof": None}, "proof-missing"),
    ("bearer", {"proof": None, "scheme": "Bearer"}, "token-binding"),
    ("bearer-beside", {"scheme": "Bearer"}, "credential-ambiguous"),
    ("other-key", {"signer": THIEF}, "proof-key"),
    ("forged-key", {"signer": THIEF, "headers": {"jwk": HOLDER.public}}, "proof-bad-signature"),
    ("other-method", {"method": "GET"}, "proof-mismatch"),
    ("other-path", {"path": "/v1/models"}, "proof-mismatch"),
    ("other-host", {"claims": {"htu": "https://evil.example" + CHAT}}, "proof-mismatch"),
    ("other-token", {"claims": {"ath": "A" * 43}}, "proof-mismatch"),
    ("no-ath", {"omit": ["ath"]}, "proof-mismatch"),
    ("stale", {"later": -120}, "proof-stale"),
    ("future", {"later": 120}, "proof-stale"),
    ("symmetric", {"headers": {"alg": "HS256"}}, "proof-key"),
    ("unsigned", {"headers": {"alg": "none"}}, "proof-key"),
    ("type", {"headers": {"typ": "at+jwt"}}, "proof-malformed"),
    ("garbage", {"proof": "a.b"}, "proof-malformed"),
    ("long", {"claims": {"more": "x" * 9000}}, "proof-malformed"),
]


@pytest.mark.parametrize(("name", "change", "expected"), STOLEN, ids=[case[0] for case in STOLEN])
def test_a_stolen_token_is_worth_nothing(
    name: str, change: dict[str, Any], expected: str, world: World, proving: RunningGateway, backend: Backend
) -> None:
    """However it is presented without its key: refused, recorded, and never forwarded."""
    token = bound(world, "victim")
    assert 200 == ask(world, proving, token, proof_for(proving, token)).status_code
    options = dict(change)
    scheme = options.pop("scheme", "DPoP")
    proof = options.pop("proof") if "proof" in options else proof_for(proving, token, **options)
    answer = ask(world, proving, token, proof, scheme=scheme, text=f"stolen-{name}")

    assert answer.status_code == (400 if expected == "credential-ambiguous" else 401)
    assert expected == reason(proving, answer)
    assert backend.asked(f"stolen-{name}") is None


def test_a_proof_does_not_help_an_unbound_token(world: World, proving: RunningGateway) -> None:
    """Who steals a bearer token cannot dress it up."""
    token = bound(world, "unbound", bind_key=None)
    answer = ask(world, proving, token, proof_for(proving, token))

    assert (401, "token-binding") == (answer.status_code, reason(proving, answer))


def test_both_bindings_are_checked(world: World, proving: RunningGateway) -> None:
    """A token for key and certificate is good with the proof, over the right connection."""
    mine = world.token("both", bind_key=HOLDER.thumbprint)
    other = world.token("both", bind="x" * 43, bind_key=HOLDER.thumbprint)
    answers = [ask(world, proving, token, proof_for(proving, token)) for token in (mine, other)]

    assert [200, 401] == [answer.status_code for answer in answers]


@pytest.mark.parametrize("field", ["dpop", "authorization"])
def test_two_of_a_kind_are_refused(field: str, world: World, proving: RunningGateway) -> None:
    """RFC 9449, section 4.3, check 1: not more than one field; which of two counts is nobody's guess."""
    token = bound(world, "twice")
    fields = [("Authorization", f"DPoP {token}"), ("DPoP", proof_for(proving, token))]
    connection = http.client.HTTPSConnection("localhost", proving.port, context=world.context(world.alice))
    connection.putrequest("POST", CHAT)
    for name, value in [*fields, *[one for one in fields if one[0].lower() == field]]:
        connection.putheader(name, value)
    connection.putheader("Content-Length", "2")
    connection.endheaders(b"{}")
    answer = connection.getresponse()
    body = answer.read()
    connection.close()

    assert 400 == answer.status
    assert b"invalid-request" in body


def test_a_nonce_is_asked_for_and_renewed(world: World, demanding: RunningGateway) -> None:
    """First without, then with the nonce of the challenge; the next one comes with the answer."""
    token = bound(world, "nonce")
    first = ask(world, demanding, token, proof_for(demanding, token))
    nonce = first.headers["dpop-nonce"]
    second = ask(world, demanding, token, proof_for(demanding, token, nonce=nonce))
    renewed = second.headers["dpop-nonce"]
    third = ask(world, demanding, token, proof_for(demanding, token, nonce=renewed))
    without = ask(world, demanding, token, proof_for(demanding, token))
    challenge = parse_all(first.headers.get_list("www-authenticate"))[0]

    assert [401, 200, 200, 401] == [one.status_code for one in (first, second, third, without)]
    assert ("DPoP", "use_dpop_nonce") == (challenge.scheme, challenge.parameters["error"])
    assert ("nonce-required", "proof-nonce") == (first.json()["error"]["code"], reason(demanding, first))
    assert nonce != renewed


@pytest.mark.parametrize(
    ("resource", "kind", "nonces"),
    [("es256", "jwt", False), ("es256", "jwt", True), ("opaque", "opaque", True)],
)
def test_clients_and_tokens_of_others(
    *,
    resource: str,
    kind: str,
    nonces: bool,
    world: World,
    backend: Backend,
    idp: IdentityProvider,
    tmp_path: Path,
) -> None:
    """The provider's token, proven by somebody else's client: served, nonce or not, as often as it asks."""
    trusting = Trusting(
        tmp_path, world, backend, idp, introspection=introspection("client_secret", idp, tmp_path)
    )
    reachable(trusting.gateway.configuration, free_port(), nonces=nonces)
    token = idp.grant("dpop", resource)
    assert isinstance(token, DPoPToken)
    with trusting, requests.Session() as session:
        session.verify = str(world.pki.ca("gateway"))
        session.trust_env = False
        url = f"https://localhost:{trusting.gateway.port}{CHAT}?try=1"
        answers = [session.post(url, json=prompt("other-client"), auth=token, timeout=20) for _ in range(3)]
        stolen = session.post(
            url, json=prompt("x"), headers={"Authorization": f"Bearer {token.access_token}"}, timeout=20
        )
        records = [trusting.gateway.record(answer.headers["x-request-id"]) for answer in answers]

    assert ([200] * 3, 401) == ([answer.status_code for answer in answers], stolen.status_code)
    assert [["dpop", kind]] * 3 == [record["who"]["methods"] for record in records]
    assert nonces is ("dpop-nonce" in answers[0].headers)


def test_a_fleet_takes_a_proof_once(world: World, backend: Backend, tmp_path: Path) -> None:
    """Two gateways behind one origin, one Redis: what one has seen the other refuses; without it both refuse."""
    (tmp_path / "redis").mkdir()
    redis = RunningServer(redis_binary() or valkey_binary(), tmp_path / "redis")
    redis.start()
    fleet = [configured(world, backend, redis, tmp_path / name) for name in ("one", "two")]
    for gateway in fleet:
        text = gateway.configuration.read_text()
        origin = "server:\n  origins: ['https://gateway.example.org']\n"
        gateway.configuration.write_text(text.replace("server:\n", origin, 1))
    token = bound(world, "fleet")
    urls = {"htu": "https://gateway.example.org" + CHAT}
    with fleet[0] as one, fleet[1] as two:
        proof, second = (proof_for(one, token, claims=urls) for _ in range(2))
        answers = [ask(world, gateway, token, proof) for gateway in (one, two, one)]
        fresh = ask(world, two, token, second)
        redis.stop()
        two.event("state-lost")
        without = ask(world, two, token, proof_for(two, token, claims=urls))
        reasons = [reason(two, answers[1]), reason(two, without)]

    assert [200, 401, 401] == [answer.status_code for answer in answers]
    assert (200, 503) == (fresh.status_code, without.status_code)
    assert ["proof-replayed", "store-unavailable"] == reasons


def test_by_hand(world: World, proving: RunningGateway, tmp_path: Path) -> None:
    """The commands of docs/proofs.md: a key, a token that is bound to it, a proof."""
    key, file = tmp_path / "client.key", tmp_path / "token"
    key.write_bytes(private_pem(generate_key("ES256")))

    def gateway(*arguments: str | Path) -> str:
        command = [sys.executable, "-m", "gateway", "token", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout.strip()

    bound_to = ["--group", "ml-research", "--scope", "models:chat", "--bind-key", key]
    file.write_text(gateway("mint", "--directory", world.issuer.directory, *bound_to))
    url = f"https://localhost:{proving.port}{CHAT}"
    proof = gateway("proof", "--key", key, "--token", file, "--url", url)

    assert 200 == ask(world, proving, file.read_text(), proof).status_code

"""Strong and fresh authentication, two proofs of machines, and how a client finds out: on a real gateway."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from gateway.credentials.development import fingerprint
from tests.challenges import Challenge, parse_all
from tests.e2e.running import RunningGateway
from tests.e2e.test_refusals import request_id
from tests.e2e.world import prompt

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.credentials.development import Issued
    from tests.e2e.backend import Backend
    from tests.e2e.world import World

ORIGIN = "https://gateway.example.org"
METADATA = "/.well-known/oauth-protected-resource"
STRONG, STRONGER = "urn:example:acr:mfa", "urn:example:acr:phr"
ROUTES = f"""\
  - name: fresh
    match: {{methods: [POST], path: /fresh/v1/chat/completions}}
    dialect: openai.chat
    backend: tiny
    require:
      token: {{scopes: ["models:chat"]}}
      authentication: {{acr: ["{STRONGER}", "{STRONG}"], amr: [mfa], max_age: 5m}}
    allow: [{{name: researchers, roles: [researcher]}}]
  - name: machines
    match: {{methods: [POST], path: /machines/v1/chat/completions}}
    dialect: openai.chat
    backend: tiny
    require: {{authentication: {{proofs: 2}}}}
    allow: [{{name: researchers, roles: [researcher]}}]
  - name: either
    match: {{methods: [POST], path: /either/v1/chat/completions}}
    dialect: openai.chat
    backend: tiny
    allow: [{{name: researchers, roles: [researcher], when: "auth.proofs == 2 || (has(auth.age) && auth.age < 300)"}}]
"""
FRESH, MACHINES, EITHER = (f"/{name}/v1/chat/completions" for name in ("fresh", "machines", "either"))


@pytest.fixture(scope="module")
def gateway(
    world: World, backend: Backend, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningGateway]:
    """A gateway that asks for certificates, does not demand them, and knows its origin."""
    directory = tmp_path_factory.mktemp("step-up")
    configuration = world.configure(directory, backend.port)
    text = configuration.read_text()
    for old, new in (
        ("client_certificate: required", "client_certificate: optional"),
        (
            "  drain: 10s\n",
            f"  drain: 10s\n  origins: ['{ORIGIN}']\n  metadata: {{scopes: ['models:chat']}}\n",
        ),
        ("assertions:", f"{ROUTES}assertions:"),
    ):
        assert old in text
        text = text.replace(old, new, 1)
    configuration.write_text(text)
    with RunningGateway(configuration, directory / "audit.jsonl") as running:
        yield running


def client(world: World, gateway: RunningGateway, owner: Issued | None = None) -> httpx.Client:
    """Make a client with a certificate, or with none."""
    return httpx.Client(
        base_url=f"https://localhost:{gateway.port}",
        verify=world.context(owner),
        trust_env=False,
        timeout=20.0,
    )


def ask(http: httpx.Client, path: str, token: str | None, text: str = "hello") -> httpx.Response:
    """Ask the model something."""
    headers = {} if token is None else {"authorization": f"Bearer {token}"}
    return http.post(path, json=prompt(text), headers=headers)


def challenges(answer: httpx.Response) -> list[Challenge]:
    """Read the challenges of an answer, strictly."""
    return parse_all(answer.headers.get_list("www-authenticate"))


def unbound(world: World, subject: str, **changes: Any) -> str:
    """Mint a token that is bound to nothing."""
    return world.token(subject, bind=None, **changes)


def authenticated(challenge: Challenge) -> dict[str, Any]:
    """What an issuer writes into a token after it let the user do what a challenge asks for."""
    wanted = challenge.parameters["acr_values"].split()
    return {"acr": wanted[0], "amr": ["hwk", "mfa", "pwd"], "auth_time": int(time.time())}


def test_a_challenge_leads_to_a_token_that_does(
    world: World, gateway: RunningGateway, backend: Backend
) -> None:
    """401 says what to ask the issuer for; the token that it gives is served. Scopes are named in one go."""
    with client(world, gateway) as http:
        weak = ask(http, FRESH, unbound(world, "stepper", scopes=[], claims={"acr": "low"}), "weak-prompt")
        challenge, proof = challenges(weak)
        scopes = challenge.parameters["scope"].split()
        strong = unbound(world, "stepper", scopes=scopes, claims=authenticated(challenge))
        served = ask(http, FRESH, strong, "strong-prompt")
    record = gateway.record(request_id(weak))

    assert (401, "authentication-insufficient") == (weak.status_code, weak.json()["error"]["code"])
    assert ("DPoP", False) == (proof.scheme, "error" in proof.parameters)
    assert challenge == (
        "Bearer",
        {
            "realm": "https://gateway.example.org",
            "error": "insufficient_user_authentication",
            "error_description": weak.json()["detail"],
            "acr_values": f"{STRONGER} {STRONG}",
            "max_age": "300",
            "scope": "models:chat",
            "resource_metadata": ORIGIN + METADATA,
        },
    )
    assert ("step-up-required", "acr is none of those required") == (record["reason"], record["note"])
    assert 200 == served.status_code
    assert backend.asked("weak-prompt") is None


@pytest.mark.parametrize(
    ("lacking", "note"),
    [
        ({"acr": "low"}, "acr is none of those required"),
        ({"acr": None}, "acr is missing"),
        ({"amr": ["pwd"]}, "amr lacks a method that is required"),
        ({"auth_time": 1_700_000_000}, "auth_time is too long ago"),
        ({"auth_time": 4_000_000_000}, "auth_time is in the future"),
        ({"auth_time": None}, "auth_time is missing"),
    ],
)
def test_what_is_missing_or_wrong_is_not_enough(
    world: World, gateway: RunningGateway, lacking: dict[str, Any], note: str
) -> None:
    """Each claim alone is too little, whatever the others say."""
    claims = {"acr": STRONG, "amr": ["mfa"], "auth_time": int(time.time())} | lacking
    token = unbound(world, f"lacking-{note}", claims={k: v for k, v in claims.items() if v is not None})
    with client(world, gateway) as http:
        answer = ask(http, FRESH, token)

    assert 401 == answer.status_code
    assert note == gateway.record(request_id(answer))["note"]


def test_a_token_that_is_as_weak_ends_the_loop(
    world: World, gateway: RunningGateway, backend: Backend
) -> None:
    """What the client had is challenged as often as it comes; what the issuer gave it since is not."""
    earlier = int(time.time()) - 60
    old = unbound(world, "looper", claims={"acr": "low"}, issued_at=earlier)
    with client(world, gateway) as http:
        first, replayed = ask(http, FRESH, old), ask(http, FRESH, old)
        weak = ask(http, FRESH, unbound(world, "looper", claims={"acr": "low"}), "looping-prompt")
        still = ask(http, FRESH, old)
        strong = unbound(world, "looper", claims=authenticated(challenges(first)[0]))
        served = ask(http, FRESH, strong)

    assert [401, 401, 403, 401, 200] == [
        answer.status_code for answer in (first, replayed, weak, still, served)
    ]
    assert ("authentication-too-weak", []) == (weak.json()["error"]["code"], challenges(weak))
    assert "step-up-failed" == gateway.record(request_id(weak))["reason"]
    assert backend.asked("looping-prompt") is None


def test_whom_no_rule_allows_sees_no_demand(world: World, gateway: RunningGateway) -> None:
    """A caller without a role reads the same bytes on every route, and on one that does not exist."""
    token = unbound(world, "nosy", groups=["visitors"])
    with client(world, gateway) as http:
        answers = [ask(http, path, token) for path in (FRESH, MACHINES, EITHER, "/no/v1/chat/completions")]

    def shape(answer: httpx.Response) -> tuple[object, ...]:
        ours = {key: value for key, value in answer.headers.items() if key not in {"date", "connection"}}
        return answer.status_code, ours, answer.text.replace(request_id(answer), "")

    assert 403 == answers[0].status_code
    assert 1 == len({str(shape(answer)) for answer in answers})


def test_two_proofs_of_a_machine(world: World, gateway: RunningGateway) -> None:
    """A certificate and a token bound to it; what is missing decides whether a new token would help."""
    bound = world.token("machine", bind=fingerprint(world.robot.certificate))
    loose = unbound(world, "machine")
    liar = unbound(world, "machine", claims={"acr": "urn:gateway:acr:two-proofs"})
    found = []
    for owner, token in (
        (world.robot, bound),
        (world.robot, loose),
        (world.robot, liar),
        (world.robot, None),
        (None, loose),
        (None, bound),
    ):
        with client(world, gateway, owner) as http:
            answer = ask(http, MACHINES, token)
        said = [one.parameters["error"] for one in challenges(answer) if "error" in one.parameters]
        word = "" if answer.is_success else answer.json()["error"]["code"]
        found.append((answer.status_code, word, said))

    assert found == [
        (200, "", []),
        (401, "credential-rejected", ["invalid_token"]),
        (401, "credential-rejected", ["invalid_token"]),
        (401, "credential-required", []),
        (403, "second-proof-required", []),
        (401, "credential-rejected", ["invalid_token"]),  # a bound token without its certificate is nobody's
    ]


def test_rules_can_ask_for_either(world: World, gateway: RunningGateway) -> None:
    """`auth.proofs` and `auth.age` in one condition: a machine with two proofs, or a person who was just here."""
    bound = world.token("either", bind=fingerprint(world.robot.certificate))
    recent = unbound(world, "either", claims={"auth_time": int(time.time())})
    with client(world, gateway, world.robot) as machine, client(world, gateway) as person:
        statuses = [
            ask(http, EITHER, token).status_code
            for http, token in (
                (machine, bound),
                (person, recent),
                (machine, unbound(world, "either")),
                (person, unbound(world, "either")),
            )
        ]

    assert [200, 200, 403, 403] == statuses


@pytest.mark.parametrize("with_certificate", [True, False])
def test_the_metadata_is_for_everybody_who_can_connect(
    world: World, gateway: RunningGateway, with_certificate: bool
) -> None:
    """RFC 9728: 200 without credentials, never a redirect, `resource` byte for byte; one record, nobody named."""
    with client(world, gateway, world.robot if with_certificate else None) as http:
        answer = http.get(METADATA, headers={"host": "evil.example"})
        head = http.head(METADATA)
    records = [
        gateway.record_where(  # exactly one
            lambda record, method=method: (
                (record["method"], record["path"], record["status"]) == (method, METADATA, 200)
                and ("certificate" in record) == with_certificate
            )
        )
        for method in ("GET", "HEAD")
    ]

    assert (200, "application/json", []) == (
        answer.status_code,
        answer.headers["content-type"],
        answer.history,
    )
    assert answer.json() == {
        "resource": ORIGIN,
        "authorization_servers": ["https://idp.example.org"],
        "scopes_supported": ["models:chat"],
        "bearer_methods_supported": ["header"],
        "tls_client_certificate_bound_access_tokens": True,
        "dpop_signing_alg_values_supported": ["ES256", "EdDSA", "Ed25519"],
        "dpop_bound_access_tokens_required": False,
    }
    assert "max-age=3600" in answer.headers["cache-control"]
    assert (200, b"", answer.headers["content-length"]) == (
        head.status_code,
        head.content,
        head.headers["content-length"],
    )
    assert [("served", False, False)] * 2 == [
        (record["outcome"], "who" in record, "route" in record) for record in records
    ]


def test_other_requests_of_that_path_are_nothing_special(world: World, gateway: RunningGateway) -> None:
    """Strangers are challenged, callers are told that it is not allowed; both find the metadata."""
    with client(world, gateway) as http:
        stranger = http.post(METADATA, json={})
        other = http.get(f"{METADATA}/v1")
        caller = http.get(f"{METADATA}/v1", headers={"authorization": f"Bearer {unbound(world, 'curious')}"})

    for answer in (stranger, other):
        challenge, proof = challenges(answer)
        known = {"realm": "https://gateway.example.org", "resource_metadata": ORIGIN + METADATA}
        assert (401, "Bearer", "DPoP") == (answer.status_code, challenge.scheme, proof.scheme)
        assert known == challenge.parameters
        assert known | {"algs": "ES256 EdDSA Ed25519"} == proof.parameters
    assert (403, "forbidden") == (caller.status_code, caller.json()["error"]["code"])

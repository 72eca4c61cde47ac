"""A configuration, compiled: what it becomes, and everything that can be found wrong with it on the way."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import jwt
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from gateway.core.limits import ConcurrencyLimit, RateLimit
from gateway.core.refusal import Reason, StepUp
from gateway.core.route import Requirements
from gateway.credentials.development import fingerprint
from gateway.credentials.signing import Signer, generate_key, private_pem
from gateway.stages.identify.proof_key import KEY_REFUSED, ProofKey, thumbprint
from tests.unit.app.settings import FULL, line_of
from tests.unit.stages.authorize.material import NOW, an_identity

if TYPE_CHECKING:
    from gateway.app.compilation import Compilation
    from tests.unit.app.settings import Directory

SECRET_NAME = "GATEWAY_TEST_NO_SUCH_VARIABLE"


def test_everything_is_compiled(directory: Directory) -> None:
    """Issuers, routes, backends, keys, contexts: all there, none opened."""
    made = directory.compile()

    assert ["chat", "plain", "local", "public"] == [route.name for route in made.routes.routes]
    assert {"https://idp.example.org", "https://other.example.org"} == made.identification.issuers.keys()
    assert 2 == len(made.key_sets)
    assert made.identification.anonymous_roles is None
    assert None not in {made.client_trust, made.admin_tls, made.checkpoint_key}
    assert ("correct-horse", None) == (made.admin_token, made.state_password)
    assert made.version == directory.load().digest[:16]


def test_assertions_are_for_one_backend_on_our_own_connections(directory: Directory) -> None:
    """The audience is what the backend calls itself; where we show it a certificate, it is bound to that."""
    text = FULL.replace("  llama:\n", "  llama:\n    audience: https://llama.example\n").replace(
        "assertions: {", "assertions: {single_use: true, "
    )
    onward = directory.compile(text).onward.onward
    call = SimpleNamespace(id="request-1")
    identity = SimpleNamespace(
        subject="ada", issuer="i", expires=2e9, roles=(), methods=(), spiffe_id=None, certificate=None
    )
    found = []
    for backend in ("llama", "plain"):
        route = SimpleNamespace(name="r", backend=backend)
        permit = SimpleNamespace(identity=identity, route=route, rule="rule", model=None)
        token = onward.find(call, permit, 1.8e9).fields.split()[1]
        claims = jwt.decode(token.decode(), options={"verify_signature": False})
        found.append((claims["aud"], claims.get("cnf")))

    fingerprint_of_ours = fingerprint(directory.path / "certs/to-backend.pem")
    assert [("https://llama.example", {"x5t#S256": fingerprint_of_ours}), ("plain", None)] == found


def test_a_route_is_what_was_written(directory: Directory) -> None:
    """Requirements, limits, headers and detectors arrive; a burst is never larger than its limit."""
    route = directory.compile().routes.routes[0]

    assert Requirements(
        certificate=True, token=True, bound=True, scopes=frozenset({"models:chat"}), max_age=900.0
    ) == (route.require)
    assert (
        RateLimit("60/minute", 60, 60.0, 60),
        RateLimit("1000/day", 1000, 86400.0, 100),
    ) == route.limits.rates
    assert (
        ConcurrencyLimit("concurrent", 4, 30.0 + 5.0 + 5.0 + 120.0 + 600.0 + 30.0) == route.limits.concurrency
    )
    assert (["denied-probing"], 0.9) == ([each.name for each in route.detectors], route.risk_bar)
    assert not {b"authorization", b"cookie"} & route.request_headers
    assert not route.limits.is_local_on_failure


def test_priorities_reach_every_route(directory: Directory) -> None:
    """The highest of a caller's roles; no priority is the same as 0."""
    text = FULL.replace(
        "roles:\n", "roles:\n  urgent: {groups: [a], priority: 7}\n  batch: {groups: [b], priority: -7}\n"
    )
    for route in directory.compile(text).routes.routes:
        found = [route.priority(frozenset(roles)) for roles in ((), ("researcher",), ("batch",))]
        assert [0, 0, -7] == found
        assert 7 == route.priority(frozenset({"batch", "urgent", "researcher"}))


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("acr: [urn:example:acr:mfa], amr: [mfa], max_age: 5m", Reason.STEP_UP_REQUIRED),
        ("proofs: 2", Reason.PROOFS_MISSING),
        ('acr: ["urn:gateway:acr:two-proofs"]', Reason.PROOFS_MISSING),
    ],
)
@pytest.mark.parametrize("token", [True, False])
def test_an_authentication_is_demanded(
    directory: Directory, written: str, expected: Reason, token: bool
) -> None:
    """With or without a section on tokens; a token is demanded too."""
    section = f"authentication: {{{written}}}"
    text = FULL.replace("require: {certificate: true, token", f"require: {{{section}, token")
    if not token:
        text = FULL.replace(
            'require: {certificate: true, token: {scopes: ["models:chat"], bound: true, max_age: 15m}}',
            f"require: {{{section}}}",
        )
    require = directory.compile(text).routes.routes[0].require
    assert require.authentication is not None
    refusal = require.authentication(an_identity(), NOW)

    assert require.token
    assert refusal is not None
    assert expected is refusal.reason
    if expected is Reason.STEP_UP_REQUIRED:
        assert StepUp(("urn:example:acr:mfa",), 300) == refusal.step_up
        strong = an_identity(acr="urn:example:acr:mfa", amr=("mfa",), auth_time=NOW)
        assert require.authentication(strong, NOW) is None


def test_a_route_that_asks_for_nothing(directory: Directory) -> None:
    """Without `require` and `limits` there is none of either."""
    route = directory.compile().routes.routes[1]

    assert Requirements() == route.require
    assert ((), None) == (route.limits.rates, route.limits.concurrency)


def test_the_store_may_be_lost_only_where_it_says_so(directory: Directory) -> None:
    """`on_failure: local` reaches the limits of every route."""
    made = directory.compile(FULL + 'state: {url: "memory://", on_failure: local}\n')

    assert made.routes.routes[0].limits.is_local_on_failure


def test_endpoints_by_scheme(directory: Directory) -> None:
    """Mutual TLS with identity, plain, unix, and TLS by name."""
    backends = {backend.name: backend for backend in directory.compile().backends}
    first, second = backends["llama"].endpoints
    [plain], [local], [public] = (backends[name].endpoints for name in ("plain", "local", "public"))

    assert (("127.0.0.1", 1, "127.0.0.1:1"), ("::1", 2, "[::1]:2")) == tuple(
        (each.host, each.port, each.authority) for each in (first, second)
    )
    assert (first.tls, "Bearer correct-horse") == (second.tls, first.credential)
    assert None not in {first.tls, first.verify}
    assert (None, None, None) == (plain.tls, plain.verify, plain.credential)
    assert ("/run/model.sock", "localhost", None) == (str(local.path), local.authority, local.tls)
    assert (443, "llm.example.org", None) == (public.port, public.server_name, public.verify)
    assert public.tls is not None
    assert public.tls.check_hostname


def test_the_key_behind_which_identities_stand(directory: Directory) -> None:
    """Random in memory; the same for a whole fleet, and another one with another password."""
    redis = 'state: {url: "redis://gateway@127.0.0.1:1/0", password: "file:secret"}\n'

    def blinding(made: Compilation) -> bytes:
        return made.blinding

    alone = {blinding(directory.compile()) for _ in range(2)}
    fleet = {blinding(directory.compile(FULL + redis)) for _ in range(2)}
    directory.write("secret", b"battery-staple")
    other = blinding(directory.compile(FULL + redis))

    assert (2, 1) == (len(alone), len(fleet))
    assert {other}.isdisjoint(fleet)
    assert {32} == {len(key) for key in alone | fleet}


def test_anonymous_callers_have_the_roles_that_were_written(directory: Directory) -> None:
    """Explicitly, or not at all."""
    text = FULL.replace("roles:\n  res", "  anonymous: {roles: [public]}\nroles:\n  public: {}\n  res")

    assert frozenset({"public"}) == directory.compile(text).identification.anonymous_roles


RSA = private_pem(generate_key("RS256"))
assert isinstance(generate_key("RS256"), rsa.RSAPrivateKey)
BIG = b'{"description": "%b"}' % (b"x" * (1024 * 1024))
# What is replaced in the configuration by what, where the problem stands, and what is said.
WRITTEN = {
    "condition": ("max_tokens <= 64", "max_tokns <= 64", "max_tokns", "line 1, column 1 of the condition"),
    "condition-type": ("max_tokens <= 64", "max_tokens + 1", "max_tokens + 1", "of the condition"),
    "rule": (
        'allow: [{name: researchers, roles: [researcher], when: "request.max_tokens <= 64"}]',
        "allow: [{name: a, roles: [researcher]}, {name: b, roles: [researcher]}]",
        "allow: [{name: a",
        "b",
    ),
    "detector": ("[denied-probing]", "[denied-probing, oracle]", "oracle", "`oracle` is no detector"),
    "extra-fields": (
        "backend: plain\n",
        "backend: plain\n    extra_fields: allow\n",
        "extra_fields",
        "opaque",
    ),
    "dialect-schema": (
        "backend: plain\n",
        "backend: plain\n    schema: ./chat.json\n",
        "schema: ./chat",
        "opaque",
    ),
    "variable": ("credential: file:secret", f"credential: env:{SECRET_NAME}", "credential", SECRET_NAME),
    "token": ('token: "file:secret"', f"token: env:{SECRET_NAME}", "token: env", SECRET_NAME),
    "password": (
        "assertions:",
        f'state: {{url: "redis://127.0.0.1:1", password: "env:{SECRET_NAME}"}}\nassertions:',
        "state:",
        SECRET_NAME,
    ),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_what_is_written_wrongly(name: str, directory: Directory) -> None:
    """Each problem is reported alone, with its line."""
    old, new, part, word = WRITTEN[name]
    assert old in FULL
    text = FULL.replace(old, new, 1)
    [(line, message)] = directory.findings(text)

    assert line_of(text, part) == line
    assert word in message


# What becomes of a file, where that is reported, and what is said.
SPOILED = {
    "schema-keyword": ("chat.json", b'{"type": "objekt"}', "schema: chat.json", "type"),
    "schema-root": ("chat.json", b'{"$ref": "http://example.org/x"}', "schema: chat.json", ""),
    "schema-text": ("chat.json", b"{", "schema: chat.json", "is not JSON"),
    "schema-size": ("chat.json", BIG, "schema: chat.json", "is larger than 1048576 bytes"),
    "schema-gone": ("chat.json", None, "schema: chat.json", "there is no file"),
    "assertions": ("certs/assertions.key", RSA, "assertions:", ""),
    "assertions-gone": ("certs/assertions.key", None, "assertions:", "there is no file"),
    "listener": ("certs/gateway.key", RSA, "tls:", ""),
    "backend": ("certs/to-backend.key", RSA, "ca: certs/backends-ca.pem", ""),
    "secret": ("secret", b"", "token:", "is empty"),
    "issuer": ("issuer/jwks.json", b"{}", "jwks:", ""),
    "issuer-keys": ("issuer/jwks.json", b'{"keys": []}', "jwks:", ""),
}


@pytest.mark.parametrize("name", SPOILED)
def test_what_lies_wrongly_on_disk(name: str, directory: Directory) -> None:
    """A file that changed since it was checked is a finding like any other, at every place that needs it."""
    file, data, part, word = SPOILED[name]

    def spoil() -> None:
        if data is None:
            (directory.path / file).unlink()
        else:
            directory.write(file, data)

    found = directory.findings(spoil=spoil)

    assert line_of(FULL, part) in {line for line, _ in found} | {line - 1 for line, _ in found}
    assert any(word in message for _, message in found)


def test_checkpoints_are_signed_by_ed25519_alone(directory: Directory) -> None:
    """Another kind of key is refused, even one that could sign assertions."""
    p256 = private_pem(generate_key("ES256"))
    found = directory.findings(spoil=lambda: directory.write("certs/assertions.key", p256))

    assert [(line_of(FULL, "audit:"), True)] == [(line, "is no Ed25519 key" in text) for line, text in found]


def test_everything_is_found_at_once(directory: Directory) -> None:
    """One run, all findings, in the order of the file."""
    text = FULL.replace("max_tokens <= 64", "max_tokns").replace("[denied-probing]", "[oracle]")
    found = directory.findings(text, lambda: directory.write("secret", b""))
    lines = [line for line, _ in found]

    assert 4 <= len(found)
    assert sorted(lines) == lines
    assert {line_of(text, part) for part in ("max_tokns", "[oracle]", "credential:", "token:")} <= set(lines)


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ("", ({"ES256", "EdDSA", "Ed25519"}, 60.0, 5.0, None)),
        (
            "  proofs: {algorithms: [PS256], max_age: 30s, ahead: 1s, nonce: required, nonce_lifetime: 90s}\n",
            ({"PS256"}, 30.0, 1.0, 90.0),
        ),
    ],
)
def test_proofs_are_taken_where_an_origin_is_named(
    directory: Directory, more: str, expected: tuple[object, ...]
) -> None:
    """For the origins of the configuration alone, and under its rules; without an origin not at all."""
    text = FULL.replace(
        "  listen: 127.0.0.1:0\n", "  listen: 127.0.0.1:0\n  origins: [https://Gateway:443]\n", 1
    )
    possession = directory.compile(
        text.replace("identity:\n", f"identity:\n{more}", 1)
    ).identification.possession
    assert possession is not None
    rules = possession.rules
    lifetime = None if rules.nonces is None else rules.nonces.lifetime

    assert expected == (rules.algorithms, rules.max_age, rules.ahead, lifetime)
    assert ("https://gateway",) == rules.origins
    assert directory.compile(FULL).identification.possession is None


def test_keys_of_proofs_are_read_strictly(directory: Directory) -> None:
    """By the parser that reads issuers' keys: public ones for signatures, with what they may verify."""
    text = FULL.replace("  listen: 127.0.0.1:0\n", "  listen: 127.0.0.1:0\n  origins: [https://gateway]\n", 1)
    possession = directory.compile(text).identification.possession
    assert possession is not None
    jwk = Signer(generate_key("ES256")).public
    header = msgspec.json.encode({"typ": "dpop+jwt", "alg": "ES256", "jwk": jwk})
    encryption = msgspec.json.encode({"typ": "dpop+jwt", "alg": "ES256", "jwk": jwk | {"use": "enc"}})

    assert isinstance(possession.keys.find(header, thumbprint(jwk)), ProofKey)
    assert KEY_REFUSED is possession.keys.find(encryption, thumbprint(jwk))

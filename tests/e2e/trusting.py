"""A gateway that believes the real identity provider, and how tests ask it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, final

import httpx

from tests.e2e.running import PROGRAM, RunningGateway
from tests.e2e.world import BACKEND_ID, SIDECAR, prompt
from tests.identity_provider import ALGORITHMS, AUDIENCE

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.credentials.development import Issued
    from tests.e2e.backend import Backend
    from tests.e2e.world import World
    from tests.identity_provider import IdentityProvider

CONFIGURATION = """\
server:
  listen: 127.0.0.1:0
  tls:
    certificate: {certs}/gateway.pem
    private_key: {certs}/gateway.key
    client_ca: {certs}/clients-ca.pem
    client_certificate: optional
    revocation_list: {certs}/clients.crl
admin: {{listen: "127.0.0.1:0"}}
state: {{url: "memory://"}}
identity:
  issuers:
    - issuer: {issuer}
      jwks: {issuer}/jwks
      jwks_ca: {ca}
      audience: {audience}
      algorithms: [{algorithms}]
      skew: 0s
      introspection: {introspection}
roles:
  researcher: {{groups: [ml-research]}}
  batch: {{groups: [batch]}}
backends:
  tiny: {backend}
routes:
  - name: chat
    match: {{methods: [POST], path: /v1/chat/completions}}
    dialect: openai.chat
    backend: tiny
    require: {{{require}}}
    allow: [{{name: everybody, roles: [researcher, batch], models: [tiny]}}]
audit: {{path: {audit}, sync_every: 5ms}}
log: {{level: info}}
"""


class Answered(NamedTuple):
    """What came back, and what was written down about it."""

    status: int
    word: str  # of a refusal; empty for what was served
    record: dict[str, Any]

    @property
    def refusal(self) -> tuple[int, str, str]:
        """Status, public word, and the reason that only the record has."""
        return self.status, self.word, self.record["reason"]


@final
class Trusting:
    """A running gateway whose one issuer is the identity provider. Use it as a context manager.

    Args:
        directory: An empty one.
        world: Certificates.
        backend: The model server.
        idp: Who is believed.
        program: What Python runs.
        introspection: How the provider is asked about opaque tokens, as YAML; "null": it is not.
        require: What the route demands.
        more: More lines of the backend's section.
    """

    def __init__(
        self,
        directory: Path,
        world: World,
        backend: Backend,
        idp: IdentityProvider,
        program: tuple[str | Path, ...] = PROGRAM,
        introspection: str = "null",
        require: str = 'token: {scopes: ["models:chat"]}',
        *,
        more: str = "",
    ) -> None:
        self.world = world
        certs = world.pki.directory
        configuration = directory / "gateway.yaml"
        configuration.write_text(
            CONFIGURATION.format(
                certs=certs,
                issuer=idp.issuer,
                ca=idp.ca,
                audience=AUDIENCE,
                algorithms=", ".join(ALGORITHMS),
                introspection=introspection,
                backend=SIDECAR.format(port=backend.port, certs=certs, identity=BACKEND_ID) + more,
                audit=directory / "audit.jsonl",
                require=require,
            )
        )
        self.gateway = RunningGateway(configuration, directory / "audit.jsonl", program)

    def __enter__(self) -> Trusting:
        self.gateway.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.gateway.__exit__()

    def ask(self, token: str, owner: Issued | None = None) -> Answered:
        """Send one chat request with a token, over a connection of its own.

        Args:
            token: As a bearer token.
            owner: Whose certificate the connection shows; None: nobody's.
        """
        with httpx.Client(verify=self.world.context(owner), trust_env=False, timeout=20.0) as client:
            answer = client.post(
                f"https://localhost:{self.gateway.port}/v1/chat/completions",
                json=prompt("asked with a token of the provider"),
                headers={"authorization": f"Bearer {token}"},
            )
        if answer.is_success:
            return Answered(answer.status_code, "", self.gateway.record(answer.headers["x-request-id"]))
        problem = answer.json()
        record = self.gateway.record(problem["instance"].rsplit(":", 1)[1])
        return Answered(answer.status_code, problem["error"]["code"], record)


CLIENTS = {"client_secret": "gateway-basic", "private_key_jwt": "gateway-jwt", "mtls": "gateway-mtls"}


def authentication(way: str, idp: IdentityProvider, directory: Path) -> str:
    """How the gateway proves itself to the provider, as YAML; keys and secrets are written to a directory."""
    client = idp.clients[CLIENTS[way]]
    if client.key is not None:
        file = directory / "client.key"
        file.write_bytes(client.key.to_pem().encode())
        file.chmod(0o600)
        proof = f"{{private_key: {file}, key_id: {client.key.kid}}}"
    elif client.certificate is not None:
        proof = f"{{certificate: {client.certificate.certificate}, private_key: {client.certificate.key}}}"
    else:
        file = directory / "client.secret"
        file.write_text(str(client.secret))
        file.chmod(0o600)
        proof = f"file:{file}"
    return f"{{{way}: {proof}}}"


def introspection(way: str, idp: IdentityProvider, directory: Path) -> str:
    """How the provider is asked about opaque tokens, as YAML."""
    proof = authentication(way, idp, directory)
    endpoint = idp.url("introspection")
    return f"{{endpoint: {endpoint}, client_id: {CLIENTS[way]}, authentication: {proof}, timeout: 1s}}"

"""Authorities, issuer, callers and configurations of the end-to-end tests: one directory, made once."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any, final

import httpx
import openai

from gateway.credentials.development import DevelopmentIssuer, DevelopmentPki, fingerprint
from gateway.credentials.signing import generate_key, private_pem

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.credentials.development import Issued
    from tests.e2e.running import RunningGateway

GATEWAY_ID = "spiffe://example.org/gateway"
BACKEND_ID = "spiffe://example.org/backend/tiny"
ASSERTION_ISSUER = "https://gateway.example.org"
SIDECAR = """
    endpoints: ["https://127.0.0.1:{port}"]
    networks: [127.0.0.0/8]
    tls:
      ca: {certs}/backends-ca.pem
      certificate: {certs}/to-backend.pem
      private_key: {certs}/to-backend.key
      identity: {identity}"""
CONFIGURATION = """\
server:
  listen: 127.0.0.1:{port}
  tls:
    certificate: {certs}/gateway.pem
    private_key: {certs}/gateway.key
    client_ca: {certs}/clients-ca.pem
    client_certificate: required
    revocation_list: {certs}/clients.crl
  drain: 10s
admin: {{listen: "127.0.0.1:0"}}
state: {state}
identity:
  issuers:
    - issuer: https://idp.example.org
      jwks: file:{issuer}/jwks.json
      audience: model-gateway
      algorithms: [ES256]
roles:
  researcher: {{groups: [ml-research]}}
  robot: {{spiffe: ["spiffe://example.org/robot/*"]}}
backends:
  tiny: {backend}
routes:
  - name: chat
    match: {{methods: [POST], path: /v1/chat/completions}}
    dialect: openai.chat
    backend: tiny
    require: {{certificate: true, token: {{scopes: ["models:chat"], bound: true}}}}
    allow:
      - {{name: researchers, roles: [researcher], models: [tiny], when: "request.max_tokens <= 512"}}
    limits: {{requests: 600/minute, concurrent: 4}}
    risk: {{detectors: [denied-probing, malformed-burst]}}
  - name: limited
    match: {{methods: [POST], path: /limited/v1/chat/completions}}
    dialect: openai.chat
    backend: tiny
    allow: [{{name: researchers, roles: [researcher]}}]
    limits: {{requests: 3/hour, burst: 3}}
  - name: models
    match: {{methods: [GET], path: /v1/models}}
    dialect: openai.models
    backend: tiny
    allow: [{{name: robots, roles: [robot, researcher]}}]
assertions: {{issuer: "https://gateway.example.org", private_key: {certs}/assertions.key, lifetime: 60s}}
audit: {{path: {audit}, sync_every: 5ms}}
log: {{level: info, exchanges: true}}
{more}
"""


PROOFS = "identity:\n  proofs: {nonce: required}\n"


@final
class World:
    """Everything that lasts as long as the tests.

    Args:
        directory: An empty one.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        certs = directory / "certs"
        issuer = directory / "issuer"
        for each in (certs, issuer):
            each.mkdir()
        self.pki = DevelopmentPki(certs)
        self.pki.init()
        self.pki.issue("gateway", "server")
        self.backend = self.pki.issue("backend", "backend", spiffe=BACKEND_ID)
        self.pki.issue("to-backend", authority="backends", spiffe=GATEWAY_ID)
        self.alice = self.pki.issue("alice", spiffe="spiffe://example.org/user/alice")
        self.robot = self.pki.issue("robot", spiffe="spiffe://example.org/robot/one")
        self.revoked = self.pki.issue("revoked", spiffe="spiffe://example.org/robot/two")
        self.pki.revoke(self.revoked.certificate)
        self.stranger = self.pki.issue("stranger", authority="backends")
        self.issuer = DevelopmentIssuer.create(issuer)
        key = certs / "assertions.key"
        key.write_bytes(private_pem(generate_key("EdDSA")))
        key.chmod(0o600)

    def configure(
        self,
        directory: Path,
        backend: int | Path,
        *,
        port: int = 0,
        state: str = "{url: memory://}",
        more: str = "",
    ) -> Path:
        """Write a configuration; its audit log lies beside it, in `audit.jsonl`.

        Args:
            directory: Where.
            backend: Port of a backend with mutual TLS, or unix socket of one without.
            port: Of the gateway; 0 for any.
            state: The section `state`.
            more: More sections.
        """
        path = directory / "gateway.yaml"
        certs = self.pki.directory
        if isinstance(backend, int):
            where = SIDECAR.format(port=backend, certs=certs, identity=BACKEND_ID)
        else:
            where = f'{{endpoints: ["unix:{backend}"]}}'
        path.write_text(
            CONFIGURATION.format(
                port=port,
                certs=certs,
                issuer=self.issuer.directory,
                state=state,
                backend=where,
                audit=directory / "audit.jsonl",
                more=more,
            )
        )
        return path

    def token(self, subject: str, **changes: Any) -> str:
        """Mint a token of a researcher, bound to alice's certificate."""
        options: dict[str, Any] = {
            "groups": ["ml-research"],
            "scopes": ["models:chat"],
            "bind": fingerprint(self.alice.certificate),
        }
        return self.issuer.mint(subject, **(options | changes))

    def context(self, owner: Issued | None) -> ssl.SSLContext:
        """Make a client's TLS context: believes the gateway's authority, shows one certificate or none."""
        context = ssl.create_default_context(cafile=str(self.pki.ca("gateway")))
        if owner is not None:
            context.load_cert_chain(owner.certificate, owner.key)
        return context

    def http(self, gateway: RunningGateway, token: str | None, owner: Issued | None = None) -> httpx.Client:
        """Make an httpx client."""
        return httpx.Client(
            base_url=f"https://localhost:{gateway.port}",
            headers={} if token is None else {"authorization": f"Bearer {token}"},
            verify=self.context(owner or self.alice),
            trust_env=False,
            timeout=20.0,
        )

    def openai(self, gateway: RunningGateway, token: str, prefix: str = "") -> openai.OpenAI:
        """Make the official client."""
        return openai.OpenAI(
            base_url=f"https://localhost:{gateway.port}{prefix}/v1",
            api_key=token,
            max_retries=0,
            timeout=20.0,
            http_client=openai.DefaultHttpxClient(verify=self.context(self.alice), trust_env=False),
        )


def prompt(text: str, **more: Any) -> dict[str, Any]:
    """Return a chat request."""
    return {
        "model": "tiny",
        "max_tokens": 16,
        "messages": [{"role": "user", "content": text}],
    } | more


def reachable(configuration: Path, port: int, *, nonces: bool = False) -> None:
    """Write into a configuration by which origin its gateway is reached."""
    text = configuration.read_text()
    text = text.replace("listen: 127.0.0.1:0\n", f"listen: 127.0.0.1:{port}\n", 1)
    text = text.replace("server:\n", f"server:\n  origins: ['https://localhost:{port}']\n", 1)
    configuration.write_text(text.replace("identity:\n", PROOFS, 1) if nonces else text)

"""Everything the demo needs before its first request: authorities, certificates, tokens, configuration.

Writes one directory that a person may look at afterwards and work on by hand. Made anew each time,
and only ever over a directory that an earlier demo made.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Final, final

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gateway.cli.demo.model import MODEL
from gateway.credentials.development import DevelopmentIssuer, DevelopmentPki, fingerprint
from gateway.credentials.files import PRIVATE, write_new
from gateway.credentials.signing import generate_key, private_pem

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.credentials.development import Issued

MARK: Final = ".gateway-demo"  # says that the directory is a demo's, so that it may be removed
ISSUER: Final = "https://idp.demo.example"
AUDIENCE: Final = "model-gateway"
GATEWAY_ID: Final = "spiffe://demo.example/gateway"
BACKEND_ID: Final = "spiffe://demo.example/backend/smollm2"
TOKEN_LIFETIME: Final = 3600.0  # seconds: long enough to play, the most that the configuration takes

# What stands here is what a newcomer reads first: keep it short, and every line true.
CONFIGURATION: Final = """\
# Written by `gateway demo`. Change it, then: gateway check {directory}/gateway.yaml
server:
  listen: 127.0.0.1:{port}
  tls:
    certificate: certs/gateway.pem
    private_key: certs/gateway.key
    client_ca: certs/clients-ca.pem
    client_certificate: required        # nobody gets as far as HTTP without one
    revocation_list: certs/clients.crl
admin: {{listen: 127.0.0.1:{admin_port}}}
state: {{url: memory://}}
identity:
  issuers:
    - issuer: {issuer}
      jwks: {jwks}
      audience: {audience}
      algorithms: [ES256]
      max_lifetime: 1h
roles:
  researcher: {{groups: [ml-research]}}
  intern: {{groups: [interns]}}
backends:
  smollm2:
    endpoints: [https://127.0.0.1:{backend_port}]
    networks: [127.0.0.0/8]             # checked on the connection itself, whatever a name resolves to
    tls:
      ca: certs/backends-ca.pem
      certificate: certs/to-smollm2.pem # how the backend knows the gateway
      private_key: certs/to-smollm2.key
      identity: {backend_id}
routes:
  - name: chat
    match: {{methods: [POST], path: /v1/chat/completions}}
    dialect: openai.chat
    backend: smollm2
    require:
      certificate: true
      token: {{scopes: ["models:chat"], bound: true}}   # a token is worthless without its owner's key
    allow:
      - {{name: researchers, roles: [researcher], models: [{model}]}}
      - name: interns-short-answers
        roles: [intern]
        models: [{model}]
        when: "request.max_tokens <= 64"
    limits: {{requests: 6/minute, burst: 6, concurrent: 2}}   # per identity
    schema: schemas/chat.json           # beside the dialect's own
    risk: {{bar: 0.95, detectors: [denied-probing, malformed-burst]}}
    bounds: {{body: 64KiB, first_byte: 60s}}
assertions: {{issuer: "https://gateway.demo.example", private_key: certs/assertions.key, lifetime: 60s}}
audit: {{path: audit/gateway.jsonl, checkpoint_key: certs/checkpoints.key, sync_every: 20ms}}
"""

SCHEMA: Final = """\
{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "title": "What this demo takes beside what OpenAI's chat format demands",
  "type": "object",
  "required": ["max_tokens"],
  "properties": {
    "max_tokens": {"type": "integer", "minimum": 1, "maximum": 256},
    "temperature": {"type": "number", "minimum": 0, "maximum": 1.5},
    "messages": {"type": "array", "minItems": 1, "maxItems": 16}
  }
}
"""


@final
class World:
    """The demo's directory.

    Args:
        directory: Where; removed first if an earlier demo made it.

    Raises:
        FileExistsError: Something else is there.
    """

    __slots__ = ("alice", "bob", "directory", "issuer", "pki")

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        if directory.exists() and any(directory.iterdir()):
            if not (directory / MARK).exists():
                raise FileExistsError(f"{directory} exists and no demo made it; name another: --directory")
            shutil.rmtree(directory)
        for part in ("audit", "certs", "logs", "schemas", "tokens"):
            (directory / part).mkdir(parents=True, exist_ok=True)
        write_new(directory / MARK, b"")
        self.pki = DevelopmentPki(directory / "certs")
        self.pki.init()
        self.pki.issue("gateway", "server", dns=["localhost", "127.0.0.1"])
        self.alice = self.pki.issue("alice", "client", spiffe="spiffe://demo.example/user/alice")
        self.bob = self.pki.issue("bob", "client", spiffe="spiffe://demo.example/user/bob")
        self.pki.issue("smollm2", "backend", dns=["localhost", "127.0.0.1"], spiffe=BACKEND_ID)
        self.pki.issue("to-smollm2", "client", authority="backends", spiffe=GATEWAY_ID)
        self.issuer = DevelopmentIssuer.create(directory / "issuer", issuer=ISSUER, audience=AUDIENCE)
        write_new(directory / "certs" / "assertions.key", private_pem(generate_key("EdDSA")), mode=PRIVATE)
        checkpoints = generate_key("EdDSA")
        write_new(directory / "certs" / "checkpoints.key", private_pem(checkpoints), mode=PRIVATE)
        public = checkpoints.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        write_new(self.checkpoint_key, public)

    @property
    def checkpoint_key(self) -> Path:
        """Path of the public key that checkpoints of the audit log are verified with."""
        return self.directory / "certs" / "checkpoints.pub"

    @property
    def configuration(self) -> Path:
        """Path of the configuration file."""
        return self.directory / "gateway.yaml"

    @property
    def audit(self) -> Path:
        """Path of the audit log."""
        return self.directory / "audit" / "gateway.jsonl"

    @property
    def logs(self) -> Path:
        """Directory of the processes' logs."""
        return self.directory / "logs"

    def token(self, name: str, group: str, owner: Issued, *, audience: str | None = None) -> str:
        """Mint a token bound to its owner's certificate, and keep it in `tokens/<name>`."""
        token = self.issuer.mint(
            name,
            audience=audience,
            expires_in=TOKEN_LIFETIME,
            groups=[group],
            scopes=["models:chat"],
            bind=fingerprint(owner.certificate),
        )
        write_new(self.directory / "tokens" / name, token.encode(), mode=PRIVATE, force=True)
        return token

    def configure(self, port: int, admin_port: int, backend_port: int) -> None:
        """Write the configuration and the schema that it names.

        Args:
            port: Of the gateway.
            admin_port: Of the operators' listener.
            backend_port: Of the sidecar in front of the model.
        """
        text = CONFIGURATION.format(
            directory=self.directory,
            port=port,
            admin_port=admin_port,
            backend_port=backend_port,
            issuer=ISSUER,
            jwks="file:issuer/jwks.json",
            audience=AUDIENCE,
            backend_id=BACKEND_ID,
            model=MODEL,
        )
        write_new(self.configuration, text.encode(), force=True)
        write_new(self.directory / "schemas" / "chat.json", SCHEMA.encode(), force=True)

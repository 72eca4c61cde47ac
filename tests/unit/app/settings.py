"""Configurations on disk for the tests of this package, everything they name included."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from gateway.app.compilation import Compilation, compile_settings
from gateway.config.errors import ConfigurationError
from gateway.config.load import load
from gateway.credentials.clock import SystemClock
from gateway.credentials.development import DevelopmentIssuer, DevelopmentPki
from gateway.credentials.signing import generate_key, private_pem

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gateway.config.load import Loaded

CLOCK = SystemClock()
FULL = """\
server:
  listen: 127.0.0.1:0
  tls:
    certificate: certs/gateway.pem
    private_key: certs/gateway.key
    client_ca: certs/clients-ca.pem
    revocation_list: certs/clients.crl
admin: {listen: 127.0.0.1:0, token: "file:secret", tls: {certificate: certs/gateway.pem, private_key: certs/gateway.key}}
identity:
  issuers:
    - {issuer: https://idp.example.org, jwks: "file:issuer/jwks.json", audience: model-gateway, algorithms: [ES256]}
    - {issuer: https://other.example.org, jwks: "https://127.0.0.1:9/jwks", audience: model-gateway, algorithms: [EdDSA]}
roles:
  researcher: {groups: [ml-research], claims: {department: [physics]}}
backends:
  llama:
    endpoints: ["https://127.0.0.1:1", "https://[::1]:2"]
    tls:
      ca: certs/backends-ca.pem
      certificate: certs/to-backend.pem
      private_key: certs/to-backend.key
      identity: spiffe://example.org/backend/llama
    networks: ["127.0.0.0/8", "::1/128"]
    credential: file:secret
  plain: {endpoints: ["http://127.0.0.1:3"]}
  local: {endpoints: ["unix:/run/model.sock"]}
  public: {endpoints: ["https://model.example.org"], tls: {ca: certs/backends-ca.pem, server_name: llm.example.org}}
routes:
  - name: chat
    match: {methods: [POST], path: /v1/chat/completions}
    dialect: openai.chat
    backend: llama
    require: {certificate: true, token: {scopes: ["models:chat"], bound: true, max_age: 15m}}
    allow: [{name: researchers, roles: [researcher], when: "request.max_tokens <= 64"}]
    deny: [{name: risky, when: "risk.score >= 0.8"}]
    limits: {requests: [60/minute, 1000/day], burst: 100, concurrent: 4}
    schema: chat.json
    risk: {bar: 0.9, detectors: [denied-probing]}
  - name: plain
    match: {methods: [GET], path: /plain}
    dialect: opaque
    backend: plain
    allow: [{name: all, roles: [researcher]}]
  - name: local
    match: {methods: [GET], path: /local}
    dialect: opaque
    backend: local
    allow: [{name: all, roles: [researcher]}]
  - name: public
    match: {methods: [GET], path: /public}
    dialect: opaque
    backend: public
    allow: [{name: all, roles: [researcher]}]
assertions: {issuer: https://gateway.example.org, private_key: certs/assertions.key}
audit: {path: audit/gateway.jsonl, checkpoint_key: certs/assertions.key}
"""


@final
class Directory:
    """A directory with everything that `FULL` names.

    Args:
        path: An empty one.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.pki = DevelopmentPki(path / "certs")
        for part in ("certs", "issuer"):
            (path / part).mkdir()
        self.pki.init()
        self.pki.issue("gateway", "server")
        self.pki.issue("to-backend", authority="backends")
        self.issuer = DevelopmentIssuer.create(path / "issuer")
        self.write("certs/assertions.key", private_pem(generate_key("EdDSA")))
        self.write("secret", b"correct-horse")
        self.write("chat.json", b'{"type": "object"}')

    def write(self, name: str, data: bytes) -> Path:
        """Write a file that only its owner reads."""
        file = self.path / name
        file.write_bytes(data)
        file.chmod(0o600)
        return file

    def load(self, text: str = FULL) -> Loaded:
        """Load a configuration."""
        return load(self.write("gateway.yaml", text.encode()), CLOCK)

    def compile(self, text: str = FULL) -> Compilation:
        """Compile a configuration."""
        return compile_settings(self.load(text), self.path, CLOCK)

    def findings(self, text: str = FULL, spoil: Callable[[], object] | None = None) -> list[tuple[int, str]]:
        """Return line and message of what the compilation finds.

        Args:
            text: A configuration that loads.
            spoil: Done between loading and compiling: files change while they are read.
        """
        loaded = self.load(text)
        if spoil is not None:
            spoil()
        try:
            compile_settings(loaded, self.path, CLOCK)
        except ConfigurationError as error:
            return [(problem.line, problem.message) for problem in error.problems]
        return []


def line_of(text: str, part: str) -> int:
    """Return the number of the line that a part stands in."""
    return text[: text.index(part)].count("\n") + 1

"""The files that the settings name: there, readable, valid now, and fitting each other.

Verifies no chain of a peer: that is the handshake's part. Reads no secret, only looks whether it is
there.
"""

from __future__ import annotations

from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from gateway.config.checks.material import Files

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.config.checks.findings import Finding, Subject
    from gateway.config.checks.pem import PrivateKey
    from gateway.config.source import Path

# options of `gateway certs issue`
SERVER: Final = " --kind server"
CLIENT: Final = ""
BACKEND: Final = " --authority backends"
KEYS: Final = "for development, `gateway token keys` makes tokens/jwks.json"


def check_files(subject: Subject) -> Iterator[Finding]:
    """Check every file that the settings name."""
    settings = subject.settings
    files = Files(subject.now)
    tls = settings.server.tls
    if tls is not None:
        path: Path = ("server", "tls")
        yield from files.pair(path, tls.certificate, tls.private_key, SERVER)
        authorities = yield from files.authorities((*path, "client_ca"), tls.client_ca)
        yield from files.revocation(
            (*path, "revocation_list"), tls.revocation_list, authorities, tls.revocation_grace
        )
    admin = settings.admin
    if admin is not None:
        yield from files.secret(("admin", "token"), admin.token, is_ours=True)
        if admin.tls is not None:
            yield from files.pair(("admin", "tls"), admin.tls.certificate, admin.tls.private_key, SERVER)
    yield from files.secret(("state", "password"), settings.state.password)
    yield from files.secret(("state", "sentinel_password"), settings.state.sentinel_password)
    if settings.state.tls is not None:
        yield from files.authorities(("state", "tls", "ca"), settings.state.tls.ca)
        yield from files.pair(
            ("state", "tls"), settings.state.tls.certificate, settings.state.tls.private_key, CLIENT
        )
    for name, backend in settings.backends.items():
        yield from files.secret(("backends", name, "credential"), backend.credential)
        if backend.tls is not None:
            path = ("backends", name, "tls")
            yield from files.authorities((*path, "ca"), backend.tls.ca)
            yield from files.pair(path, backend.tls.certificate, backend.tls.private_key, BACKEND)
    yield from _check_keys(files, subject)


def _check_keys(files: Files, subject: Subject) -> Iterator[Finding]:
    settings = subject.settings
    for index, issuer in enumerate(settings.identity.issuers):
        path: Path = ("identity", "issuers", index)
        yield from files.authorities((*path, "jwks_ca"), issuer.jwks_ca)
        if issuer.jwks is not None and issuer.jwks.scheme == "file":
            yield from files.readable((*path, "jwks"), FilePath(issuer.jwks.path), KEYS)
    for index, route in enumerate(settings.routes):
        if route.schema_file is not None:
            yield from files.readable(("routes", index, "schema"), route.schema_file)
    yield from files.signing_key(
        ("assertions", "private_key"), settings.assertions.private_key, _signs_assertions
    )
    yield from files.signing_key(
        ("audit", "checkpoint_key"), settings.audit.checkpoint_key, _signs_checkpoints
    )
    yield from files.writable(("audit", "path"), settings.audit.path)


def _signs_assertions(key: PrivateKey) -> str | None:
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return None
    if isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1):
        return None
    return "give an Ed25519 or P-256 key"


def _signs_checkpoints(key: PrivateKey) -> str | None:
    return None if isinstance(key, ed25519.Ed25519PrivateKey) else "give an Ed25519 key"

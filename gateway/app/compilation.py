"""Everything that can be made from settings without opening a socket: what `gateway check` checks."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, final

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from gateway.app.backends import compile_backends
from gateway.app.client_trust import ClientTrust
from gateway.app.domains import compile_domains
from gateway.app.findings import Findings
from gateway.app.fixed import Secrets, check_fixed, fixed_secrets
from gateway.app.identities import compile_identification
from gateway.app.named import compiled_files, digest
from gateway.app.onward import compile_exchanges, compile_onward
from gateway.app.parts import Parts
from gateway.app.revocations import compile_revocations
from gateway.app.routes import compile_routes
from gateway.app.shares import check_workers
from gateway.app.signals import compile_signals
from gateway.credentials.files import read_bounded
from gateway.credentials.tls import server_context

if TYPE_CHECKING:
    import ssl
    from pathlib import Path

    from gateway.app.identities import KeySets
    from gateway.app.onward import Told
    from gateway.app.signals import Feed
    from gateway.config.load import Loaded
    from gateway.config.schema import Settings
    from gateway.core.ports import Clock
    from gateway.core.route import RouteTable
    from gateway.credentials.key_news import KeyNews
    from gateway.credentials.tls import Dated
    from gateway.credentials.trust_domains import TrustDomain
    from gateway.credentials.watched import Watched
    from gateway.stages.identify import Identification
    from gateway.state.revocations import RevocationIndex
    from gateway.state.sealing import Seal
    from gateway.wire.endpoint import BackendSettings


@final
@dataclass(frozen=True, slots=True)
class Compilation:
    """A configuration, compiled and cross-checked.

    Args:
        settings: What it was made from.
        version: First 16 hex digits of the SHA-256 of the configuration, and of the schemas that it names.
        identification: How callers are identified.
        key_sets: Keys of issuers, to be started.
        routes: All routes.
        backends: All backends.
        backend_tls: Their TLS contexts by name, made again from their files.
        onward: Tells backends who asks.
        feeds: Transmitters of security events.
        domains: Trust domains by name, to be started.
        client_trust: TLS of the clients' listener, and whom their certificates are believed from; or None.
        admin_tls: Context of the operators' listener, or None.
        admin_token: What operators must show, or None.
        state_password: Password of the store, or None.
        sentinel_password: Password of its Sentinels, or None.
        checkpoint_key: Signs checkpoints of the audit log, or None.
        blinding: Key of the digests that stand for identities and prompts in shared state.
        revocations: Who is no longer believed; current once what keeps them has been started.
        seal: Closes and opens what the fleet shares about revocations.
        written: The settings as they stand in the file; `settings` may be one worker's part of them.
        secrets: Digests of what is read once, when the gateway starts.
        parts: What all this is made of, to be taken over by the next compilation.
        inputs: Digest of the file, and of the files that are compiled into this.
    """

    settings: Settings
    version: str
    identification: Identification
    key_sets: KeySets
    routes: RouteTable
    backends: tuple[BackendSettings, ...]
    backend_tls: dict[str, Watched[Dated]]
    onward: Told
    feeds: tuple[Feed, ...]
    domains: dict[str, TrustDomain]
    client_trust: ClientTrust | None
    admin_tls: ssl.SSLContext | None
    admin_token: str | None
    state_password: str | None
    sentinel_password: str | None
    checkpoint_key: Ed25519PrivateKey | None
    blinding: bytes
    revocations: RevocationIndex
    seal: Seal
    written: Settings
    secrets: Secrets
    parts: Parts
    inputs: bytes


def compile_settings(
    loaded: Loaded, directory: Path, clock: Clock, *, workers: int = 1, held: Compilation | None = None
) -> Compilation:
    """Compile a configuration. Starts nothing and changes nothing: what is taken over runs on as it is.

    Args:
        loaded: The configuration.
        directory: Its directory.
        clock: Time, for the dates of certificates.
        workers: How many processes will run it together.
        held: The one that runs; what has not changed is taken over from it, and what must not is refused.

    Raises:
        ConfigurationError: With everything that is wrong.
    """
    settings = loaded.settings
    findings = Findings(loaded)
    check_workers(settings, workers, findings)
    inputs, secrets = digest(compiled_files(settings), loaded.digest.encode()), fixed_secrets(settings)
    check_fixed(held, settings, secrets, findings)
    parts = Parts(None if held is None else held.parts)
    state_password, sentinel_password, blinding = _state(settings, directory, findings, parts)
    origin = settings.revocations, settings.state.url, blinding
    make = partial(compile_revocations, settings, directory, clock, blinding, findings)
    revocations, seal = parts.take("revocations", "", origin, make)
    domains, accepted = compile_domains(settings, clock, findings, _report_keys, parts)
    identification, key_sets = compile_identification(
        settings, directory, clock, blinding, findings, _report_keys, revocations, parts, accepted
    )
    routes = compile_routes(settings, None if _is_alone(settings) else blinding, findings, parts)
    backends, backend_tls = compile_backends(settings, directory, clock, findings, parts)
    onward = _onward(settings, directory, clock, findings, parts)
    feeds = compile_signals(settings, directory, clock, findings, _report_keys, parts)
    client_trust = _client_trust(settings, clock, findings, domains, parts, held)
    admin_tls, admin_token = _admin(settings, directory, clock, findings)
    checkpoint_key = _checkpoint_key(settings, findings)
    findings.conclude()
    parts.conclude()
    assert onward is not None  # noqa: S101 - or `conclude` would have raised
    return Compilation(
        settings,
        _version(loaded),
        identification,
        key_sets,
        routes,
        backends,
        backend_tls,
        onward,
        feeds,
        domains,
        client_trust,
        admin_tls,
        admin_token,
        state_password,
        sentinel_password,
        checkpoint_key,
        blinding,
        revocations,
        seal,
        settings,
        secrets,
        parts,
        inputs,
    )


def _state(
    settings: Settings, directory: Path, findings: Findings, parts: Parts
) -> tuple[str | None, str | None, bytes]:
    """Return the passwords of the store and of its Sentinels, and the key behind which names stand in it."""
    password = findings.secret(("state", "password"), settings.state.password, directory)
    sentinels = findings.secret(("state", "sentinel_password"), settings.state.sentinel_password, directory)
    shared = None if _is_alone(settings) else (settings.assertions.issuer, password)
    return password, sentinels, parts.take("blinding", "", shared, lambda: _blinding(settings, password))


def _is_alone(settings: Settings) -> bool:
    """Tell whether this gateway keeps its state to itself."""
    return settings.state.url.scheme == "memory"


def _onward(
    settings: Settings, directory: Path, clock: Clock, findings: Findings, parts: Parts
) -> Told | None:
    found: Told | None = None
    with findings.at(("assertions", "private_key"), "give an Ed25519 or P-256 private key in PEM form"):
        signed = compile_onward(settings, findings, parts)
        found = compile_exchanges(settings, signed, directory, clock, findings, parts)
    return found  # noqa: RET504 - what was raised may have been noted


def _version(loaded: Loaded) -> str:
    """Name what decides: the file, and the schemas that it names."""
    schemas = [route.schema_file for route in loaded.settings.routes if route.schema_file is not None]
    if not schemas:
        return loaded.digest[:16]
    return digest(schemas, loaded.digest.encode()).hex()[:16]


def _admin(
    settings: Settings, directory: Path, clock: Clock, findings: Findings
) -> tuple[ssl.SSLContext | None, str | None]:
    """Return the TLS of the operators' listener, and what they must show."""
    admin = settings.admin
    tls: ssl.SSLContext | None = None
    with findings.at(("admin", "tls"), "correct the files of this listener"):
        tls = _admin_context(settings, clock)
    return tls, findings.secret(("admin", "token"), None if admin is None else admin.token, directory)


def _report_keys(issuer: str, news: KeyNews) -> None:
    log = structlog.get_logger()
    if news.event == "keys-changed":
        log.info(news.event, issuer=issuer, keys=news.size, kids=news.kids)
    elif news.event == "keys-back":
        log.info(news.event, issuer=issuer)
    elif news.event == "keys-expired":
        log.error(news.event, issuer=issuer)
    else:
        log.warning(news.event, issuer=issuer, why=news.why)


def _client_trust(
    settings: Settings,
    clock: Clock,
    findings: Findings,
    domains: dict[str, TrustDomain],
    parts: Parts,
    held: Compilation | None,
) -> ClientTrust | None:
    tls, sections = settings.server.tls, settings.identity.trust_domains
    source: ClientTrust | None = None
    if tls is not None:
        lists = {name: (each.revocation_list, each.revocation_grace) for name, each in sections.items()}
        with findings.at(("server", "tls"), "correct the files of this listener"):
            make = partial(ClientTrust, tls, clock, sections, domains)
            source = parts.take("client-trust", "", (tls, lists, domains), make)
            if held is not None and held.client_trust is not None:
                source.refuse_older(held.client_trust)
    return source


def _admin_context(settings: Settings, clock: Clock) -> ssl.SSLContext | None:
    own = None if settings.admin is None else settings.admin.tls
    if own is None:
        return None
    return server_context(own.certificate, own.private_key, clock, client_certificate="none")


def _checkpoint_key(settings: Settings, findings: Findings) -> Ed25519PrivateKey | None:
    path = settings.audit.checkpoint_key
    found: Ed25519PrivateKey | None = None
    if path is not None:
        with findings.at(("audit", "checkpoint_key"), "give an Ed25519 private key in PEM form"):
            key = load_pem_private_key(read_bounded(path), password=None)
            if not isinstance(key, Ed25519PrivateKey):
                raise ValueError(f"{path} is no Ed25519 key")  # noqa: TRY004 - a wrong value in a file
            found = key
    return found


def _blinding(settings: Settings, state_password: str | None) -> bytes:
    """Make the key behind which identities and prompts stand in shared state.

    In memory it is random. A fleet needs the same key everywhere: it is derived from the password of
    the store, so that a copy of the data alone names nobody.
    """
    if _is_alone(settings):
        return secrets.token_bytes(32)
    seed = f"{settings.assertions.issuer}\0{state_password or ''}"
    return hashlib.blake2b(seed.encode(), person=b"gateway-state", digest_size=32).digest()

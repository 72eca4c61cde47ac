"""Compiles backends: endpoints with their TLS, the networks they must lie in, their credentials."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from gateway.credentials.tls import Dated, check_server_identity, client_context, dated
from gateway.credentials.watched import Watched
from gateway.wire.pool import BackendSettings, EndpointSettings

if TYPE_CHECKING:
    import ssl
    from pathlib import Path

    from gateway.app.findings import Findings
    from gateway.config.addresses import Url
    from gateway.config.schema import Settings
    from gateway.config.upstream import Backend, BackendTls
    from gateway.core.ports import Clock


def compile_backends(
    settings: Settings, directory: Path, clock: Clock, findings: Findings
) -> tuple[tuple[BackendSettings, ...], dict[str, Watched[Dated]]]:
    """Compile all backends.

    Args:
        settings: The settings.
        directory: Directory of the configuration.
        clock: Time, for the dates of certificates.
        findings: Takes what is wrong.

    Returns:
        The backends; and by name the TLS contexts of those that have one, to be made again from their
        files.
    """
    contexts: dict[str, Watched[Dated]] = {}
    for name, backend in settings.backends.items():
        if any(endpoint.scheme == "https" for endpoint in backend.endpoints):
            with findings.at(("backends", name, "tls"), "correct the files of this backend"):
                contexts[name] = _context(name, backend.tls, clock)
    made = tuple(
        _backend(name, backend, contexts.get(name), directory, findings)
        for name, backend in settings.backends.items()
    )
    return made, contexts


def _context(name: str, tls: BackendTls | None, clock: Clock) -> Watched[Dated]:
    files = () if tls is None else (tls.ca, tls.certificate, tls.private_key)

    def make() -> Dated:
        context = client_context(
            clock,
            ca=None if tls is None else tls.ca,
            certificate=None if tls is None else tls.certificate,
            private_key=None if tls is None else tls.private_key,
            is_identity_checked_later=tls is not None and tls.identity is not None,
        )
        return dated(context, None if tls is None else tls.certificate)

    return Watched(f"backends.{name}", [file for file in files if file is not None], make)


def _backend(
    name: str,
    backend: Backend,
    context: Watched[Dated] | None,
    directory: Path,
    findings: Findings,
) -> BackendSettings:
    secret = findings.secret(("backends", name, "credential"), backend.credential, directory)
    credential = None if secret is None else f"Bearer {secret}"
    tls = None if context is None else context.value.context
    return BackendSettings(
        name,
        tuple(_endpoint(url, tls, backend.tls, credential) for url in backend.endpoints),
        networks=backend.networks or (),
        connections=backend.connections,
        keep_alive=backend.keep_alive,
        requests=backend.requests,
        queue=backend.queue.length,
        queue_time=backend.queue.time,
    )


def _endpoint(
    url: Url, context: ssl.SSLContext | None, tls: BackendTls | None, credential: str | None
) -> EndpointSettings:
    if url.scheme == "unix":
        return EndpointSettings(url.text, "", 0, "localhost", path=url.path, credential=credential)
    host = f"[{url.host}]" if ":" in url.host else url.host
    is_tls = url.scheme == "https"
    identity = tls.identity if is_tls and tls is not None else None
    return EndpointSettings(
        url.text,
        url.host,
        url.port,
        f"{host}:{url.port}",
        tls=context if is_tls else None,
        server_name=tls.server_name if is_tls and tls is not None else None,
        verify=None if identity is None else partial(check_server_identity, expected=identity),
        credential=credential,
    )

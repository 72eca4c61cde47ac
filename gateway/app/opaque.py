"""Compiles who is asked about opaque tokens, and the gateway's own keys."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import structlog

from gateway.credentials.client_authentication import Certificate, PrivateKeyJwt, SharedSecret
from gateway.credentials.discovery import Discovery
from gateway.credentials.fetch import Fetcher
from gateway.credentials.files import read_bounded
from gateway.credentials.gateway_keys import KeyFile, make_blind
from gateway.credentials.introspection import IntrospectionClient
from gateway.credentials.secrets import resolve_secret
from gateway.credentials.signing import Signer

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

    from gateway.config.opaque import ClientAuthentication as ClientAuthenticationSettings
    from gateway.config.opaque import GatewayKeys, Introspection
    from gateway.config.trust import Issuer
    from gateway.core.ports import Clock
    from gateway.credentials.client_authentication import ClientAuthentication
    from gateway.credentials.remote import Source


def compile_introspection(
    issuer: Issuer, asked: Introspection, source: Source | None, directory: Path, clock: Clock
) -> IntrospectionClient:
    """Make the client that asks one issuer; to be started.

    Args:
        issuer: The issuer.
        asked: Its section `introspection`.
        source: Where its keys come from: knows the endpoint if that is discovered.
        directory: Directory of the configuration.
        clock: Time.

    Raises:
        ValueError: A file or secret cannot be used.
        OSError: A file cannot be read.
    """
    mtls = asked.authentication.mtls
    fetcher = Fetcher(
        clock,
        networks=issuer.networks,
        ca=asked.ca or issuer.jwks_ca,
        certificate=None if mtls is None else mtls.certificate,
        private_key=None if mtls is None else mtls.private_key,
    )
    endpoint = partial(_endpoint, asked, source)
    return IntrospectionClient(
        endpoint,
        fetcher,
        compile_authentication(
            asked.client_id, asked.authentication, issuer.issuer, endpoint, directory, clock
        ),
        clock,
        rate=(asked.rate.count, asked.rate.period),
        rate_per_address=(asked.rate_per_address.count, asked.rate_per_address.period),
        seconds=asked.timeout,
        on_failure=partial(_report_introspection, issuer.issuer),
    )


def _endpoint(asked: Introspection, source: Source | None) -> str | None:
    if asked.endpoint is not None:
        return asked.endpoint.text
    metadata = source.metadata if isinstance(source, Discovery) else None
    return None if metadata is None else metadata.introspection_endpoint


def compile_authentication(
    client_id: str,
    ways: ClientAuthenticationSettings,
    server: str,
    endpoint: Callable[[], str | None],
    directory: Path,
    clock: Clock,
) -> ClientAuthentication:
    """Make what the gateway proves itself with to an authorization server.

    Args:
        client_id: Its name there.
        ways: The section `authentication`.
        server: The server's issuer name.
        endpoint: Returns the URL that is asked; None while it is not known.
        directory: Directory of the configuration.
        clock: Time.

    Raises:
        ValueError: A file or secret cannot be used.
        OSError: A file cannot be read.
    """
    if ways.private_key_jwt is not None:
        own = ways.private_key_jwt
        signer = Signer.from_pem(read_bounded(own.private_key), own.algorithm, own.key_id)
        audience = (lambda: server) if own.audience == "issuer" else lambda: endpoint() or server
        return PrivateKeyJwt(client_id, signer, audience, clock)
    if ways.mtls is not None:
        return Certificate(client_id)
    if ways.client_secret is not None:
        return SharedSecret(client_id, resolve_secret(ways.client_secret.text, directory))
    raise ValueError("no way to prove who asks")


def read_pepper(keys: GatewayKeys, directory: Path) -> Callable[[bytes], bytes]:
    """Return the function that turns keys into their digests.

    Raises:
        ValueError: There is no usable pepper.
    """
    return make_blind(resolve_secret(keys.pepper.text, directory))


def open_keys(
    keys: GatewayKeys, blind: Callable[[bytes], bytes], roles: Collection[str], clock: Clock
) -> KeyFile:
    """Read the file of gateway keys; to be started.

    Raises:
        ValueError: It cannot be used.
        OSError: It cannot be read.
    """
    return KeyFile(
        keys.file,
        blind,
        roles,
        clock,
        longest=keys.max_lifetime,
        tell=_report_keys,
        on_failure=_report_broken,
    )


def _report_introspection(issuer: str, why: str) -> None:
    structlog.get_logger().warning("introspection-failed", issuer=issuer, why=why)


def _report_keys(count: int) -> None:
    structlog.get_logger().info("gateway-keys-changed", keys=count)


def _report_broken(why: str) -> None:
    structlog.get_logger().error(
        "gateway-keys-broken",
        why=why,
        mend="restore the file; until then the keys that were read last are used, removed ones too",
    )

"""Compiles what backends are told of who asks: assertions bound to our certificates, or exchanged tokens."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, final

import structlog

from gateway.app.opaque import compile_authentication
from gateway.credentials.assertions import SignedAssertions
from gateway.credentials.certificates import leaf_fingerprint
from gateway.credentials.exchange import OnwardCredentials, TokenExchange
from gateway.credentials.fetch import Fetcher
from gateway.credentials.files import read_bounded

if TYPE_CHECKING:
    from contextlib import AsyncExitStack
    from pathlib import Path

    from gateway.app.findings import Findings
    from gateway.config.schema import Settings
    from gateway.config.upstream import Exchange
    from gateway.core.ports import Clock, Onward


def compile_onward(settings: Settings, findings: Findings) -> SignedAssertions:
    """Compile the section `assertions`, and what backends say about it.

    Args:
        settings: The settings.
        findings: Takes what is wrong with a certificate.

    Raises:
        OSError: The private key cannot be read.
        ValueError: It is no key that can sign.
    """
    bindings: dict[str, str] = {}
    audiences: dict[str, str] = {}
    for name, backend in settings.backends.items():
        if backend.audience is not None:
            audiences[name] = backend.audience
        if backend.tls is not None and backend.tls.certificate is not None:
            with findings.at(("backends", name, "tls", "certificate"), "give a certificate in PEM form"):
                bindings[name] = leaf_fingerprint(read_bounded(backend.tls.certificate))
    assertions = settings.assertions
    return SignedAssertions.from_file(
        assertions.private_key,
        assertions.issuer,
        lifetime=assertions.lifetime,
        audiences=audiences,
        bindings=bindings,
        is_single_use=assertions.single_use,
    )


@final
@dataclass(frozen=True, slots=True)
class Told:
    """What tells backends who asks.

    Args:
        assertions: Signs; always there, for the keys that the operators' listener publishes.
        exchanges: By backend name, with what asks for each; to be closed.
    """

    assertions: SignedAssertions
    exchanges: dict[str, tuple[TokenExchange, Fetcher]]

    @property
    def onward(self) -> Onward:
        """What the line uses."""
        if not self.exchanges:
            return self.assertions
        return OnwardCredentials(self.assertions, {name: one[0] for name, one in self.exchanges.items()})

    def close_with(self, stack: AsyncExitStack) -> None:
        """Let `stack` end what is under way."""
        for exchange, fetcher in self.exchanges.values():
            stack.push_async_callback(fetcher.close)
            stack.push_async_callback(exchange.stop)


def compile_exchanges(
    settings: Settings, assertions: SignedAssertions, directory: Path, clock: Clock, findings: Findings
) -> Told:
    """Compile `exchange` of all backends.

    Args:
        settings: The settings.
        assertions: Signs where an assertion is exchanged.
        directory: Directory of the configuration, for secrets.
        clock: Time.
        findings: Takes what is wrong.
    """
    exchanges: dict[str, tuple[TokenExchange, Fetcher]] = {}
    for name, backend in settings.backends.items():
        if backend.exchange is not None:
            with findings.at(("backends", name, "exchange"), "correct its files and secrets"):
                exchanges[name] = _exchange(name, backend.exchange, assertions, directory, clock)
    return Told(assertions, exchanges)


def _exchange(
    name: str, settings: Exchange, assertions: SignedAssertions, directory: Path, clock: Clock
) -> tuple[TokenExchange, Fetcher]:
    mtls = settings.authentication.mtls
    fetcher = Fetcher(
        clock,
        networks=settings.networks,
        ca=settings.ca,
        certificate=None if mtls is None else mtls.certificate,
        private_key=None if mtls is None else mtls.private_key,
    )
    endpoint = settings.endpoint.text
    authentication = compile_authentication(
        settings.client_id, settings.authentication, settings.server, lambda: endpoint, directory, clock
    )
    exchange = TokenExchange(
        endpoint,
        fetcher,
        authentication,
        clock,
        audience=settings.audience,
        scopes=settings.scopes,
        subject=settings.subject,
        assertions=assertions,
        server=settings.server,
        seconds=settings.timeout,
        on_failure=partial(_report, name),
    )
    return exchange, fetcher


def _report(backend: str, why: str) -> None:
    structlog.get_logger().warning("token-exchange-failed", backend=backend, why=why)

"""Compiles what backends are told of who asks: assertions bound to our certificates, or exchanged tokens."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, final

import structlog

from gateway.app.named import digest, named
from gateway.app.opaque import compile_authentication
from gateway.credentials.assertions import SignedAssertions, read_signer
from gateway.credentials.certificates import leaf_fingerprint
from gateway.credentials.exchange import OnwardCredentials, TokenExchange
from gateway.credentials.fetch import Fetcher
from gateway.credentials.files import read_bounded

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.app.findings import Findings
    from gateway.app.parts import Parts
    from gateway.config.schema import Settings
    from gateway.config.upstream import Exchange
    from gateway.core.ports import Clock, Onward


def compile_onward(settings: Settings, findings: Findings, parts: Parts) -> SignedAssertions:
    """Compile the section `assertions`, and what backends say about it.

    Args:
        settings: The settings.
        findings: Takes what is wrong with a certificate.
        parts: What is taken over from the configuration that runs.

    Raises:
        OSError: The private key cannot be read.
        ValueError: It is no key that can sign.
    """
    bindings: dict[str, str] = {}
    audiences: dict[str, str] = {}
    certificates: dict[str, Path] = {}
    for name, backend in settings.backends.items():
        if backend.audience is not None:
            audiences[name] = backend.audience
        if backend.tls is not None and backend.tls.certificate is not None:
            with findings.at(("backends", name, "tls", "certificate"), "give a certificate in PEM form"):
                bindings[name] = leaf_fingerprint(read_bounded(backend.tls.certificate))
                certificates[name] = backend.tls.certificate
    own = settings.assertions
    origin = own.private_key, digest(named(own.private_key))
    signer = parts.take("signer", "", origin, partial(read_signer, own.private_key))
    return parts.take(
        "assertions",
        "",
        (signer, own, audiences, certificates),  # a renewed certificate is bound when it is shown: `bind`
        lambda: SignedAssertions(
            signer,
            own.issuer,
            lifetime=own.lifetime,
            audiences=audiences,
            bindings=bindings,
            is_single_use=own.single_use,
        ),
    )


@final
@dataclass(frozen=True, slots=True, eq=False)
class Exchanging:
    """What asks for the tokens of one backend, to be stopped.

    Args:
        exchange: Asks.
        fetcher: Its connections.
    """

    exchange: TokenExchange
    fetcher: Fetcher

    async def start(self) -> None:
        """Nothing is asked before somebody is permitted."""

    async def stop(self) -> None:
        """End what is under way."""
        await self.exchange.stop()
        await self.fetcher.close()


@final
@dataclass(frozen=True, slots=True)
class Told:
    """What tells backends who asks.

    Args:
        assertions: Signs; always there, for the keys that the operators' listener publishes.
        exchanges: By backend name; to be stopped.
    """

    assertions: SignedAssertions
    exchanges: dict[str, Exchanging]

    @property
    def onward(self) -> Onward:
        """What the line uses."""
        if not self.exchanges:
            return self.assertions
        return OnwardCredentials(
            self.assertions, {name: one.exchange for name, one in self.exchanges.items()}
        )


def compile_exchanges(
    settings: Settings,
    assertions: SignedAssertions,
    directory: Path,
    clock: Clock,
    findings: Findings,
    parts: Parts,
) -> Told:
    """Compile `exchange` of all backends.

    Args:
        settings: The settings.
        assertions: Signs where an assertion is exchanged.
        directory: Directory of the configuration, for secrets.
        clock: Time.
        findings: Takes what is wrong.
        parts: What is taken over from the configuration that runs.
    """
    exchanges: dict[str, Exchanging] = {}
    for name, backend in settings.backends.items():
        if backend.exchange is not None:
            with findings.at(("backends", name, "exchange"), "correct its files and secrets"):
                origin = assertions, backend.exchange, digest(named(backend.exchange))
                make = partial(_exchange, name, backend.exchange, assertions, directory, clock)
                exchanges[name] = parts.take("exchange", name, origin, make)
    return Told(assertions, exchanges)


def _exchange(
    name: str, settings: Exchange, assertions: SignedAssertions, directory: Path, clock: Clock
) -> Exchanging:
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
    return Exchanging(exchange, fetcher)


def _report(backend: str, why: str) -> None:
    structlog.get_logger().warning("token-exchange-failed", backend=backend, why=why)

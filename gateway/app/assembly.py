"""Puts compiled parts together: what one request uses, and what all connections share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import structlog

from gateway.app.discovery import documents, metadata_url, proof_algorithms
from gateway.observe.log import fault_reporter
from gateway.runtime import Runtime
from gateway.stages.refuse import Problems
from gateway.wire.flood import Flood, Floodgate
from gateway.wire.service import ConnectionBounds, Service, Timeouts

if TYPE_CHECKING:
    from gateway.app.compilation import Compilation
    from gateway.app.ground import Ground
    from gateway.app.peers import Peers
    from gateway.config.listener import Server
    from gateway.config.schema import Settings
    from gateway.core.ports import Clock
    from gateway.observe.recorder import Observer
    from gateway.pipeline import Gateway
    from gateway.wire.pool import Pool

PROBLEM_TYPES: Final = "urn:gateway:problem:"


def make_runtime(
    compilation: Compilation,
    clock: Clock,
    ground: Ground,
    pool: Pool,
    observer: Observer,
) -> Runtime:
    """Return what one request uses.

    Args:
        compilation: The configuration.
        clock: Time.
        ground: Limits, budgets, behaviour.
        pool: Backends.
        observer: Records.
    """
    settings = compilation.settings
    algorithms = proof_algorithms(settings)
    return Runtime(
        version=compilation.version,
        clock=clock,
        identification=compilation.identification,
        routes=compilation.routes,
        store=ground.store,
        budgets=ground.budgets,
        counters=ground.counters,
        onward=compilation.onward.onward,
        backends=pool,
        record=observer,
        problems=Problems(
            PROBLEM_TYPES,
            settings.assertions.issuer,
            fault_reporter(structlog.get_logger()),
            algorithms=algorithms,
            metadata=metadata_url(settings),
        ),
        documents=documents(settings, algorithms),
    )


def make_service(settings: Settings, gateway: Gateway, peers: Peers) -> Service:
    """Return what all client connections share.

    Args:
        settings: The settings.
        gateway: Decides.
        peers: Tells who is at the other end.
    """
    server = settings.server
    return Service(
        gateway,
        peers,
        hosts=server.hosts,
        timeouts=service_timeouts(server),
        bounds=service_bounds(server),
        floodgate=service_floodgate(server),
    )


def service_timeouts(server: Server) -> Timeouts:
    """Return the deadlines of client connections."""
    own = server.timeouts
    return Timeouts(own.handshake, own.head, own.keep_alive, own.write)


def service_bounds(server: Server) -> ConnectionBounds:
    """Return the bounds on client connections."""
    own = server.bounds
    return ConnectionBounds(
        own.head, own.headers, own.connections, own.connections_per_address, own.body_memory
    )


def service_floodgate(server: Server) -> Floodgate | None:
    """Return what holds sources back that ask for too much; None: nothing does."""
    own = server.flood
    rates = own.address, own.certificate, own.failures
    if rates == (None, None, None):
        return None
    return Floodgate(*[None if rate is None else Flood(rate.count, rate.period) for rate in rates])

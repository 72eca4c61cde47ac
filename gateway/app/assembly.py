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
    from gateway.app.peers import Peers
    from gateway.app.shared_state import Budgets, Counters, Store
    from gateway.config.listener import Flood as FloodSettings
    from gateway.config.schema import Settings
    from gateway.core.ports import Clock
    from gateway.observe.recorder import Observer
    from gateway.pipeline import Gateway
    from gateway.wire.pool import Pool

PROBLEM_TYPES: Final = "urn:gateway:problem:"


def make_runtime(
    compilation: Compilation,
    clock: Clock,
    store: Store,
    budgets: Budgets,
    counters: Counters,
    pool: Pool,
    observer: Observer,
) -> Runtime:
    """Return what one request uses.

    Args:
        compilation: The configuration.
        clock: Time.
        store: Limits.
        budgets: What may be used together.
        counters: Behaviour.
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
        store=store,
        budgets=budgets,
        counters=counters,
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
    timeouts, bounds = server.timeouts, server.bounds
    return Service(
        gateway,
        peers,
        hosts=server.hosts,
        timeouts=Timeouts(timeouts.handshake, timeouts.head, timeouts.keep_alive, timeouts.write),
        bounds=ConnectionBounds(
            bounds.head,
            bounds.headers,
            bounds.connections,
            bounds.connections_per_address,
            bounds.body_memory,
        ),
        floodgate=_floodgate(server.flood),
    )


def _floodgate(flood: FloodSettings) -> Floodgate | None:
    rates = flood.address, flood.certificate, flood.failures
    if rates == (None, None, None):
        return None
    return Floodgate(*[None if rate is None else Flood(rate.count, rate.period) for rate in rates])

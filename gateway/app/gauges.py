"""The numbers that a process keeps beside its exchanges, as gauges for its metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.observe.families import Fold
from gateway.observe.metrics import Gauge
from gateway.state.redis import RedisStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.app.shared_state import Store
    from gateway.observe.audit import AuditLog
    from gateway.observe.log import LogSink
    from gateway.observe.recorder import Observer
    from gateway.wire.pool import Pool
    from gateway.wire.service import Service


def state_gauges(store: Store) -> list[Gauge]:
    """Return the numbers of the store of limits; none for one in memory."""
    if not isinstance(store, RedisStore):
        return []
    return [
        Gauge(
            "state_ready",
            "1 while the store of limits answers.",
            lambda: float(store.is_ready),
            fold=Fold.LEAST,
        ),
        Gauge(
            "state_unavailable_total",
            "Requests refused because the store did not answer.",
            lambda: store.unavailable,
            is_counter=True,
        ),
        Gauge(
            "state_local_answers_total",
            "Requests decided by the local share of the limits.",
            lambda: store.local_answers,
            is_counter=True,
        ),
    ]


def process_gauges(
    service: Callable[[], Service],
    pool: Pool,
    audit: AuditLog,
    sink: LogSink,
    observer: Callable[[], Observer],
) -> list[Gauge]:
    """Return the numbers of a process; what is made later than they are is asked for when they are read."""
    return [
        Gauge("connections", "Client connections open.", lambda: len(service().connections)),
        Gauge("requests_active", "Requests being served.", lambda: service().active),
        Gauge("body_bytes", "Bytes of request bodies held.", lambda: service().body_memory),
        Gauge(
            "connections_refused_total",
            "Client connections refused before a request.",
            lambda: service().refused_connections,
            is_counter=True,
        ),
        Gauge("upstream_connections", "Connections to backends.", lambda: sum(pool.connections().values())),
        Gauge("audit_backlog", "Records that wait to be written.", lambda: audit.backlog),
        Gauge(
            "audit_healthy",
            "1 while records can be written.",
            lambda: float(audit.is_healthy),
            fold=Fold.LEAST,
        ),
        Gauge("audit_lost_total", "Records lost.", lambda: audit.lost, is_counter=True),
        Gauge("log_lost_total", "Log lines lost.", lambda: sink.lost, is_counter=True),
        Gauge(
            "recorder_failures_total", "Faults while recording.", lambda: observer().failures, is_counter=True
        ),
    ]

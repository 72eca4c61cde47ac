"""The numbers that parts of a process keep themselves, named for the metrics."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from gateway.observe.families import Fold
from gateway.observe.metrics import Gauge
from gateway.state.redis import RedisStore
from gateway.state.redis_budgets import RedisBudgets
from gateway.state.redis_counters import RedisCounters
from gateway.state.replicated import ReplicatedRevocations

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.app.reload import Reload
    from gateway.app.revocations import Keeper
    from gateway.app.shared_state import Budgets, Counters, Store
    from gateway.app.signals import Listening
    from gateway.observe.audit import AuditLog
    from gateway.observe.log import LogSink
    from gateway.observe.recorder import Observer
    from gateway.vigil import Vigil
    from gateway.wire.pool import Pool
    from gateway.wire.service import Service

CAUSES: Final = {
    "expired": "their credential had expired",
    "fault": "they could not be judged",
    "keys": "the key of their token was gone",
    "policy": "the rules would not permit them now",
    "revoked": "their identity was revoked",
    "stale": "revocations were not current",
}


def state_gauges(store: Store, budgets: Budgets, counters: Counters) -> list[Gauge]:
    """Return the numbers of the shared state, of what of it there is."""
    gauges: list[Gauge] = []
    if isinstance(store, RedisStore):
        gauges += _limits_gauges(store)
    if isinstance(budgets, RedisBudgets):
        gauges += _budget_gauges(budgets)
    if isinstance(counters, RedisCounters):
        gauges += _counter_gauges(counters)
    return gauges


def _budget_gauges(budgets: RedisBudgets) -> list[Gauge]:
    return [
        Gauge(
            "state_budgets_unavailable_total",
            "Requests refused because the store of budgets did not answer.",
            lambda: budgets.unavailable,
            is_counter=True,
        ),
        Gauge(
            "state_budgets_local_answers_total",
            "Requests decided by the local share of the budgets.",
            lambda: budgets.local_answers,
            is_counter=True,
        ),
    ]


def _counter_gauges(counters: RedisCounters) -> list[Gauge]:
    return [
        Gauge(
            "state_counters_ready",
            "1 while the store of behaviour counters answers.",
            lambda: float(counters.is_ready),
            fold=Fold.LEAST,
        ),
        Gauge(
            "state_counts_lost_total",
            "Counts that the fleet may not have heard of.",
            lambda: counters.lost,
            is_counter=True,
        ),
    ]


def _limits_gauges(store: RedisStore) -> list[Gauge]:
    return [
        Gauge(
            "state_ready",
            "1 while the store of limits answers.",
            lambda: float(store.is_ready),
            fold=Fold.LEAST,
        ),
        Gauge(
            "state_servers_lost",
            "Servers of the store of limits that cannot be used; of a cluster, perhaps some.",
            lambda: store.lost,
            fold=Fold.MOST,
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


def gauges_of(
    service: Callable[[], Service],
    audit: AuditLog,
    sink: LogSink,
    observer: Callable[[], Observer],
) -> list[Gauge]:
    """Return the numbers of connections, records and the log."""
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
        Gauge(
            "flood_refused_total",
            "Connections and requests refused because there were too many from their source.",
            lambda: 0 if (gate := service().floodgate) is None else gate.refused,
            is_counter=True,
        ),
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


def upstream_gauges(pool: Callable[[], Pool]) -> list[Gauge]:
    """Return the numbers of connections to backends, and of the queues in front of them."""
    return [
        Gauge("upstream_connections", "Connections to backends.", lambda: sum(pool().connections().values())),
        Gauge(
            "upstream_requests",
            "Requests that backends are serving.",
            lambda: sum(each.running for each in pool().turnstiles),
        ),
        Gauge(
            "upstream_waiting",
            "Requests that wait for a backend.",
            lambda: sum(each.waiting for each in pool().turnstiles),
        ),
        Gauge(
            "upstream_waited_total",
            "Requests that had to wait for a backend, and were sent.",
            lambda: sum(each.waited for each in pool().turnstiles),
            is_counter=True,
        ),
        Gauge(
            "upstream_waited_seconds_total",
            "How long they waited, together.",
            lambda: sum(each.waited_seconds for each in pool().turnstiles),
            is_counter=True,
        ),
        Gauge(
            "upstream_shed_total",
            "Requests that were refused because a backend had too many.",
            lambda: sum(each.shed for each in pool().turnstiles),
            is_counter=True,
        ),
    ]


def configuration_gauges(version: Callable[[], str]) -> list[Gauge]:
    """Return which configuration decides."""
    return [
        Gauge(
            "configuration_info",
            "1; the label is the version of the configuration that decides.",
            lambda: 1,
            fold=Fold.MOST,
            labels=lambda: f'{{version="{version()}"}}',
        )
    ]


def reload_gauges(reload: Reload | None) -> list[Gauge]:
    """Return what became of changes; nothing in a worker, whose supervisor counts them."""
    if reload is None:
        return []
    return [
        Gauge(
            "configuration_reloads_total",
            "Configurations taken while running.",
            lambda: reload.accepted,
            is_counter=True,
        ),
        Gauge(
            "configuration_reload_failures_total",
            "Changed configurations that were refused.",
            lambda: reload.refused,
            is_counter=True,
        ),
        Gauge(
            "configuration_loaded_seconds",
            "When the configuration that decides was loaded, since 1970.",
            lambda: reload.since,
        ),
    ]


def signal_gauges(listening: Callable[[], Listening]) -> list[Gauge]:
    """Return the numbers of security events."""
    return [
        Gauge("signals_total", "Security events taken.", lambda: listening().taken, is_counter=True),
        Gauge(
            "signals_silent",
            "Transmitters that should have been heard, and were not.",
            lambda: listening().silent,
        ),
    ]


def revocation_gauges(keeper: Keeper, vigil: Callable[[], Vigil]) -> list[Gauge]:
    """Return the numbers of revocations, and of what they and other changes ended."""
    index = keeper.index
    gauges = [
        Gauge("revocations", "Revocations that hold.", lambda: len(index), fold=Fold.MOST),
        Gauge(
            "revocations_version",
            "Grows with every change of the revocations here.",
            lambda: index.version,
            fold=Fold.LEAST,
        ),
        Gauge(
            "revocations_current",
            "1 while what is known may be believed.",
            lambda: index.is_current,
            fold=Fold.LEAST,
        ),
        Gauge(
            "revocations_staleness_seconds",
            "Since the store of the fleet was last heard; 0 without one.",
            lambda: min(index.staleness, 1e9),
            fold=Fold.MOST,
        ),
    ]
    if isinstance(keeper, ReplicatedRevocations):
        gauges.append(
            Gauge(
                "revocations_forged_total",
                "Entries in the store that no gateway of the fleet wrote.",
                lambda: keeper.forged,
                is_counter=True,
            )
        )
    for cause, words in CAUSES.items():
        gauges.append(
            Gauge(
                f"cut_{cause}_total",
                f"Running exchanges that were ended: {words}.",
                partial(lambda cause: vigil().cuts[cause], cause),
                is_counter=True,
            )
        )
    return gauges

"""What one worker of several gets of a configuration: its own files, and its part of every bound.

Bounds in a configuration are the gateway's, however many processes it has, so each worker gets one part of
them, rounded up and never less than one. Limits on callers are not divided: they are shared in Redis, which
is why a gateway that keeps its state in memory cannot have more than one worker.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from gateway.observe.chains import worker_file

if TYPE_CHECKING:
    from gateway.app.compilation import Compilation
    from gateway.app.findings import Findings
    from gateway.config.schema import Settings


FIRST: Final = 1
"""The worker that listens to security events: a transmitter speaks to one, and what it says holds for all."""


def check_workers(settings: Settings, workers: int, findings: Findings) -> None:
    """Find what keeps a configuration from being run by several workers."""
    if workers > 1 and settings.state.url.scheme == "memory":
        findings.add(
            ("state", "url"),
            f"with state in memory each of {workers} workers would grant every limit in full",
            "keep the state in Redis (docs/redis.md), or run one worker: `--workers 1`",
        )
    if workers > 1 and settings.assertions.private_key is None and _has_readers(settings):
        findings.add(
            ("assertions", "private_key"),
            f"each of {workers} workers would sign assertions with a key of its own, which nobody publishes",
            "write a key that all of them read: `openssl genpkey -algorithm ed25519 -out assertions.key`",
        )


def _has_readers(settings: Settings) -> bool:
    """Tell whether somebody is known to verify our assertions."""
    return settings.assertions.single_use or any(
        backend.audience is not None
        or (backend.exchange is not None and backend.exchange.subject == "assertion")
        for backend in settings.backends.values()
    )


def share_of_worker(compilation: Compilation, number: int, workers: int) -> Compilation:
    """Return what one worker runs.

    Args:
        compilation: What all run.
        number: Of the worker, from 1.
        workers: How many there are.
    """
    settings = compilation.settings
    bounds = settings.server.bounds.model_copy(
        update={
            name: part(getattr(settings.server.bounds, name), workers)
            for name in ("connections", "connections_per_address", "body_memory")
        }
    )
    flood = settings.server.flood
    rates = {
        name: replace(rate, count=part(rate.count, workers))
        for name in ("address", "certificate", "failures")
        if (rate := getattr(flood, name)) is not None
    }
    journal = settings.revocations.journal
    gateways = settings.state.processes
    divided = settings.model_copy(
        update={
            "server": settings.server.model_copy(
                update={"bounds": bounds, "flood": flood.model_copy(update=rates)}
            ),
            "audit": settings.audit.model_copy(update={"path": worker_file(settings.audit.path, number)}),
            "revocations": settings.revocations.model_copy(
                update={"journal": None if journal is None else worker_file(journal, number)}
            ),
            "state": settings.state.model_copy(
                update={"processes": None if gateways is None else gateways * workers}
            ),
        }
    )
    backends = tuple(
        replace(
            each,
            connections=part(each.connections, workers),
            requests=None if each.requests is None else part(each.requests, workers),
            queue=part(each.queue, workers),
        )
        for each in compilation.backends
    )
    feeds = compilation.feeds if number == FIRST else ()
    return replace(compilation, settings=divided, backends=backends, feeds=feeds)


def part(whole: int, workers: int) -> int:
    """Return one part of a bound, rounded up."""
    return -(-whole // workers)

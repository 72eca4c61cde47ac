"""The frozen bundle that one request uses: built whole, swapped by one assignment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

# the compiler reads the annotations of classes
from gateway.core.ports import Assertions, Backends, Clock, Counters, Recorder, Store  # noqa: TC001
from gateway.core.route import RouteTable  # noqa: TC001
from gateway.stages.identify import Identification  # noqa: TC001
from gateway.stages.refuse import Problems  # noqa: TC001


@final
@dataclass(frozen=True)
class Runtime:
    """Everything a request may touch.

    Args:
        version: First 16 hex digits of the SHA-256 of the configuration; in every record.
        clock: Time.
        identification: How callers prove who they are.
        routes: What may be called at all.
        store: Limits.
        counters: Behaviour.
        assertions: The gateway's own signature for backends.
        backends: The way to the models.
        record: What is written at the end.
        problems: How refusals look to a client.
    """

    version: str
    clock: Clock
    identification: Identification
    routes: RouteTable
    store: Store
    counters: Counters
    assertions: Assertions
    backends: Backends
    record: Recorder
    problems: Problems

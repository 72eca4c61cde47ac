"""The frozen bundle that one request uses: built whole, swapped by one assignment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, final

if TYPE_CHECKING:
    from gateway.core.ports import Backends, Budgets, Clock, Counters, Onward, Recorder, Store
    from gateway.core.route import RouteTable
    from gateway.stages.identify import Identification
    from gateway.stages.refuse import Problems


@final
@dataclass(frozen=True, slots=True)
class Runtime:
    """Everything a request may touch.

    Args:
        version: First 16 hex digits of the SHA-256 of the configuration; in every record.
        clock: Time.
        identification: How callers prove who they are.
        routes: What may be called at all.
        store: Limits.
        budgets: What may be used together.
        counters: Behaviour.
        onward: Who asks, in a form that backends believe.
        backends: The way to the models.
        record: What is written at the end.
        problems: How refusals look to a client.
    """

    version: str
    clock: Clock
    identification: Identification
    routes: RouteTable
    store: Store
    budgets: Budgets
    counters: Counters
    onward: Onward
    backends: Backends
    record: Recorder
    problems: Problems

"""The frozen bundle that one request uses: built whole, swapped by one assignment."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.core.budgets import Budgets
    from gateway.core.ports import Backends, Clock, Counters, Onward, Recorder, Store
    from gateway.core.route import RouteTable
    from gateway.stages.identify import Identification
    from gateway.stages.refuse import Problems


class Document(NamedTuple):
    """What the gateway says of itself under one path, made once.

    Args:
        headers: Field lines, each with CRLF, without framing fields.
        body: The whole body.
    """

    headers: bytes
    body: bytes


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
        documents: By path, what the gateway says of itself to everybody.
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
    documents: Mapping[str, Document] = field(default_factory=dict)

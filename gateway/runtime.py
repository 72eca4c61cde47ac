"""The frozen bundle that one request uses: built whole, swapped by one assignment."""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 - the compiler reads annotations of classes
from dataclasses import dataclass, field
from typing import NamedTuple, final

# the compiler reads the annotations of classes
from gateway.core.ports import Backends, Clock, Counters, Onward, Recorder, Store  # noqa: TC001
from gateway.core.route import RouteTable  # noqa: TC001
from gateway.stages.identify import Identification  # noqa: TC001
from gateway.stages.refuse import Problems  # noqa: TC001


class Document(NamedTuple):
    """What the gateway says of itself under one path, made once.

    Args:
        headers: Field lines, each with CRLF, without framing fields.
        body: The whole body.
    """

    headers: bytes
    body: bytes


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
    counters: Counters
    onward: Onward
    backends: Backends
    record: Recorder
    problems: Problems
    documents: Mapping[str, Document] = field(default_factory=dict)

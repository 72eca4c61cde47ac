"""Writes down one exchange, everywhere it belongs: the last line of every request.

Encodes once; the audit log and the log share the bytes. Never raises and never blocks: what fails in
here is counted, and a record that cannot be encoded is replaced by one that says so, because a request
without a record is worse than a record without detail.

A finished exchange is only kept at first, and all that were kept are written together a few
milliseconds later: the same code over many exchanges in a row runs almost twice as fast as once in
every request, and the audit log gathers records for longer than that anyway.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol, final

import msgspec

from gateway.observe.encoder import RecordEncoder

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.core.exchange import Exchange
    from gateway.observe.audit import AuditLog
    from gateway.observe.log import LogSink
    from gateway.observe.metrics import Metrics

# What a bug in here can raise without I/O; anything else is not ours to hide.
FAULTS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    RuntimeError,
    TypeError,
    ValueError,
    msgspec.MsgspecError,
)

MAX_WAITING: Final = 64  # exchanges kept at most: about 0.4 ms of writing


class Tracing(Protocol):
    """What decides about a trace and exports it."""

    def is_wanted(self, ex: Exchange, /) -> bool:
        """Decide whether an exchange is worth a trace."""

    def export(self, ex: Exchange, /) -> None:
        """Queue the spans of an exchange."""


@final
class Observer:
    """Implements `core.ports.Recorder`.

    Args:
        audit: The audit log.
        metrics: The numbers.
        log: Where the line of each exchange goes, or None for none.
        traces: Traces, or None for none.
        schedule: Calls what it is given soon, once; None writes every exchange at once.
    """

    __slots__ = (
        "_append",
        "_audit",
        "_encode",
        "_line",
        "_observe",
        "_schedule",
        "_traces",
        "_waiting",
        "failures",
    )

    def __init__(
        self,
        *,
        audit: AuditLog,
        metrics: Metrics,
        log: LogSink | None = None,
        traces: Tracing | None = None,
        schedule: Callable[[Callable[[], None]], object] | None = None,
    ) -> None:
        self.failures = 0  # things that went wrong in here; a gauge for the metrics
        self._audit = audit
        self._append = audit.append
        self._line = None if log is None else log.exchange
        self._encode = RecordEncoder()
        self._observe = metrics.observe
        self._traces = traces
        self._schedule = schedule
        self._waiting: list[Exchange] = []

    @property
    def is_healthy(self) -> bool:
        """False while the audit log cannot be written: nobody may be served then."""
        return self._audit.is_healthy

    def __call__(self, exchange: Exchange, /) -> None:
        """Record a finished exchange; synchronous, never raises."""
        waiting = self._waiting
        waiting.append(exchange)
        if self._schedule is None or len(waiting) >= MAX_WAITING:
            self.flush()
        elif len(waiting) == 1:
            self._schedule(self.flush)

    def flush(self) -> None:
        """Write what was kept. Never raises."""
        waiting, self._waiting = self._waiting, []
        for exchange in waiting:
            self._write(exchange)

    def _write(self, exchange: Exchange) -> None:
        try:
            record = self._encode(exchange)
        except FAULTS as fault:
            record = self._least(exchange, fault)
        self._append(record)
        if self._line is not None:
            self._line(record)
        try:
            self._observe(exchange)
            if self._traces is not None and self._traces.is_wanted(exchange):
                self._traces.export(exchange)
        except FAULTS:
            self.failures += 1

    def _least(self, ex: Exchange, fault: BaseException) -> bytes:
        """Return the record of an exchange that cannot be described: what is certain, in our words."""
        self.failures += 1
        return msgspec.json.encode(
            {
                "time": self._encode.time(ex.started),
                "id": ascii(ex.id).strip("'"),
                "outcome": ex.outcome.value,
                "status": ex.status,
                "note": "the record could not be encoded",
                "fault": type(fault).__name__,
            }
        )

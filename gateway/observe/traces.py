"""Traces: OpenTelemetry spans, built after the fact from an exchange's stamps.

Decides at the end of a request, when it is known whether it is worth a trace: every refusal and failure
(up to a rate, so that a flood of refusals cannot buy work) and a share of the rest. A client's
`traceparent` becomes a link of a trace of our own, never its parent; `baggage` is never read. Names
follow the semantic conventions for HTTP and generative AI. No identity, prompt, path or header value.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, final

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, TraceFlags
from opentelemetry.trace.status import Status, StatusCode

from gateway.core.exchange import Outcome
from gateway.core.refusal import Source
from gateway.observe.redact import clip, printable

if TYPE_CHECKING:
    from gateway.core.exchange import Exchange
    from gateway.core.ports import Clock

MILLION: Final = 1_000_000
BILLION: Final = 1_000_000_000
SAMPLED: Final = TraceFlags(TraceFlags.SAMPLED)
OPERATIONS: Final = {
    "anthropic.messages": "chat",
    "openai.chat": "chat",
    "openai.completions": "text_completion",
    "openai.embeddings": "embeddings",
    "openai.responses": "chat",
}
# W3C Trace Context, section 3.2: version 00, no all-zero ids
TRACEPARENT: Final = re.compile(rb"00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})")
# Name of the span of each stage, and the stamps between which it ran.
STAGES: Final = (
    ("identify", "began_at", "identified_at"),
    ("enter", "identified_at", "entered_at"),
    ("limit", "entered_at", "admitted_at"),
    ("inspect", "admitted_at", "inspected_at"),
    ("decide", "inspected_at", "forwarded_at"),
    ("backend", "forwarded_at", "answered_at"),
    ("relay", "answered_at", "ended_at"),
)


@final
class Tracer:
    """Exports the traces that are worth it, over OTLP/HTTP, from a thread of its own.

    Args:
        endpoint: URL of the collector's trace endpoint.
        clock: For the bound on refusals.
        version: Version of the gateway.
        sample: Share of the served exchanges to trace, in [0, 1].
        refusals_per_second: Most refusals and failures traced per second.
        queue: Spans that may wait; more are dropped by the processor.
        delay: Seconds between two exports.
        certificate: CA bundle for the collector, or None for the system's.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        clock: Clock,
        version: str,
        sample: float = 0.01,
        refusals_per_second: int = 20,
        queue: int = 8192,
        delay: float = 1.0,
        certificate: str | None = None,
    ) -> None:
        self.skipped = 0  # refusals beyond the rate
        self._sample = sample
        self._credit = 0.0
        self._tick = clock.tick
        self._rate = refusals_per_second
        self._second = 0
        self._left = refusals_per_second
        self._ids = RandomIdGenerator()
        self._resource = Resource({"service.name": "gateway", "service.version": version})
        self._scope = InstrumentationScope("gateway", version)
        exporter = OTLPSpanExporter(endpoint=endpoint, certificate_file=certificate, timeout=5.0)
        self._processor = BatchSpanProcessor(
            exporter,
            max_queue_size=queue,
            schedule_delay_millis=delay * 1000,
            max_export_batch_size=min(512, queue),
        )

    def is_wanted(self, ex: Exchange) -> bool:
        """Decide whether a finished exchange is worth a trace."""
        if ex.refusal is None and ex.outcome is Outcome.SERVED:
            self._credit += self._sample
            if self._credit < 1.0:
                return False
            self._credit -= 1.0
            return True
        second = int(self._tick())
        if second != self._second:
            self._second = second
            self._left = self._rate
        if not self._left:
            self.skipped += 1
            return False
        self._left -= 1
        return True

    def export(self, ex: Exchange) -> None:
        """Build the spans of an exchange and queue them; tens of microseconds."""
        root = self._context(self._ids.generate_trace_id())
        origin = int(ex.started * MILLION) * 1000  # a float holds a date to the microsecond only
        reached = ex.began_at
        for name, begin, end in STAGES:
            began: float = getattr(ex, begin)
            ended: float = getattr(ex, end)
            if not began or not ended:
                break
            reached = ended
            self._emit(f"gateway {name}", origin, (began - ex.began_at, ended - ex.began_at), root)
        whole = ex.ended_at - ex.began_at
        if reached < ex.ended_at:  # the stage that refused has no closing stamp
            self._emit("gateway refuse", origin, (reached - ex.began_at, whole), root)
        span = ReadableSpan(
            name=_name(ex),
            context=root,
            resource=self._resource,
            attributes=_attributes(ex),
            links=_links(ex),
            kind=SpanKind.SERVER,
            status=_status(ex),
            start_time=origin,
            end_time=origin + int(whole * BILLION),
            instrumentation_scope=self._scope,
        )
        self._processor.on_end(span)

    def close(self) -> None:
        """Export what waits and stop; blocks for at most some seconds."""
        self._processor.shutdown()  # type: ignore[no-untyped-call]  # untyped in the SDK

    def _context(self, trace: int) -> SpanContext:
        return SpanContext(trace, self._ids.generate_span_id(), is_remote=False, trace_flags=SAMPLED)

    def _emit(self, name: str, origin: int, stamps: tuple[float, float], parent: SpanContext) -> None:
        """Queue the span of one stage: `origin` in nanoseconds, `stamps` in seconds after it."""
        self._processor.on_end(
            ReadableSpan(
                name=name,
                context=self._context(parent.trace_id),
                parent=parent,
                resource=self._resource,
                start_time=origin + int(stamps[0] * BILLION),
                end_time=origin + int(stamps[1] * BILLION),
                instrumentation_scope=self._scope,
            )
        )


def _operation(ex: Exchange) -> str | None:
    return None if ex.route is None else OPERATIONS.get(ex.route.dialect)


def _name(ex: Exchange) -> str:
    operation = _operation(ex)
    if operation is not None and ex.permit is not None and ex.permit.model is not None:
        return f"{operation} {printable(clip(ex.permit.model))}"
    return "gateway exchange" if ex.route is None else f"gateway {ex.route.name}"


def _attributes(ex: Exchange) -> dict[str, str | int | float]:
    facts: dict[str, str | int | float | None] = {
        "gateway.request.id": ex.id,
        "gateway.outcome": ex.outcome.value,
        "gateway.route": None if ex.route is None else ex.route.name,
        "gateway.rule": None if ex.permit is None else ex.permit.rule,
        "gateway.risk": None if ex.risk is None else ex.risk.score,
        "gateway.configuration": ex.runtime_version,
        "http.request.method": None if ex.call is None else ex.call.method,
        "http.route": None if ex.route is None else ex.route.path,
        "http.response.status_code": ex.status or None,
        "http.request.body.size": ex.bytes_in,
        "http.response.body.size": ex.bytes_out,
        "error.type": None if ex.refusal is None else ex.refusal.reason.value,
        "gateway.source": None if ex.refusal is None else ex.refusal.source.value,
        "server.address": ex.endpoint,
        "gen_ai.operation.name": _operation(ex),
        "gen_ai.request.model": None
        if ex.prompt is None or ex.prompt.model is None
        else printable(clip(ex.prompt.model)),
        "gen_ai.request.max_tokens": None if ex.prompt is None else ex.prompt.output_cap,
        "gen_ai.request.choice.count": None if ex.prompt is None else ex.prompt.choices,
        "gen_ai.usage.input_tokens": ex.usage.input_tokens,
        "gen_ai.usage.output_tokens": ex.usage.output_tokens,
    }
    return {name: fact for name, fact in facts.items() if fact is not None}


def _status(ex: Exchange) -> Status:
    """Refusing is not an error of ours (semantic conventions for HTTP servers); failing is."""
    if ex.refusal is None or ex.refusal.source is Source.CLIENT:
        return Status(StatusCode.UNSET)
    return Status(StatusCode.ERROR, ex.refusal.reason.value)


def _links(ex: Exchange) -> list[Link]:
    value = None if ex.call is None else ex.call.headers.get(b"traceparent")
    match = None if value is None else TRACEPARENT.fullmatch(value)
    if match is None:
        return []
    trace, span, flags = (int(part, 16) for part in match.groups())
    return [Link(SpanContext(trace, span, is_remote=True, trace_flags=TraceFlags(flags & 1)))]

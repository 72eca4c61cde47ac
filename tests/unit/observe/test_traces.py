"""Traces, as a collector receives them."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from gateway.core.exchange import Exchange, Outcome
from gateway.core.refusal import Reason, Refusal, Source
from gateway.observe.traces import Tracer
from tests.unit.observe.exchanges import ALICE, ID, ManualClock, arrived, malformed, refused, served

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Collector:
    """An OTLP/HTTP collector that keeps what it gets."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.raw = b""
        self.url = ""

    async def take(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.raw += body
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            for scope in resource.scope_spans:
                self.spans.extend(scope.spans)
        return web.Response(content_type="application/x-protobuf")


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    """Serve a collector on a free port."""
    found = Collector()
    app = web.Application()
    app.router.add_post("/v1/traces", found.take)
    async with TestServer(app) as server:
        found.url = str(server.make_url("/v1/traces"))
        yield found


def tracer(url: str = "http://127.0.0.1:9/v1/traces", **options: Any) -> Tracer:
    """Return a tracer; by default nobody collects."""
    options.setdefault("clock", ManualClock())
    return Tracer(url, version="1.0", **options)


async def exported(collector: Collector, *exchanges: Exchange) -> tuple[Span, list[Span]]:
    """Export exchanges; return the first root and all spans of stages."""
    traces = tracer(collector.url)
    for ex in exchanges:
        traces.export(ex)
    await asyncio.to_thread(traces.close)
    roots = [span for span in collector.spans if not span.parent_span_id]
    assert len(exchanges) == len(roots)
    return roots[0], [span for span in collector.spans if span.parent_span_id]


def attributes(span: Span) -> dict[str, object]:
    """Return the attributes of a span."""
    return {x.key: getattr(x.value, x.value.WhichOneof("value")) for x in span.attributes}


async def test_a_served_exchange_has_a_span_per_stage(collector: Collector) -> None:
    """Explicit times, from the exchange's own stamps; one trace."""
    root, stages = await exported(collector, served())

    assert "chat llama-3-8b" == root.name
    assert Span.SPAN_KIND_SERVER == root.kind
    assert (1_700_000_000_250_000_000, 500_000_000) == (
        root.start_time_unix_nano,
        pytest.approx(root.end_time_unix_nano - root.start_time_unix_nano, abs=1000),
    )
    names = ["identify", "enter", "limit", "inspect", "decide", "backend", "relay"]
    assert [f"gateway {name}" for name in names] == [span.name for span in stages]
    assert {root.trace_id} == {span.trace_id for span in stages}
    assert {root.span_id} == {span.parent_span_id for span in stages}
    assert all(a.end_time_unix_nano == b.start_time_unix_nano for a, b in pairwise(stages))
    assert b"gateway" in collector.raw


async def test_names_follow_the_conventions(collector: Collector) -> None:
    """HTTP and generative AI, as dashboards expect them."""
    root, _ = await exported(collector, served())
    facts = attributes(root)

    assert {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "llama-3-8b",
        "gen_ai.request.max_tokens": 64,
        "gen_ai.usage.input_tokens": 10,
        "gen_ai.usage.output_tokens": 12,
        "http.request.method": "POST",
        "http.route": "/v1/chat/completions",
        "http.response.status_code": 200,
        "gateway.request.id": ID,
        "gateway.route": "chat",
        "gateway.rule": "researchers-by-day",
        "server.address": "10.0.1.5:8000",
    }.items() <= facts.items()
    assert 0 == root.status.code


async def test_a_refusal_ends_in_the_stage_that_refused(collector: Collector) -> None:
    """Its reason is the error type; refusing is no error of ours."""
    ex = refused(Refusal(Reason.RATE_EXCEEDED), identity=ALICE)
    ex.identified_at = 100.0001
    root, stages = await exported(collector, ex)

    assert ["gateway identify", "gateway refuse"] == [span.name for span in stages]
    assert ("gateway exchange", "rate-exceeded") == (root.name, attributes(root)["error.type"])
    assert 0 == root.status.code


async def test_a_failure_of_ours_is_an_error(collector: Collector) -> None:
    """Gateway and upstream faults have status ERROR."""
    ex = served(model=None)
    ex.refusal, ex.outcome = Refusal(Reason.BACKEND_DIED, source=Source.UPSTREAM), Outcome.FAILED
    root, _ = await exported(collector, ex)

    assert ("gateway chat", 2, "backend-died") == (root.name, root.status.code, root.status.message)


async def test_the_clients_trace_is_a_link_and_never_a_parent(collector: Collector) -> None:
    """A caller cannot choose our trace ids, nor its sampling."""
    root, _ = await exported(collector, served())

    assert b"" == root.parent_span_id
    assert [(b"\xab" * 16, b"\xcd" * 8)] == [(link.trace_id, link.span_id) for link in root.links]
    assert b"\xab" * 16 != root.trace_id


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"00-" + b"0" * 32 + b"-" + b"cd" * 8 + b"-01",
        b"00-" + b"ab" * 16 + b"-" + b"0" * 16 + b"-01",
        b"01-" + b"ab" * 16 + b"-" + b"cd" * 8 + b"-01",
        b"00-" + b"AB" * 16 + b"-" + b"cd" * 8 + b"-01",
        b"00-" + b"ab" * 16 + b"-" + b"cd" * 8 + b"-01-x",
        b"00-" + b"ab" * 16 + b"-" + b"cd" * 8 + b"-01\n",
    ],
)
async def test_a_malformed_traceparent_is_no_link(collector: Collector, value: bytes) -> None:
    """Exactly W3C version 00, or nothing."""
    ex = arrived(headers={b"traceparent": value, b"baggage": b"canary=1"})
    root, _ = await exported(collector, ex)

    assert [] == list(root.links)
    assert b"canary" not in collector.raw


async def test_traces_hold_no_identity_and_no_credential(collector: Collector) -> None:
    """They leave for another system; the request id leads to the record."""
    ex = served()
    assert ex.call is not None
    ex.call.headers = {b"authorization": b"canary"}
    await exported(collector, ex, malformed())

    assert not [
        text for text in (b"alice", b"canary", b"fingerprint", b"0123456789abcdef") if text in collector.raw
    ]


def test_a_share_of_what_is_served_is_traced() -> None:
    """Evenly, without dice."""
    traces = tracer(sample=0.25)

    assert 25 == sum(traces.is_wanted(served()) for _ in range(100))
    traces.close()


def test_every_refusal_is_traced_up_to_a_rate() -> None:
    """A flood of refusals cannot buy work; the next second counts anew."""
    clock = ManualClock()
    traces = tracer(sample=0.0, refusals_per_second=3, clock=clock)
    ex = refused(Refusal(Reason.TOKEN_EXPIRED))
    first = [traces.is_wanted(ex) for _ in range(5)]
    clock.ticks += 1.0
    again = traces.is_wanted(ex)
    gone = served()
    gone.outcome = Outcome.CLIENT_GONE

    assert ([True, True, True, False, False], True) == (first, again)
    assert (2, True) == (traces.skipped, traces.is_wanted(gone))
    traces.close()

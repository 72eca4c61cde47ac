"""Every refusal leaves a trace at the collector, over OTLP."""

from __future__ import annotations

import asyncio
import gzip
import threading
from typing import TYPE_CHECKING, Self

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.e2e.running import RunningGateway
from tests.e2e.world import prompt

if TYPE_CHECKING:
    from pathlib import Path

    from opentelemetry.proto.trace.v1.trace_pb2 import Span

    from tests.e2e.backend import Backend
    from tests.e2e.world import World


class Collector:
    """A collector that keeps what it gets. Use it as a context manager."""

    def __enter__(self) -> Self:
        self.spans: list[Span] = []
        self._changed = threading.Condition()
        started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(started)), daemon=True)
        self._thread.start()
        assert started.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def wait(self, name: str, seconds: float = 10.0) -> Span:
        """Wait for a span of this name."""

        def find() -> Span | None:
            return next((span for span in self.spans if span.name == name), None)

        with self._changed:
            assert self._changed.wait_for(lambda: find() is not None, seconds), [s.name for s in self.spans]
        found = find()
        assert found is not None
        return found

    async def _serve(self, started: threading.Event) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        app = web.Application()
        app.router.add_post("/v1/traces", self._take)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.port = runner.addresses[0][1]
        started.set()
        await self._stop.wait()
        await runner.cleanup()

    async def _take(self, request: web.Request) -> web.Response:
        data = await request.read()
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
        export = ExportTraceServiceRequest.FromString(data)
        with self._changed:
            for resource in export.resource_spans:
                for scope in resource.scope_spans:
                    self.spans.extend(scope.spans)
            self._changed.notify_all()
        return web.Response(body=b"", content_type="application/x-protobuf")


def test_a_refusal_leaves_a_trace(world: World, backend: Backend, tmp_path: Path) -> None:
    """One trace of the stages it passed, the reason as an attribute; no credential, no prompt, no caller."""
    token = world.token("traced")
    with Collector() as collector:
        more = f'traces: {{endpoint: "http://127.0.0.1:{collector.port}/v1/traces", sample: 0.0}}'
        path = world.configure(tmp_path, backend.port, more=more)
        with (
            RunningGateway(path, tmp_path / "audit.jsonl") as gateway,
            world.http(gateway, token) as client,
        ):
            served = client.post("/v1/chat/completions", json=prompt("traced-prompt"))
            refused = client.post("/v1/chat/completions", json=prompt("traced-prompt", model="other"))
            stage = collector.wait("gateway refuse")
        spans = collector.spans
    [root] = [span for span in spans if not span.parent_span_id]
    attributes = {one.key: one.value for one in root.attributes}

    assert (200, 403) == (served.status_code, refused.status_code)
    assert {root.trace_id} == {span.trace_id for span in spans}
    assert root.span_id == stage.parent_span_id
    assert {"gateway identify", "gateway enter", "gateway limit", "gateway inspect"} <= {
        span.name for span in spans
    }
    assert "no-rule-allows" == attributes["error.type"].string_value
    assert 403 == attributes["http.response.status_code"].int_value
    assert [] == [word for word in (token, "traced-prompt", "traced") if word in str(spans)]

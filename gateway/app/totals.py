"""What the workers of one gateway say together: readiness, status, metrics.

What a worker counted outlives it, so no counter ever goes backwards; how it stood does not. What it counted
after its last report, at most a second, dies with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from gateway.observe.families import Family, lasting, merge, text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.app.child import Child
    from gateway.observe.log import LogSink


@final
class Totals:
    """The sum of all workers, those that have ended included.

    Args:
        sink: The supervisor's own log.
    """

    def __init__(self, sink: LogSink) -> None:
        self.restarts = 0
        self._sink = sink
        self._past: list[Family] = []

    def settle(self, child: Child) -> None:
        """Keep what a worker that has ended counted."""
        if child.report is not None:
            self._past = merge([self._past, lasting(child.report.families)])

    def render(self, children: Sequence[Child], workers: int, more: Sequence[Family] = ()) -> bytes:
        """Return everything as Prometheus text.

        Args:
            children: The workers that live.
            workers: How many should.
            more: What the supervisor counts.
        """
        serving = sum(child.is_serving for child in children)
        own = [
            Family("workers", "gauge", "Workers that serve.", {"workers": serving}),
            Family("workers_wanted", "gauge", "Workers that should serve.", {"workers_wanted": workers}),
            Family(
                "worker_restarts_total",
                "counter",
                "Workers that ended without being asked to.",
                {"worker_restarts_total": self.restarts},
            ),
            Family("log_lost_total", "counter", "Log lines lost.", {"log_lost_total": self._sink.lost}),
        ]
        reports = [child.report.families for child in children if child.report is not None]
        return text(merge([*reports, self._past, own, more]))

    def readiness(self, children: Sequence[Child], *, is_ready: bool, is_recorded: bool) -> dict[str, bool]:
        """Return what serving needs, over all workers that serve.

        One worker that serves is enough; a part that is not well in one of them is not well.

        Args:
            children: The workers that live.
            is_ready: All have served once, and nobody asked to stop.
            is_recorded: The supervisor's own chain can be written.
        """
        found = {"serving": is_ready and any(child.is_serving for child in children), "audit": is_recorded}
        for child in children:
            if child.report is None or not child.is_serving:
                continue
            for name, is_well in child.report.parts.items():
                found[name] = found.get(name, True) and is_well
        return found

    def status(self, children: Sequence[Child], *, is_ready: bool, uptime: float) -> dict[str, object]:
        """Return what the first worker says of all, and a line for each."""
        first = next((child.report.status for child in children if child.report is not None), {})
        return first | {
            "ready": is_ready,
            "uptime_seconds": round(uptime, 3),
            "restarts": self.restarts,
            "workers": [
                {
                    "worker": child.number,
                    "pid": child.pid,
                    "serving": child.is_serving,
                    "uptime_seconds": round(child.lived, 3),
                }
                for child in children
            ],
        }

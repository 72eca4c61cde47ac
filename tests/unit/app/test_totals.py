"""What workers say together."""

from __future__ import annotations

from typing import Any

from gateway.app.report import Report
from gateway.app.totals import Totals
from gateway.observe.families import Family, Fold
from gateway.observe.log import LogSink


class Worker:
    """A worker that said something."""

    def __init__(
        self, number: int, served: int = 0, *, is_serving: bool = True, is_silent: bool = False, **parts: bool
    ) -> None:
        self.number = number
        self.pid = 1000 + number
        self.lived = 2.0
        self.is_serving = is_serving
        families = [
            Family("exchanges_total", "counter", "h", {'exchanges_total{route="a"}': served}),
            Family("connections", "gauge", "h", {"connections": 2}),
            Family(
                "audit_healthy", "gauge", "h", {"audit_healthy": float(parts.get("audit", True))}, Fold.LEAST
            ),
        ]
        said = Report(
            parts={"serving": is_serving} | parts,
            status={"routes": ["a"], "uptime_seconds": 1},
            seq=1,
            hash=b"",
            families=families,
        )
        self.report = None if is_silent else said


def totals() -> Any:
    """Return totals of nobody; workers of a test are no processes."""
    return Totals(LogSink())


def value(text: bytes, name: str) -> str:
    """Return a sample."""
    return next(line.rsplit(" ", 1)[1] for line in text.decode().splitlines() if line.startswith(name + " "))


def test_counters_outlive_a_worker() -> None:
    """Never less than before, whoever dies and starts again; gauges are of those who live."""
    all_of = totals()
    one, two = Worker(1, 5), Worker(2, 7)
    name = 'gateway_exchanges_total{route="a"}'
    seen = [value(all_of.render([one, two], 2), name)]
    all_of.settle(one)
    all_of.settle(Worker(3, is_silent=True))
    seen.append(value(all_of.render([two], 2), name))
    again = Worker(1, 0)
    seen.append(value(all_of.render([again, two], 2), name))
    all_of.settle(again)
    text = all_of.render([Worker(1, 3), two], 2)

    assert ["12", "12", "12", "15"] == [*seen, value(text, name)]
    assert ("4", "2", "2") == (
        value(text, "gateway_connections"),
        value(text, "gateway_workers"),
        value(text, "gateway_workers_wanted"),
    )


def test_one_worker_that_serves_is_enough() -> None:
    """But a part that is not well in one that serves is not well, nor is a gateway that nobody serves."""
    all_of = totals()

    def ready(*workers: Worker, is_ready: bool = True, is_recorded: bool = True) -> bool:
        return all(all_of.readiness(workers, is_ready=is_ready, is_recorded=is_recorded).values())

    assert ready(Worker(1, audit=True), Worker(2, is_serving=False, audit=False), Worker(3, is_silent=True))
    assert not ready(Worker(1, audit=True), Worker(2, audit=False))
    assert not ready(Worker(1), is_ready=False)
    assert not ready(Worker(1), is_recorded=False)
    assert not ready(Worker(1, is_serving=False))
    assert not ready()


def test_status_names_every_worker() -> None:
    """What one says of all, with the gateway's own readiness and age."""
    said = totals().status([Worker(1), Worker(2, is_serving=False)], is_ready=True, uptime=9.0)

    assert (["a"], 9.0, True, 0) == (said["routes"], said["uptime_seconds"], said["ready"], said["restarts"])
    assert [(1, 1001, True), (2, 1002, False)] == [
        (one["worker"], one["pid"], one["serving"]) for one in said["workers"]
    ]
    assert {} == {
        key: value for key, value in totals().status([], is_ready=False, uptime=0).items() if key == "routes"
    }

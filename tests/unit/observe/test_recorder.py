"""What is written at the end of every request."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec
import pytest

from gateway.core.refusal import Reason, Refusal
from gateway.observe.audit import AuditLog
from gateway.observe.log import LogSink
from gateway.observe.metrics import Metrics
from gateway.observe.recorder import Observer
from gateway.observe.verify import verify
from tests.unit.observe.exchanges import ManualClock, malformed, refused, served

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.core.exchange import Exchange


class Traces:
    """Keeps what it is asked to export."""

    def __init__(self, *, fails: bool = False) -> None:
        self.exported: list[Exchange] = []
        self._fails = fails

    def is_wanted(self, ex: Exchange, /) -> bool:
        return ex.refusal is not None

    def export(self, ex: Exchange, /) -> None:
        if self._fails:
            raise KeyError("canary")
        self.exported.append(ex)


@pytest.fixture
def audit(tmp_path: Path) -> AuditLog:
    """Open a log whose thread is not started."""
    return AuditLog(tmp_path / "a.jsonl", clock=ManualClock())


def records(audit: AuditLog, tmp_path: Path) -> list[dict]:
    """Close the log and read its records."""
    assert audit.close()
    assert verify(tmp_path / "a.jsonl").is_intact
    return [msgspec.json.decode(line)["record"] for line in (tmp_path / "a.jsonl").read_bytes().splitlines()]


def test_everything_is_told_once(audit: AuditLog, tmp_path: Path) -> None:
    """Audit log, log, metrics and traces, from one encoding."""
    descriptor = os.open(tmp_path / "log", os.O_RDWR | os.O_CREAT)
    sink, metrics, traces = LogSink(descriptor), Metrics("1.0"), Traces()
    observer = Observer(audit=audit, metrics=metrics, log=sink, traces=traces)
    exchanges = [served(), refused(Refusal(Reason.RATE_EXCEEDED)), malformed()]
    for ex in exchanges:
        observer(ex)
    assert sink.close()
    os.close(descriptor)

    logged = [msgspec.json.decode(line) for line in (tmp_path / "log").read_bytes().splitlines()]
    recorded = records(audit, tmp_path)
    assert [{"event": "exchange", **record} for record in recorded] == logged
    assert ["served", "refused", "failed"] == [record["outcome"] for record in recorded]
    assert [exchanges[1]] == traces.exported
    assert b'outcome="served",reason=""} 1' in metrics.render()
    assert 0 == observer.failures


def test_log_and_traces_are_optional(audit: AuditLog, tmp_path: Path) -> None:
    """The audit log is not."""
    Observer(audit=audit, metrics=Metrics("1.0"))(served())

    assert 1 == len(records(audit, tmp_path))


def test_a_failure_in_traces_does_not_reach_the_request(audit: AuditLog, tmp_path: Path) -> None:
    """It is counted; the record stands."""
    observer = Observer(audit=audit, metrics=Metrics("1.0"), traces=Traces(fails=True))
    observer(refused(Refusal(Reason.RATE_EXCEEDED)))

    assert 1 == observer.failures
    assert 1 == len(records(audit, tmp_path))


def test_what_cannot_be_described_is_recorded_all_the_same(audit: AuditLog, tmp_path: Path) -> None:
    """An exchange that cannot be encoded leaves what is certain, and no exception text."""
    observer = Observer(audit=audit, metrics=Metrics("1.0"))
    ex = served()
    ex.usage.events = object()  # type: ignore[assignment]
    observer(ex)

    record = records(audit, tmp_path)[0]
    assert ("served", 200, "TypeError") == (record["outcome"], record["status"], record["fault"])
    assert "the record could not be encoded" == record["note"]
    assert 1 == observer.failures


def test_health_is_that_of_the_audit_log(audit: AuditLog) -> None:
    """Nobody is served while nothing can be recorded."""
    observer = Observer(audit=audit, metrics=Metrics("1.0"))

    assert observer.is_healthy
    audit.is_healthy = False
    assert not observer.is_healthy
    assert audit.close()

"""Numbers of several processes as one."""

from __future__ import annotations

import msgspec

from gateway.core.refusal import Reason, Refusal
from gateway.observe.families import Family, Fold, lasting, merge, text
from gateway.observe.metrics import Gauge, Metrics
from tests.unit.observe.exchanges import refused, served


def gauge(name: str, value: float, fold: Fold) -> Family:
    """Return a family of one gauge."""
    return Family(name, "gauge", "h", {name: value}, fold)


def test_counters_and_histograms_are_added() -> None:
    """Two processes' exchanges stand in one series, whatever route or end only one of them has seen."""
    one, other = Metrics("1.0"), Metrics("1.0")
    one.observe(served())
    one.observe(served())
    other.observe(served())
    other.observe(refused(Refusal(Reason.TOKEN_EXPIRED)))
    lines = text(merge([one.families(), other.families()])).decode().splitlines()

    assert 'gateway_exchanges_total{route="chat",outcome="served",reason=""} 3' in lines
    assert 1 == sum(line.startswith("# TYPE gateway_exchanges_total ") for line in lines)
    assert sum("token-expired" in line for line in lines) == 1
    assert 'gateway_exchange_seconds_count{route="chat"} 3' in lines
    assert 'gateway_build_info{version="1.0"} 1' in lines


def test_gauges_say_what_they_are_together() -> None:
    """A sum where things add up; the least where all must be well; the greatest where one is enough."""
    both = [
        [
            gauge("connections", 2, Fold.SUM),
            gauge("audit_healthy", 1.0, Fold.LEAST),
            gauge("age_seconds", 3.5, Fold.MOST),
        ],
        [
            gauge("connections", 3, Fold.SUM),
            gauge("audit_healthy", 0.0, Fold.LEAST),
            gauge("age_seconds", 1.5, Fold.MOST),
        ],
    ]

    assert {"connections": 5, "audit_healthy": 0.0, "age_seconds": 3.5} == {
        family.name: family.samples[family.name] for family in merge(both)
    }


def test_merging_changes_nobody() -> None:
    """What a process said stays as it said it: it is added up again at the next scrape."""
    one = [Family("a_total", "counter", "h", {"a_total": 1})]

    assert ([3, 3], 1) == (
        [merge([one, one, one])[0].samples["a_total"] for _ in range(2)],
        one[0].samples["a_total"],
    )


def test_what_outlives_a_process() -> None:
    """What it counted; how it stood does not."""
    metrics = Metrics(
        "1.0", [Gauge("connections", "h", lambda: 7), Gauge("lost_total", "h", lambda: 2, True)]
    )
    names = {family.name for family in lasting(metrics.families())}

    assert {"exchanges_total", "exchange_seconds", "lost_total"} <= names
    assert not {"connections", "build_info"} & names


def test_truth_is_a_number() -> None:
    """A gauge may be read as True."""
    metrics = Metrics("1.0", [Gauge("current", "h", lambda: True)])

    assert b"\ngateway_current 1\n" in metrics.render()


def test_families_travel() -> None:
    """They are the same on the other side of a pipe; whole numbers stay whole."""
    metrics = Metrics("1.0", [Gauge("big", "h", lambda: 12_345_678_901_234)])
    metrics.observe(served())
    sent = msgspec.msgpack.encode(metrics.families())
    arrived = msgspec.msgpack.decode(sent, type=list[Family])

    assert metrics.render() == text(arrived)
    assert b"\ngateway_big 12345678901234\n" in text(arrived)

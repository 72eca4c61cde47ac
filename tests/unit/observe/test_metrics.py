"""The numbers."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from gateway.core.exchange import Outcome
from gateway.core.refusal import Reason, Refusal
from gateway.observe import metrics as module
from gateway.observe.metrics import Gauge, Metrics
from tests.unit.observe.exchanges import ROUTE, malformed, refused, served

LINE = re.compile(r'[a-z_]+(\{[a-z_]+="([^"\\\n]|\\.)*"(,[a-z_]+="([^"\\\n]|\\.)*")*\})? [0-9.e+-]+')


def values(metrics: Metrics) -> dict[str, float]:
    """Parse the text, strictly."""
    text = metrics.render().decode()
    assert text.endswith("\n")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert [] == [line for line in lines if not LINE.fullmatch(line)]
    return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in lines}


def test_exchanges_are_counted_by_how_they_ended() -> None:
    """Route, outcome and reason; what never reached a route has none."""
    metrics = Metrics("1.0")
    metrics.observe(served())
    metrics.observe(served())
    metrics.observe(refused(Refusal(Reason.TOKEN_EXPIRED)))
    metrics.observe(malformed())
    gone = served()
    gone.outcome = Outcome.CLIENT_GONE
    metrics.observe(gone)
    found = values(metrics)

    assert 2 == found['gateway_exchanges_total{route="chat",outcome="served",reason=""}']
    assert 1 == found['gateway_exchanges_total{route="",outcome="refused",reason="token-expired"}']
    assert 1 == found['gateway_exchanges_total{route="",outcome="failed",reason=""}']
    assert 1 == found['gateway_exchanges_total{route="chat",outcome="client-gone",reason=""}']


def test_volume_and_tokens_are_summed() -> None:
    """Per route; an answer without usage adds nothing."""
    metrics = Metrics("1.0")
    silent = served()
    silent.usage.input_tokens = silent.usage.output_tokens = None
    for ex in (served(), served(), silent):
        metrics.observe(ex)
    found = values(metrics)

    names = ("bytes_in", "bytes_out", "input_tokens", "output_tokens")
    assert [3000, 1536, 20, 24] == [found[f'gateway_{name}_total{{route="chat"}}'] for name in names]


def test_histograms_are_cumulative() -> None:
    """Each bucket holds what is at most its bound; the last holds everything."""
    metrics = Metrics("1.0")
    for seconds in (0.0005, 0.001, 0.3, 1e6):
        ex = malformed()
        ex.ended_at = ex.began_at + seconds
        metrics.observe(ex)
    found = values(metrics)
    name = 'gateway_exchange_seconds_bucket{route="",le="%s"}'

    # 100.001 - 100.0 is a little more than a millisecond
    assert [1, 2, 2, 3, 3, 4] == [found[name % le] for le in ("0.001", "0.005", "0.25", "0.5", "300", "+Inf")]
    assert 4 == found['gateway_exchange_seconds_count{route=""}']
    assert 1_000_000.3015 == pytest.approx(found['gateway_exchange_seconds_sum{route=""}'], abs=0.01)


def test_backend_times_need_an_answer() -> None:
    """A refused exchange says nothing about the backend."""
    metrics = Metrics("1.0")
    metrics.observe(served())
    metrics.observe(refused(Refusal(Reason.TOKEN_EXPIRED)))
    found = values(metrics)

    assert 1 == found['gateway_first_byte_seconds_count{route="chat"}']
    assert 0 == found['gateway_first_byte_seconds_count{route=""}']
    assert 0.00015 == pytest.approx(found['gateway_decision_seconds_sum{route="chat"}'], rel=1e-6)


def test_gauges_are_read_when_asked() -> None:
    """Numbers that others keep."""
    numbers = iter([1.0, 2.0])
    metrics = Metrics(
        "1.0",
        [
            Gauge("audit_backlog", "Waiting.", lambda: next(numbers)),
            Gauge("lost_total", "L.", lambda: 3, is_counter=True),
        ],
    )

    assert [1, 2] == [values(metrics)["gateway_audit_backlog"] for _ in range(2)]
    with pytest.raises(StopIteration):
        metrics.render()


def test_counters_and_gauges_have_their_types() -> None:
    """Each metric has one TYPE and one HELP."""
    metrics = Metrics(
        "1.0", [Gauge("lost_total", "Lost.", lambda: 3, is_counter=True), Gauge("now", "Now.", lambda: 3)]
    )
    text = metrics.render().decode()
    types = re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE)

    assert ("gateway_lost_total", "counter") in types
    assert ("gateway_now", "gauge") in types
    assert len(dict(types)) == len(types) == text.count("# HELP")


def test_labels_are_escaped() -> None:
    """A route's name comes from the configuration and is not trusted to be tame."""
    metrics = Metrics('1"\\\n')
    ex = served()
    ex.route = replace(ROUTE, name='a"\\\nb')
    metrics.observe(ex)

    assert 'gateway_exchanges_total{route="a\\"\\\\\\nb",outcome="served",reason=""}' in values(metrics)


def test_the_number_of_series_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Over all reloads; what comes late shares one series."""
    monkeypatch.setattr(module, "MAX_ROUTES", 3)
    metrics = Metrics("1.0")
    for number in range(10):
        ex = served()
        ex.route = replace(ROUTE, name=f"r{number}")
        metrics.observe(ex)
    found = {
        name: value for name, value in values(metrics).items() if name.startswith("gateway_exchanges_total")
    }

    assert [0, 1, 1, 8] == list(found.values())

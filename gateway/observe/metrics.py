"""Metrics: plain integers on the hot path, Prometheus text (format 0.0.4) when somebody asks.

Labels come from the configuration and from closed vocabularies alone, never from a request, so that
no client can grow them. Not exact across threads: a scrape may see an exchange half counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, final

from gateway.core.exchange import Outcome
from gateway.observe.families import Family, Fold, text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from gateway.core.exchange import Exchange
    from gateway.observe.families import Kind

# Upper bounds in seconds: decisions are microseconds, answers of models minutes.
DECISION_BOUNDS = (25e-6, 50e-6, 1e-4, 2.5e-4, 5e-4, 1e-3, 5e-3, 0.025, 0.1, 1.0)
ANSWER_BOUNDS = (
    0.001,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
    60.0,
    300.0,
)
MAX_ROUTES: Final = 1000  # more than that, over all reloads, share one series
CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


@final
@dataclass(frozen=True, slots=True)
class Gauge:
    """One number that somebody else keeps.

    Args:
        name: Metric name, without the prefix `gateway_`.
        help: One line.
        read: Returns the value; called in another thread, must not block.
        is_counter: True if it only grows.
        fold: What the values of several workers are together.
        labels: Returns the labels in braces, from closed vocabularies; None: there are none.
    """

    name: str
    help: str
    read: Callable[[], float]
    is_counter: bool = False
    fold: Fold = Fold.SUM
    labels: Callable[[], str] | None = None


@final
class Histogram:
    """Fixed buckets. `add` is the hot path's inline code, written out in `RouteSeries`."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds: tuple[float, ...] = tuple(bounds)
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def add(self, seconds: float) -> None:
        """Count one duration."""
        at = 0
        for bound in self.bounds:  # short durations are the usual ones; a loop is compiled, `bisect` called
            if seconds <= bound:
                break
            at += 1
        self.counts[at] += 1
        self.sum += seconds


@final
class RouteSeries:
    """Everything counted for one route."""

    __slots__ = (
        "bytes_in",
        "bytes_out",
        "decision",
        "duration",
        "ended",
        "first_byte",
        "input_tokens",
        "output_tokens",
        "served",
    )

    def __init__(self) -> None:
        self.served = 0
        self.ended: dict[tuple[str, str], int] = {}  # outcome and reason, other than served
        self.decision = Histogram(DECISION_BOUNDS)
        self.first_byte = Histogram(ANSWER_BOUNDS)
        self.duration = Histogram(ANSWER_BOUNDS)
        self.bytes_in = 0
        self.bytes_out = 0
        self.input_tokens = 0
        self.output_tokens = 0


@final
class Metrics:
    """The numbers of one process.

    Args:
        version: Version of the gateway, for `gateway_build_info`.
        gauges: Numbers that others keep: connections, backlog, ages.
    """

    def __init__(self, version: str, gauges: Iterable[Gauge] = ()) -> None:
        self._version = version
        self._gauges = tuple(gauges)
        self._routes: dict[str, RouteSeries] = {"": RouteSeries()}

    def observe(self, ex: Exchange) -> None:
        """Count a finished exchange."""
        series = self._routes.get("" if ex.route is None else ex.route.name)
        if series is None:
            series = self._series("" if ex.route is None else ex.route.name)
        ended = ex.ended_at
        series.duration.add(ended - ex.began_at)
        if ex.answered_at:
            series.decision.add(ex.forwarded_at - ex.began_at)
            series.first_byte.add(ex.answered_at - ex.forwarded_at)
        series.bytes_in += ex.bytes_in
        series.bytes_out += ex.bytes_out
        usage = ex.usage
        if usage.output_tokens is not None:
            series.output_tokens += usage.output_tokens
        if usage.input_tokens is not None:
            series.input_tokens += usage.input_tokens
        if ex.outcome is Outcome.SERVED:
            series.served += 1
            return
        key = (ex.outcome.value, "" if ex.refusal is None else ex.refusal.reason.value)
        series.ended[key] = series.ended.get(key, 0) + 1

    def render(self) -> bytes:
        """Return everything as Prometheus text. Takes milliseconds: call it off the loop."""
        return text(self.families())

    def families(self) -> list[Family]:
        """Return everything as values. Takes milliseconds: call it off the loop."""
        routes = [(_label(name), series) for name, series in self._routes.copy().items()]
        version = f'build_info{{version="{_label(self._version)}"}}'
        found = [
            Family("build_info", "gauge", "Version of the gateway.", {version: 1}, Fold.MOST),
            Family("exchanges_total", "counter", "Requests, by how they ended.", _ends(routes)),
        ]
        for name, meaning in _COUNTERS:
            field = name.removesuffix("_total")
            counts = {f'{name}{{route="{route}"}}': getattr(series, field) for route, series in routes}
            found.append(Family(name, "counter", meaning, counts))
        for name, field, meaning in _HISTOGRAMS:
            found.append(_histogram(name, meaning, [(route, getattr(one, field)) for route, one in routes]))
        found += [family_of(gauge) for gauge in self._gauges]
        return found

    def _series(self, route: str) -> RouteSeries:
        name = route if len(self._routes) < MAX_ROUTES else "(other)"
        return self._routes.setdefault(name, RouteSeries())


def family_of(gauge: Gauge) -> Family:
    """Read a gauge."""
    kind: Kind = "counter" if gauge.is_counter else "gauge"
    sample = gauge.name if gauge.labels is None else gauge.name + gauge.labels()
    return Family(gauge.name, kind, gauge.help, {sample: +gauge.read()}, gauge.fold)  # + makes truth a number


_COUNTERS: Final = (
    ("bytes_in_total", "Bytes of request bodies."),
    ("bytes_out_total", "Bytes of answers."),
    ("input_tokens_total", "Input tokens, as backends report them."),
    ("output_tokens_total", "Output tokens, as backends report them."),
)
_DECISION: Final = "From the head of a request to its way to the backend, the arrival of its body included."
_HISTOGRAMS: Final = (
    ("decision_seconds", "decision", _DECISION),
    ("first_byte_seconds", "first_byte", "From a request sent to the head of the backend's answer."),
    ("exchange_seconds", "duration", "From the head of a request to the end of its answer."),
)


def _label(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _ends(routes: list[tuple[str, RouteSeries]]) -> dict[str, int | float]:
    samples: dict[str, int | float] = {}
    for route, series in routes:
        samples[f'exchanges_total{{route="{route}",outcome="served",reason=""}}'] = series.served
        for (outcome, reason), count in series.ended.copy().items():
            samples[f'exchanges_total{{route="{route}",outcome="{outcome}",reason="{reason}"}}'] = count
    return samples


def _histogram(name: str, meaning: str, series: list[tuple[str, Histogram]]) -> Family:
    samples: dict[str, int | float] = {}
    for route, histogram in series:
        total = 0
        counts = histogram.counts.copy()
        for bound, count in zip(histogram.bounds, counts, strict=False):
            total += count
            samples[f'{name}_bucket{{route="{route}",le="{bound:g}"}}'] = total
        total += counts[-1]
        samples[f'{name}_bucket{{route="{route}",le="+Inf"}}'] = total
        samples[f'{name}_sum{{route="{route}"}}'] = histogram.sum
        samples[f'{name}_count{{route="{route}"}}'] = total
    return Family(name, "histogram", meaning, samples)

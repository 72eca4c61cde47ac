"""Families of metrics as values: what one process counted, to be added to what others did, and written.

Decides how numbers of several processes become one: counters and histograms are added, of gauges each
says itself whether its sum, its least or its greatest is the truth. Counts nothing, asks nobody.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Literal, TypeAlias, final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

Kind: TypeAlias = Literal["counter", "gauge", "histogram"]


@final
class Fold(Enum):
    """What several processes' values of one gauge are together."""

    SUM = "sum"
    LEAST = "least"
    MOST = "most"


@final
class Family(msgspec.Struct, array_like=True):
    """All samples of one name.

    Args:
        name: Metric name, without the prefix `gateway_`.
        kind: Prometheus' word for it.
        help: One line.
        samples: Value by name with labels, as written, without the prefix.
        fold: For a gauge; counters and histograms are added.
    """

    name: str
    kind: Kind
    help: str
    samples: dict[str, int | float]
    fold: Fold = Fold.SUM


def merge(processes: Iterable[Iterable[Family]]) -> list[Family]:
    """Make one set of families out of those of several processes, in the order of the first.

    Args:
        processes: What each process counted; left as it is.
    """
    merged: dict[str, Family] = {}
    for families in processes:
        for family in families:
            known = merged.get(family.name)
            if known is None:
                merged[family.name] = msgspec.structs.replace(family, samples=family.samples.copy())
                continue
            samples = known.samples
            for name, value in family.samples.items():
                samples[name] = _fold(known.fold, samples[name], value) if name in samples else value
    return list(merged.values())


def lasting(families: Iterable[Family]) -> list[Family]:
    """Return what stays true of a process that has ended: what it counted, not how it stood."""
    return [family for family in families if family.kind != "gauge"]


def text(families: Iterable[Family]) -> bytes:
    """Write families as Prometheus text (format 0.0.4)."""
    out: list[str] = []
    for family in families:
        out.append(f"# HELP gateway_{family.name} {family.help}")
        out.append(f"# TYPE gateway_{family.name} {family.kind}")
        digits = 9 if family.kind == "histogram" else 17
        out.extend(f"gateway_{name} {_number(value, digits)}" for name, value in family.samples.items())
    out.append("")
    return "\n".join(out).encode()


def _fold(fold: Fold, one: float, other: float) -> float:
    if fold is Fold.SUM:
        return one + other
    return min(one, other) if fold is Fold.LEAST else max(one, other)


def _number(value: float, digits: int) -> str:
    return str(value) if isinstance(value, int) else f"{value:.{digits}g}"

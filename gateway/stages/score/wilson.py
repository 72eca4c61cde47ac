"""How large a share surely is, from few observations: Wilson's lower bound (Wilson, 1927).

Three refusals of three requests prove less than thirty of thirty; the bound says how much less, so
that a handful of mistakes is not taken for an attack.
"""

from __future__ import annotations

from math import sqrt
from typing import Final

Z: Final = 2.576
"""Quantile of the normal distribution: the true share is below the bound in 1 of 200 cases."""


def lower_bound(hits: float, trials: float) -> float:
    """Return the lower end of the confidence interval of a share.

    Args:
        hits: How often it happened; decayed counters need not be whole.
        trials: How often it could have happened.

    Returns:
        A share in [0, 1]; 0 without trials.
    """
    if trials <= 0.0 or hits <= 0.0:
        return 0.0
    share = min(hits / trials, 1.0)
    square = Z * Z / trials
    middle = share + square / 2
    margin = Z * sqrt((share * (1 - share) + square / 4) / trials)
    return max(0.0, (middle - margin) / (1 + square))


def strength(bound: float, base: float) -> float:
    """Map a share above what is usual to (0, 1]; 0 at the usual share and below."""
    return max(0.0, (bound - base) / (1.0 - base))

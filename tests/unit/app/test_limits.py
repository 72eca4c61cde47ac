"""Limits of the configuration become limits of the line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gateway.app.findings import Findings
from gateway.app.limits import compile_budgets, compile_limits
from gateway.config.errors import ConfigurationError
from gateway.core.budgets import Budget, Measure, RouteBudgets
from tests.unit.config.writing import load_variant

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.core.limits import RouteLimits


def compiled(directory: Path, limits: dict[str, object], **more: object) -> tuple[RouteLimits, RouteBudgets]:
    """Compile the limits of one route."""
    loaded = load_variant(directory, {"routes.0.limits": limits, **more})
    route = loaded.settings.routes[0]
    findings = Findings(loaded)
    budgets = compile_budgets(route, ("routes", 0), loaded.settings, findings, is_local=True)
    findings.conclude()
    return compile_limits(route, 5.0, is_local=True), budgets


def test_requests_per_identity_stay_with_the_head(tmp_path: Path) -> None:
    """Nothing of the old shape becomes a budget."""
    limits, budgets = compiled(tmp_path, {"requests": ["60/minute"], "burst": 5, "concurrent": 4})

    assert [("60/minute", 5)] == [(rate.name, rate.burst) for rate in limits.rates]
    assert limits.concurrency is not None
    assert () == budgets.budgets


def test_what_is_kept_apart_by_more_is_a_budget(tmp_path: Path) -> None:
    """A burst is a quota that is whole again in its part of the period."""
    limits, budgets = compiled(
        tmp_path, {"per": ["identity", "model"], "requests": "60/minute", "burst": 6, "concurrent": 4}
    )
    rate, level = budgets.budgets

    assert () == limits.rates
    assert limits.concurrency is None
    assert ("requests 60/minute per identity, model", 6, 6.0) == (rate.name, rate.quota, rate.period)
    assert (Measure.CONCURRENT, 4, 0.0) == (level.measure, level.quota, level.period)


def test_names_tell_budgets_apart(tmp_path: Path) -> None:
    """What clients and records read says what the configuration says."""
    limits = {
        "tokens": "100000/day", "streams": 2, "overdraft": "end",
        "budget": {"window": "week", "stream_time": "1h"}, "shared": ["team"],
        "more": [
            {"per": ["network/24", "claim:team"], "roles": ["user"], "models": ["llama-*"], "output_tokens": "9999/day"}
        ],
    }  # fmt: skip
    _, budgets = compiled(tmp_path, limits, budgets={"team": {"bytes_out": "1GiB/day"}})
    by_name: dict[str, Budget] = {budget.name: budget for budget in budgets.budgets}

    assert [
        "streams 2",
        "tokens 100000/day",
        "stream_time 3600000/week UTC",
        "output_tokens 9999/day per network/24/64, claim:team for user, llama-*",
        "team bytes_out 1GiB/day",
    ] == list(by_name)
    special = by_name["output_tokens 9999/day per network/24/64, claim:team for user, llama-*"]
    assert special.is_for is not None
    assert (True, False) == (special.is_for("llama-3"), special.is_for("tiny"))
    assert ("", False, True) == (
        by_name["team bytes_out 1GiB/day"].scope,
        special.is_extending,
        special.is_local_on_failure,
    )


def test_the_same_limit_twice_is_an_error(tmp_path: Path) -> None:
    """Two limits of one name would charge one account twice."""
    with pytest.raises(ConfigurationError, match="the same limit stands twice"):
        compiled(tmp_path, {"tokens": "100000/day", "more": [{"tokens": "100000/day"}]})

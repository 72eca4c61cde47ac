"""Every limit can match a request, and every request can satisfy it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gateway.core.budgets import Dimension, Key
from tests.unit.config.writing import load_variant, messages

if TYPE_CHECKING:
    from pathlib import Path

LIMITS = "routes.0.limits"
PRICES = {"llama": {"input": 0.2, "output": 0.6}}
TOKENS = {"tokens": "100000/day"}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {LIMITS: {"overdraft": "end"}},
            "`overdraft` has no effect: nothing here can be outrun by an answer",
        ),
        ({LIMITS: {"output_cap": 5}}, "`output_cap` has no effect: no output tokens are limited"),
        ({LIMITS: {"shared": ["team"]}}, "there is no budget `team`"),
        (
            {LIMITS: {"shared": ["team", "team"]}, "budgets": {"team": TOKENS}},
            "the same budget stands twice",
        ),
        ({"budgets": {"team": TOKENS}}, "no route draws on the budget `team`: it limits nobody"),
        (
            {LIMITS: {"cost": "5/day"}, "prices": PRICES | {"ll*": {"input": 1, "output": 1}}},
            "`ll*` is a pattern, and a price is that of one model",
        ),
        ({LIMITS: {"cost": "5/day"}}, "cost is limited, and no model has a price"),
        (
            {
                LIMITS: {"cost": "5/day"},
                "prices": PRICES,
                "routes.0.allow": [{"name": "users", "models": ["tiny", "llama", "x*"]}],
            },
            "cost is limited, and `tiny` has no price: it would always be refused",
        ),
        ({LIMITS: {"tokens": ["100000/day", "100000/day"]}}, "the same rate stands twice"),
        ({LIMITS: {"budget": {"window": "day"}}}, "this budget limits nothing"),
        ({LIMITS: {"per": [], **TOKENS}}, "limits are kept apart by nothing"),
        ({LIMITS: {"per": ["model", "model"], **TOKENS}}, "the same stands twice"),
        ({LIMITS: {"more": [{"per": "model"}]}}, "nothing is limited here"),
        (
            {LIMITS: {"per": "certificate", **TOKENS}},
            "limits are kept apart by certificates, but the listener never asks for one",
        ),
        (
            {LIMITS: {"per": "claim:team", **TOKENS}, "identity": {"anonymous": {"roles": ["user"]}}},
            "limits are kept apart by a claim, but no issuer is believed",
        ),
        ({LIMITS: {"models": [], **TOKENS}}, "an empty list of models: this limit can never match"),
        ({LIMITS: {"roles": ["nobody"], **TOKENS}}, "there is no role `nobody`"),
        (
            {"routes.0.dialect": "opaque", LIMITS: {"tokens": "100000/day"}},
            "answers of the dialect `opaque` say nothing of tokens: this limit can never match",
        ),
        (
            {"routes.0.dialect": "opaque", LIMITS: {"requests": "6/minute", "per": "model"}},
            "requests of the dialect `opaque` name no model: this limit can never match",
        ),
        (
            {"routes.0.dialect": "json", LIMITS: {"streams": 2}},
            "requests of the dialect `json` ask for no stream: this limit can never match",
        ),
        (
            {"routes.0.dialect": "json", LIMITS: {"budget": {"window": "day", "stream_time": "1h"}}},
            "requests of the dialect `json` ask for no stream: this limit can never match",
        ),
        (
            {LIMITS: {"budget": {"window": "day", "tokens": 1000}}},
            "a limit of 1000 tokens has no room for one answer: 1024 are reserved where the client names no cap",
        ),
        (
            {LIMITS: {"shared": ["team"]}, "budgets": {"team": {**TOKENS, "per": []}}},
            "limits are kept apart by nothing",
        ),
        (
            {
                LIMITS: {"shared": ["team"]},
                "budgets": {"team": {"streams": 2}},
                "routes.0.dialect": "json",
            },
            "requests of the dialect `json` ask for no stream: this limit can never match",
        ),
        ({LIMITS: {"tokens": "5/2 months"}}, "`5/2 months` is about more than a month"),
        ({LIMITS: {"cost": "0/day"}}, "`0/day` is nothing at all"),
        ({LIMITS: {"bytes_out": "999999999GiB/day"}}, "is more than anything can count"),
        ({LIMITS: {"budget": {"window": "day", "cost": True}}}, "expected an amount of money, found `true`"),
        ({LIMITS: {"budget": {"window": "day", "cost": 0.0000001}}}, "is no amount of money"),
        ({LIMITS: {"budget": {"window": "day", "tokens": 9999, "zone": "Mars/Olympus"}}}, "is no time zone"),
        ({LIMITS: {"per": "network/33", **TOKENS}}, "`network/33` is no length of a prefix"),
        ({LIMITS: {"per": "shoe", **TOKENS}}, "limits cannot be kept apart by `shoe`"),
    ],
)
def test_says_what_is_wrong(tmp_path: Path, changes: dict[str, object], expected: str) -> None:
    """Each with its place, and a mend."""
    assert any(expected in str(found) for found in messages(tmp_path, changes)), messages(tmp_path, changes)


def test_everything_that_can_be_limited_loads(tmp_path: Path) -> None:
    """The shapes of docs/limits.md."""
    limits = {
        "requests": "60/minute", "concurrent": 4, "tokens": "100000/day", "stream_time": "1h/day",
        "budget": {"tokens": 5_000_000, "cost": 5, "window": "month", "zone": "Europe/Berlin"},
        "overdraft": "end", "output_cap": 100, "shared": ["team"],
        "more": [{"per": ["claim:team", "network/24/56", "model"], "bytes_out": "1GiB/day", "streams": 2}],
    }  # fmt: skip
    changes = {
        LIMITS: limits,
        "budgets": {"team": {"cost": "5.50/day"}},
        "prices": PRICES | {"*": {"input": 1, "output": 2}},
    }
    settings = load_variant(tmp_path, changes).settings
    found = settings.routes[0].limits

    assert (Key(Dimension.CLAIM, claim="team"), Key(Dimension.NETWORK, prefix4=24, prefix6=56)) == found.more[
        0
    ].per[:2]
    assert (5_000_000, 200_000, 5_500_000) == (
        found.budget[0].cost,
        settings.prices["llama"].input,
        settings.budgets["team"].cost[0].amount,
    )
    assert 3_600_000 == found.stream_time[0].amount

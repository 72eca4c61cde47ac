"""No route reaches what servers are managed by without saying so."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.unit.config.writing import load_variant, messages

if TYPE_CHECKING:
    from pathlib import Path

OPEN = {"routes.0.dialect": "opaque"}
PATH = "routes.0.match.path"
NAMED = "routes.0.management"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({PATH: "/v1/**"}, "/v1/** reaches what servers are managed by: lora"),
        (
            {PATH: "/v2/models/**"},
            "/v2/models/** reaches what servers are managed by: tracing, configuration, statistics",
        ),
        ({PATH: "/metrics"}, "/metrics reaches what servers are managed by: statistics"),
        (
            {PATH: "/metrics", NAMED: []},
            "/metrics is nothing but the management surface `statistics`, which is closed",
        ),
        (
            {PATH: "/metrics", "routes.0.dialect": "oip"},
            "/metrics is nothing but the management surface `statistics`, which is closed",
        ),
        ({PATH: "/v1/**", NAMED: ["slots"]}, "/v1/** does not reach the management surface `slots`"),
    ],
)
def test_what_is_reached_is_named(tmp_path: Path, changes: dict[str, object], expected: str) -> None:
    """A path that reaches a surface says which ones are open; nothing else is named."""
    assert [expected] == [message for _, message in messages(tmp_path, OPEN | changes)]


@pytest.mark.parametrize(
    "changes",
    [
        {PATH: "/v1/**", NAMED: []},
        {PATH: "/v1/**", NAMED: ["lora"]},
        {PATH: "/metrics", NAMED: ["statistics"]},
        {PATH: "/v2/**", "routes.0.dialect": "oip"},
        {PATH: "/v1/images/**"},
    ],
)
def test_what_is_named_loads(tmp_path: Path, changes: dict[str, object]) -> None:
    """Closed or open, as it is written; a dialect that has paths of its own needs no word."""
    load_variant(tmp_path, OPEN | changes)

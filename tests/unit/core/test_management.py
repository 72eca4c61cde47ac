"""What inference servers are managed by, and which patterns reach it."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.routing import Surface
from gateway.core.management import SURFACES, is_managed, reached
from gateway.core.route import is_match, pattern_segments
from tests.house.tree import ROOT

ALL = tuple(pattern for patterns in reached("/**").values() for pattern in patterns)


@pytest.mark.parametrize(
    ("route", "surfaces"),
    [
        ("/**", set(SURFACES)),
        (
            "/v2/**",
            {"model-repository", "shared-memory", "tracing", "logging", "configuration", "statistics"},
        ),
        ("/v2/models/**", {"tracing", "configuration", "statistics"}),
        ("/v1/**", {"lora"}),
        ("/v1/{anything}", {"lora"}),
        ("/{anything}", {"tracing", "configuration", "statistics", "slots", "lora", "engine"}),
        ("/metrics", {"statistics"}),
        ("/slots/{id}", {"slots"}),
        ("/v2/repository/index", {"model-repository"}),
        ("/v2/models/{model}/infer", set()),
        ("/v2/models/{model}", {"statistics"}),
        ("/v1/models/{model}", set()),
        ("/v1/chat/completions", set()),
        ("/v1/audio/**", set()),
    ],
)
def test_finds_what_a_pattern_reaches(route: str, surfaces: set[str]) -> None:
    """Literal paths, placeholders and wildcards alike."""
    assert surfaces == set(reached(route))


@pytest.mark.parametrize(
    "path",
    [
        "/v2/repository/models/x/load",
        "/v2/Repository/index",
        "/v2/systemsharedmemory/region/r/register",
        "/metrics",
        "/metrics/",
        "/METRICS",
        "/slots/0",
        "/slots",
        "/v1/load_lora_adapter",
        "/v2/models/stats",
        "/v2/models/m/versions/1/trace/setting",
        "/v2/logging/",
    ],
)
def test_finds_a_managed_path(path: str) -> None:
    """In any case, and with a slash at its end."""
    assert is_managed(path, ALL)


@pytest.mark.parametrize(
    "path", ["/", "/v1/chat/completions", "/v2/models/m/infer", "/v2/models/m", "/v1/metrics"]
)
def test_leaves_the_others_alone(path: str) -> None:
    """Models are served elsewhere."""
    assert not is_managed(path, ALL)


PART = st.sampled_from(["v2", "v1", "models", "{x}", "repository", "stats", "slots", "trace", "sleep", "a"])


@given(st.lists(PART, min_size=1, max_size=5), st.booleans(), st.data())
def test_no_path_escapes(parts: list[str], rest: bool, data: st.DataObject) -> None:
    """Whatever matches a route's pattern and is managed is in what the pattern is said to reach."""
    pattern = "/" + "/".join([*parts, "**"] if rest else parts)
    words = st.sampled_from(["v2", "repository", "models", "stats", "slots", "trace", "sleep", "config", "a"])
    segments = [data.draw(words) if part == "{x}" else part for part in parts]
    segments += data.draw(st.lists(words, min_size=1, max_size=3)) if rest else []
    path = "/" + "/".join(segments)
    closed = tuple(one for patterns in reached(pattern).values() for one in patterns)

    assert is_match(pattern_segments(pattern), segments)
    assert is_managed(path, ALL) == is_managed(path, closed)


def test_the_configuration_and_the_page_know_each_surface() -> None:
    """What a route can name is what there is, and docs/management.md has every path."""
    page = (ROOT / "docs/management.md").read_text()

    assert set(SURFACES) == set(get_args(Surface))
    assert [] == [name for name in SURFACES if f"\n| `{name}` | " not in page]
    assert [] == [path for paths in SURFACES.values() for path in paths if f"`{path}`" not in page]

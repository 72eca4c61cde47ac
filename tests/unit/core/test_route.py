"""Which method and path means which route."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.route import Bounds, Requirements, Route, RouteTable, is_match, pattern_segments
from tests.doubles.line import Line

BASE = Line().route


def route(name: str, path: str, *methods: str) -> Route:
    """Return a route of which only the match matters."""
    return replace(BASE, name=name, path=path, methods=frozenset(methods or ("POST",)))


TABLE = RouteTable(
    [
        route("chat", "/v1/chat/completions"),
        route("chat-again", "/v1/chat/completions"),
        route("models", "/v1/models", "GET", "HEAD"),
        route("model", "/v1/models/{model}", "GET"),
        route("gpt", "/v1/models/gpt", "GET"),
        route("files", "/files/{owner}/**", "GET", "PUT"),
        route("rest", "/rest/**"),
    ]
)


@pytest.mark.parametrize(
    ("method", "path", "name"),
    [
        ("POST", "/v1/chat/completions", "chat"),
        ("GET", "/v1/chat/completions", None),
        ("POST", "/v1/chat/completions/", None),
        ("POST", "/v1/chat", None),
        ("POST", "/V1/chat/completions", None),
        ("GET", "/v1/models", "models"),
        ("HEAD", "/v1/models", "models"),
        ("GET", "/v1/models/llama", "model"),
        ("GET", "/v1/models/gpt", "gpt"),
        ("GET", "/v1/models/", None),
        ("GET", "/v1/models/a/b", None),
        ("POST", "/v1/models/llama", None),
        ("PUT", "/files/ada/a/b/c", "files"),
        ("PUT", "/files/ada/", "files"),
        ("PUT", "/files/ada", None),
        ("PUT", "/files//a", None),
        ("POST", "/rest/a", "rest"),
        ("POST", "/rest", None),
        ("GET", "/", None),
    ],
)
def test_a_request_finds_its_route(method: str, path: str, name: str | None) -> None:
    """Literal paths first, then patterns in order; a segment is never empty; nothing else matches."""
    found = TABLE.match(method, path)

    assert name == (None if found is None else found.name)


def test_a_table_without_patterns_looks_once() -> None:
    """What is not literal is not there."""
    table = RouteTable([route("chat", "/v1/chat")])

    assert table.match("POST", "/v1/other") is None
    assert "chat" == getattr(table.match("POST", "/v1/chat"), "name", None)


def test_an_empty_table_matches_nothing() -> None:
    """Default deny."""
    assert RouteTable([]).match("GET", "/") is None


SEGMENT = st.text("abc{}*", min_size=0, max_size=3)


@given(st.lists(SEGMENT, min_size=1, max_size=4))
def test_a_literal_pattern_matches_itself_alone(segments: list[str]) -> None:
    """Without parameters a pattern is one path."""
    literal = [segment.strip("{}*") for segment in segments]

    assert is_match(tuple(literal), literal)
    assert not is_match((*literal, "x"), literal)
    assert not is_match(tuple(literal), [*literal[:-1], literal[-1] + "x"])


@given(st.lists(st.sampled_from(["a", "b", ""]), min_size=1, max_size=5))
def test_a_rest_needs_something_to_follow(segments: list[str]) -> None:
    """`/a/**` takes everything below `/a/`, and `/a` itself not."""
    assert is_match(("a", "**"), segments) is (segments[0] == "a" and len(segments) > 1)


def test_segments() -> None:
    """The leading slash is no segment."""
    assert ("v1", "{model}", "**") == pattern_segments("/v1/{model}/**")


def test_defaults_are_safe() -> None:
    """Bounds are there without being asked for; a requirement is only what somebody wrote."""
    bounds = Bounds()

    assert (1 << 20, 30.0, 64 << 20) == (bounds.body, bounds.body_time, bounds.answer)
    assert (False, False, False, frozenset(), None) == (
        (it := Requirements()).certificate,
        it.token,
        it.bound,
        it.scopes,
        it.max_age,
    )
    assert BASE.bounds == bounds


def test_a_wildcard_reaches_no_management() -> None:
    """What servers are managed by is part of a route only if it is named; a literal path is no exception."""
    table = RouteTable(
        [
            route("metrics", "/metrics", "GET"),
            replace(route("repository", "/v2/**", "GET"), management=frozenset({"model-repository"})),
            route("rest", "/{a}/**", "GET"),
            replace(route("slots", "/slots", "GET"), management=frozenset({"slots"})),
        ]
    )

    def found(path: str) -> str | None:
        match = table.match("GET", path)
        return None if match is None else match.name

    assert ["repository", "repository", "rest", "slots"] == [
        found(path) for path in ("/v2/repository/index", "/v2/models/m", "/v1/models", "/slots")
    ]
    assert [None] * 5 == [
        found(path)
        for path in ("/metrics", "/v2/logging", "/v2/Models/m/Stats", "/v1/load_lora_adapter", "/slots/1")
    ]

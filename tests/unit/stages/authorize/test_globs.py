"""Model names in rules."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.stages.authorize.globs import MAX_NAME, MAX_REMEMBERED, ModelSet


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("llama", "llama", True),
        ("llama", "llama2", False),
        ("llama", "Llama", False),
        ("llama*", "llama", True),
        ("llama*", "llama-3-8b", True),
        ("llama*", "my-llama", False),
        ("*llama", "my-llama", True),
        ("*", "anything", True),
        ("*", "", True),
        ("*", "org/model", False),
        ("org/*", "org/model", True),
        ("org/*", "org/a/b", False),
        ("*/*", "org/model", True),
        ("a*b*c", "a-b-c", True),
        ("a*b*c", "a-c-b", False),
        ("a*b*c", "a-c", False),
        ("ab*ba", "aba", False),
        ("a*a", "a", False),
        ("a.c", "abc", False),
        ("a?c", "abc", False),
        ("[ab]", "a", False),
        ("llama*", "llama\n", True),
        ("llama", "llama\n", False),
    ],
)
def test_a_star_stands_for_text_without_slash_and_nothing_else_is_special(
    pattern: str, name: str, expected: bool
) -> None:
    """Patterns are anchored and case-sensitive; only `*` means something, and never a `/`."""
    models = ModelSet([pattern])

    assert expected is (name in models)
    assert expected is (name in models), "a remembered answer is the same answer"


@given(
    st.lists(st.text("ab*/", max_size=8), min_size=1, max_size=3),
    st.text("ab/", max_size=10),
)
def test_patterns_agree_with_a_regular_expression(patterns: list[str], name: str) -> None:
    """The linear matcher says what the obvious, backtracking one says."""
    texts = ["[^/]*".join(re.escape(part) for part in pattern.split("*")) for pattern in patterns]

    assert any(re.fullmatch(text, name) for text in texts) is (name in ModelSet(patterns))


def test_what_is_remembered_is_bounded_in_number_and_length() -> None:
    """Names come from the client, so neither many nor long ones grow the memory."""
    models = ModelSet(["x*"])
    for number in range(MAX_REMEMBERED + 10):
        assert f"y{number}" not in models
    assert "x" + "a" * MAX_NAME in models

    assert len(models._known) == 10


def test_a_set_covers_literals_that_its_patterns_match_and_patterns_it_names() -> None:
    """Cover is claimed only where it is plain."""
    deny = ModelSet(["secret*", "gpt-4"])

    assert deny.covers(ModelSet(["secret-1", "gpt-4", "secret*"]))
    assert not deny.covers(ModelSet(["secret-*"])), "true, but not plain: not claimed"
    assert not deny.covers(ModelSet(["secret-1", "other"]))

"""The schemas that come with the gateway."""

from __future__ import annotations

import pytest

from gateway.stages.inspect.builtin import load_builtin

CHAT: dict[str, object] = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
EMBEDDINGS: dict[str, object] = {"model": "m", "input": "hi"}
SMALLEST = [
    ("openai.chat", CHAT),
    ("openai.embeddings", EMBEDDINGS),
    ("openai.completions", {"model": "m", "prompt": "hi"}),
    ("openai.responses", EMBEDDINGS),
    ("openai.moderations", EMBEDDINGS),
    ("openai.images", {"model": "m", "prompt": "hi"}),
    ("anthropic.messages", CHAT | {"max_tokens": 16}),
    ("anthropic.count_tokens", CHAT),
]


@pytest.mark.parametrize(("name", "document"), SMALLEST)
def test_is_closed_unless_opened(name: str, document: dict[str, object]) -> None:
    """An unknown member passes only where the route lets extra fields pass."""
    extended = document | {"unknown_1": {"any": "thing"}}

    assert load_builtin(name).check(extended) is not None
    assert load_builtin(name, extra_fields=True).check(extended) is None
    assert load_builtin(name, extra_fields=True).check(document) is None


@pytest.mark.parametrize(("name", "document"), SMALLEST)
@pytest.mark.parametrize("member", ["Model", "MODEL", "mode\u017f", "\u212a", " model", "", "a-b", "x" * 65])
def test_never_passes_a_second_spelling(name: str, document: dict[str, object], member: str) -> None:
    """A backend that folds case must not read another model than the policy did."""
    assert load_builtin(name, extra_fields=True).check(document | {member: "other"}) is not None


def test_opens_messages_too() -> None:
    """Extensions of messages are as common as those of the request."""
    document = CHAT | {"messages": [{"role": "user", "content": "hi", "weight": 1}]}
    folded = CHAT | {"messages": [{"role": "user", "content": "hi", "Content": "ho"}]}

    assert load_builtin("openai.chat").check(document) is not None
    assert load_builtin("openai.chat", extra_fields=True).check(document) is None
    assert load_builtin("openai.chat", extra_fields=True).check(folded) is not None


def test_keeps_its_bounds_when_opened() -> None:
    """What the schema knows stays checked."""
    assert load_builtin("openai.chat", extra_fields=True).check(CHAT | {"n": 129}) is not None

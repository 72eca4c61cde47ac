"""What a body asks for."""

from __future__ import annotations

from gateway.core.prompt import Prompt


def test_an_empty_prompt_asks_for_nothing() -> None:
    """What a dialect does not say is absent, never guessed; one answer is the least."""
    prompt = Prompt()

    assert (None, False, None, 1, 0, 0, None, 0, 0, None) == (
        prompt.model,
        prompt.stream,
        prompt.output_cap,
        prompt.choices,
        prompt.messages,
        prompt.tools,
        prompt.temperature,
        prompt.size,
        prompt.fingerprint,
        prompt.document,
    )


def test_a_prompt_keeps_what_it_is_told() -> None:
    """Every field is its own."""
    values = {
        "stream": True,
        "output_cap": 5,
        "choices": 2,
        "messages": 3,
        "tools": 4,
        "temperature": 0.5,
        "size": 6,
        "fingerprint": 7,
        "document": {"a": 1},
    }
    prompt = Prompt("tiny", **values)  # type: ignore[arg-type]  # one dictionary for all kinds

    assert {"model": "tiny"} | values == {name: getattr(prompt, name) for name in Prompt.__slots__}

"""OpenAI completions: `POST /v1/completions`.

Reads from a body that its schema has passed what policy, limits and detectors may look at. One request can
hold many prompts, and each of them gets `n` answers: that is how many answers are asked for.
"""

from __future__ import annotations

from typing import Final, TypedDict, cast

from gateway.core.prompt import Prompt

NAME: Final = "openai.completions"


class _Completion(TypedDict, total=False):
    """What the schema has checked, as far as it is read here."""

    model: str
    prompt: str | list[str] | list[int] | list[list[int]]
    stream: bool | None
    max_tokens: float | None
    n_predict: float | None
    n: float | None
    temperature: float | None


def read(document: object, size: int, fingerprint: int) -> Prompt:
    """Make the prompt; see `gateway.stages.inspect.structured`."""
    asked = cast("_Completion", document)  # the built-in schema says so
    prompt = asked["prompt"]
    prompts = 1 if isinstance(prompt, str) or isinstance(prompt[0], int | float) else len(prompt)
    cap = max(asked.get("max_tokens") or 0, asked.get("n_predict") or 0)  # backends differ in which they obey
    return Prompt(
        asked["model"],
        stream=asked.get("stream") is True,
        output_cap=int(cap) or None,
        choices=int(asked.get("n") or 1) * prompts,
        messages=prompts,
        temperature=asked.get("temperature"),
        size=size,
        fingerprint=fingerprint,
        document=document,
    )

"""OpenAI responses: `POST /v1/responses`.

Reads from a body that its schema has passed what policy, limits and detectors may look at. What a backend
keeps of earlier responses is not reached through it, unless the route opens that.
"""

from __future__ import annotations

from collections.abc import Sequence  # noqa: TC003 - the compiler reads annotations of classes
from typing import Final, TypedDict, cast

from gateway.core.prompt import Prompt

NAME: Final = "openai.responses"


class _Response(TypedDict, total=False):
    """What the schema has checked, as far as it is read here."""

    model: str
    input: str | list[object]
    stream: bool | None
    max_output_tokens: float | None
    tools: Sequence[object] | None
    temperature: float | None


def read(document: object, size: int, fingerprint: int) -> Prompt:
    """Make the prompt; see `gateway.stages.inspect.structured`."""
    asked = cast("_Response", document)  # the built-in schema says so
    given = asked["input"]
    cap = asked.get("max_output_tokens")
    return Prompt(
        asked["model"],
        stream=asked.get("stream") is True,
        output_cap=None if cap is None else int(cap),
        messages=1 if isinstance(given, str) else len(given),
        tools=len(asked.get("tools") or ()),
        temperature=asked.get("temperature"),
        size=size,
        fingerprint=fingerprint,
        document=document,
    )

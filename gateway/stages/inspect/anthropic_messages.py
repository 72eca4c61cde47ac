"""Anthropic messages: `POST /v1/messages`, and `POST /v1/messages/count_tokens`.

Reads from a body that its schema has passed what policy, limits and detectors may look at. Both requests
are alike, but that nobody answers the second: it has no cap, and is no stream.
"""

from __future__ import annotations

from collections.abc import Sequence  # noqa: TC003 - the compiler reads annotations of classes
from typing import Final, TypedDict, cast

from gateway.core.prompt import Prompt

NAME: Final = "anthropic.messages"
COUNT_NAME: Final = "anthropic.count_tokens"


class _Messages(TypedDict, total=False):
    """What the schema has checked, as far as it is read here."""

    model: str
    messages: Sequence[object]
    stream: bool | None
    max_tokens: float
    tools: Sequence[object] | None
    temperature: float | None


def read(document: object, size: int, fingerprint: int) -> Prompt:
    """Make the prompt; see `gateway.stages.inspect.structured`."""
    asked = cast("_Messages", document)  # the built-in schemas say so
    cap = asked.get("max_tokens")
    return Prompt(
        asked["model"],
        stream=asked.get("stream") is True,
        output_cap=None if cap is None else int(cap),
        messages=len(asked["messages"]),
        tools=len(asked.get("tools") or ()),
        temperature=asked.get("temperature"),
        size=size,
        fingerprint=fingerprint,
        document=document,
    )

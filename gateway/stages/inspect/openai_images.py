"""OpenAI image generation: `POST /v1/images/generations`.

Reads from a body that its schema has passed what policy, limits and detectors may look at.
"""

from __future__ import annotations

from typing import Final, TypedDict, cast

from gateway.core.prompt import Prompt

NAME: Final = "openai.images"


class _Image(TypedDict, total=False):
    """What the schema has checked, as far as it is read here."""

    model: str
    stream: bool | None
    n: float | None


def read(document: object, size: int, fingerprint: int) -> Prompt:
    """Make the prompt; see `gateway.stages.inspect.structured`."""
    asked = cast("_Image", document)  # the built-in schema says so
    return Prompt(
        asked.get("model"),
        stream=asked.get("stream") is True,
        choices=int(asked.get("n") or 1),
        messages=1,
        size=size,
        fingerprint=fingerprint,
        document=document,
    )

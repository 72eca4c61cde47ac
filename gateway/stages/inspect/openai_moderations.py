"""OpenAI moderations: `POST /v1/moderations`.

Reads from a body that its schema has passed what policy, limits and detectors may look at.
"""

from __future__ import annotations

from typing import Final, TypedDict, cast

from gateway.core.prompt import Prompt

NAME: Final = "openai.moderations"


class _Moderation(TypedDict, total=False):
    """What the schema has checked, as far as it is read here."""

    model: str
    input: str | list[object]


def read(document: object, size: int, fingerprint: int) -> Prompt:
    """Make the prompt; see `gateway.stages.inspect.structured`."""
    asked = cast("_Moderation", document)  # the built-in schema says so
    given = asked["input"]
    return Prompt(
        asked.get("model"),
        messages=1 if isinstance(given, str) else len(given),
        size=size,
        fingerprint=fingerprint,
        document=document,
    )

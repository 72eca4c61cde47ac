"""The parsed, bounded view of a request body: what policy, limits and detectors may look at."""

from __future__ import annotations

from typing import final


@final
class Prompt:
    """What a body asks for, whatever its dialect.

    Args:
        model: Model name, or None where the dialect has none.
        stream: True if a streamed answer was asked for.
        output_cap: Largest number of output tokens per choice that the client accepts, or None.
        choices: Number of answers asked for (`n`).
        messages: Number of messages or inputs.
        tools: Number of tools offered to the model.
        temperature: As sent, or None.
        size: Bytes of the body as received.
        fingerprint: 64-bit keyed digest of the body, for counting distinct prompts; 0 if none.
        document: The parsed body, for rules that look deeper; None where nothing was parsed.
    """

    __slots__ = (
        "choices",
        "document",
        "fingerprint",
        "messages",
        "model",
        "output_cap",
        "size",
        "stream",
        "temperature",
        "tools",
    )

    def __init__(
        self,
        model: str | None = None,
        *,
        stream: bool = False,
        output_cap: int | None = None,
        choices: int = 1,
        messages: int = 0,
        tools: int = 0,
        temperature: float | None = None,
        size: int = 0,
        fingerprint: int = 0,
        document: object = None,
    ) -> None:
        self.model = model
        self.stream = stream
        self.output_cap = output_cap
        self.choices = choices
        self.messages = messages
        self.tools = tools
        self.temperature = temperature
        self.size = size
        self.fingerprint = fingerprint
        self.document = document

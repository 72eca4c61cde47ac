"""As much of an answer as a meter reads: the counts, wherever the APIs put them. Types alone."""

from __future__ import annotations

from typing import Annotated

import msgspec

_Count = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]


class Tokens(msgspec.Struct):
    """The two vocabularies for the same thing.

    Anthropic's `input_tokens` are those alone that no cache was asked about; the others stand beside them.
    OpenAI's counts hold the cached ones.
    """

    prompt_tokens: _Count | None = None
    completion_tokens: _Count | None = None
    total_tokens: _Count | None = None
    input_tokens: _Count | None = None
    output_tokens: _Count | None = None
    cache_creation_input_tokens: _Count | None = None
    cache_read_input_tokens: _Count | None = None


class Part(msgspec.Struct):
    """An object inside an event that carries usage, as some APIs nest it."""

    usage: Tokens | None = None


class Document(msgspec.Struct):
    """As much of an answer, or of one event, as is read."""

    usage: Tokens | None = None
    response: Part | None = None
    message: Part | None = None


decode = msgspec.json.Decoder(Document).decode

"""OpenAI chat completions: `POST /v1/chat/completions`.

Decides whether a body is a chat request as the public API describes it (with the harmless extensions
of vLLM and llama.cpp), and reads from it what policy, limits and detectors may look at. Never judges
the text.
"""

from __future__ import annotations

from collections.abc import Sequence  # noqa: TC003 - the compiler reads annotations of classes
from typing import TYPE_CHECKING, Final, TypedDict, cast, final

import msgspec

from gateway.core.prompt import Prompt
from gateway.core.refusal import Refusal
from gateway.stages.inspect.builtin import load_builtin
from gateway.stages.inspect.document import DocumentReader
from gateway.stages.inspect.media_type import JSON

if TYPE_CHECKING:
    from gateway.core.call import Call
    from gateway.stages.inspect.fingerprint import Fingerprint
    from gateway.stages.inspect.json_schema import JsonSchema

NAME: Final = "openai.chat"

_encode = msgspec.json.Encoder().encode


class _Chat(TypedDict, total=False):
    """What the schema has checked, as far as it is read here."""

    model: str
    messages: Sequence[object]
    stream: bool | None
    stream_options: dict[str, object] | None
    max_tokens: float | None
    max_completion_tokens: float | None
    n_predict: float | None
    n: float | None
    tools: Sequence[object] | None
    functions: Sequence[object] | None
    temperature: float | None


@final
class OpenAiChat:
    """Inspector of chat completions.

    Args:
        fingerprint: Digest of the body that goes on.
        schema: The route's own schema, checked after the built-in one; or None.
        extra_fields: True lets unknown members pass (see `load_builtin`).
        wants_usage: True asks the backend for usage in every stream, whether or not the client did,
            so that streamed tokens are metered; the client then sees one more chunk, with usage.
    """

    __slots__ = ("_fingerprint", "_read", "_wants_usage")

    def __init__(
        self,
        fingerprint: Fingerprint,
        *,
        schema: JsonSchema | None = None,
        extra_fields: bool = False,
        wants_usage: bool = False,
    ) -> None:
        builtin = load_builtin(NAME, extra_fields=extra_fields)
        self._read = DocumentReader(builtin) if schema is None else DocumentReader(builtin, schema)
        self._fingerprint = fingerprint
        self._wants_usage = wants_usage

    def __call__(self, body: bytes, call: Call, /) -> tuple[Prompt, bytes, bytes] | Refusal:
        """Parse and check a body; see `gateway.core.ports.Inspector`."""
        parsed = self._read(body, call)
        if isinstance(parsed, Refusal):
            return parsed
        chat = cast("_Chat", parsed[0])  # the built-in schema says so
        canonical = parsed[1]
        is_stream = chat.get("stream") is True
        if is_stream and self._wants_usage:
            chat["stream_options"] = {**(chat.get("stream_options") or {}), "include_usage": True}
            canonical = _encode(chat)
        prompt = Prompt(
            chat["model"],
            stream=is_stream,
            output_cap=_output_cap(chat),
            choices=int(chat.get("n") or 1),
            messages=len(chat["messages"]),
            tools=len(chat.get("tools") or ()) + len(chat.get("functions") or ()),
            temperature=chat.get("temperature"),
            size=len(body),
            fingerprint=self._fingerprint(canonical),
            document=chat,
        )
        return prompt, canonical, JSON


def _output_cap(chat: _Chat) -> int | None:
    """Return the largest cap: backends differ in which of the names they obey."""
    largest = chat.get("max_tokens") or 0
    if (other := chat.get("max_completion_tokens")) and other > largest:
        largest = other
    if (other := chat.get("n_predict")) and other > largest:
        largest = other
    return int(largest) or None

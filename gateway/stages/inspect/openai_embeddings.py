"""OpenAI embeddings: `POST /v1/embeddings`.

Decides whether a body is an embeddings request as the public API describes it. Never judges the text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypedDict, cast, final

from gateway.core.prompt import Prompt
from gateway.core.refusal import Refusal
from gateway.stages.inspect.builtin import load_builtin
from gateway.stages.inspect.document import DocumentReader
from gateway.stages.inspect.media_type import JSON

if TYPE_CHECKING:
    from gateway.core.call import Call
    from gateway.stages.inspect.fingerprint import Fingerprint
    from gateway.stages.inspect.json_schema import JsonSchema

NAME: Final = "openai.embeddings"


class _Embeddings(TypedDict):
    """What the schema has checked, as far as it is read here."""

    model: str
    input: str | list[str] | list[int] | list[list[int]]


@final
class OpenAiEmbeddings:
    """Inspector of embeddings.

    Args:
        fingerprint: Digest of the body that goes on.
        schema: The route's own schema, checked after the built-in one; or None.
        extra_fields: True lets unknown members pass (see `load_builtin`).
    """

    __slots__ = ("_fingerprint", "_read")

    def __init__(
        self, fingerprint: Fingerprint, *, schema: JsonSchema | None = None, extra_fields: bool = False
    ) -> None:
        builtin = load_builtin(NAME, extra_fields=extra_fields)
        self._read = DocumentReader(builtin) if schema is None else DocumentReader(builtin, schema)
        self._fingerprint = fingerprint

    def __call__(self, body: bytes, call: Call, /) -> tuple[Prompt, bytes, bytes] | Refusal:
        """Parse and check a body; see `gateway.core.ports.Inspector`."""
        parsed = self._read(body, call)
        if isinstance(parsed, Refusal):
            return parsed
        document, canonical = parsed
        embeddings = cast("_Embeddings", document)  # the built-in schema says so
        asked = embeddings["input"]
        is_one = isinstance(asked, str) or isinstance(asked[0], int | float)  # one text, or its token ids
        prompt = Prompt(
            embeddings["model"],
            messages=1 if is_one else len(asked),
            size=len(body),
            fingerprint=self._fingerprint(canonical),
            document=document,
        )
        return prompt, canonical, JSON

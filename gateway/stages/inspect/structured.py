"""JSON dialects that differ in nothing but their schema and where the model and the sizes stand.

Decides whether a body is what the dialect's schema and the route's own say; what is read from it is the
dialect's own function. Never judges the text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from gateway.core.refusal import Refusal
from gateway.stages.inspect.builtin import load_builtin
from gateway.stages.inspect.document import DocumentReader
from gateway.stages.inspect.media_type import JSON

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.core.call import Call
    from gateway.core.prompt import Prompt
    from gateway.stages.inspect.fingerprint import Fingerprint
    from gateway.stages.inspect.json_schema import JsonSchema


@final
class Structured:
    """Inspector of one JSON dialect.

    Args:
        name: The dialect, whose built-in schema is checked first.
        read: Makes the prompt of a document that the built-in schema has passed, of the body's size in
            bytes, and of its fingerprint.
        fingerprint: Digest of the body that goes on.
        schema: The route's own schema, checked after the built-in one; or None.
        extra_fields: True lets unknown members pass (see `load_builtin`).
    """

    __slots__ = ("_fingerprint", "_prompt", "_read")

    def __init__(
        self,
        name: str,
        read: Callable[[object, int, int], Prompt],
        fingerprint: Fingerprint,
        *,
        schema: JsonSchema | None = None,
        extra_fields: bool = False,
    ) -> None:
        builtin = load_builtin(name, extra_fields=extra_fields)
        self._read = DocumentReader(builtin) if schema is None else DocumentReader(builtin, schema)
        self._prompt = read
        self._fingerprint = fingerprint

    def __call__(self, body: bytes, call: Call, /) -> tuple[Prompt, bytes, bytes] | Refusal:
        """Parse and check a body; see `gateway.core.ports.Inspector`."""
        parsed = self._read(body, call)
        if isinstance(parsed, Refusal):
            return parsed
        document, canonical = parsed
        return self._prompt(document, len(body), self._fingerprint(canonical)), canonical, JSON

"""Any JSON API: strict JSON in, and the route's own schema if it has one.

Decides the form alone. Reads no model from the document: what it means is not known here, so rules
that name models never allow a request of this dialect.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from gateway.core.prompt import Prompt
from gateway.core.refusal import Reason, Refusal
from gateway.stages.inspect.document import DocumentReader
from gateway.stages.inspect.media_type import JSON

if TYPE_CHECKING:
    from gateway.core.call import Call
    from gateway.stages.inspect.fingerprint import Fingerprint
    from gateway.stages.inspect.json_schema import JsonSchema

NAME: Final = "json"

# RFC 9110, section 9.3: a body has no meaning in the first two, and is not demanded by the others.
_NO_BODY: Final = frozenset({"GET", "HEAD"})
_BODY_OPTIONAL: Final = frozenset({"GET", "HEAD", "DELETE", "OPTIONS"})
_UNEXPECTED: Final = Refusal(Reason.BODY_UNEXPECTED, "GET and HEAD take no body.")


@final
class GenericJson:
    """Inspector of JSON bodies of any shape.

    Args:
        fingerprint: Digest of the body that goes on.
        schema: The route's own schema, or None.
    """

    __slots__ = ("_fingerprint", "_read")

    def __init__(self, fingerprint: Fingerprint, *, schema: JsonSchema | None = None) -> None:
        self._read = DocumentReader() if schema is None else DocumentReader(schema)
        self._fingerprint = fingerprint

    def __call__(self, body: bytes, call: Call, /) -> tuple[Prompt, bytes, bytes] | Refusal:
        """Parse and check a body; see `gateway.core.ports.Inspector`."""
        if not body and call.method in _BODY_OPTIONAL:
            return Prompt(), b"", b""
        if call.method in _NO_BODY:
            return _UNEXPECTED
        parsed = self._read(body, call)
        if isinstance(parsed, Refusal):
            return parsed
        document, canonical = parsed
        prompt = Prompt(size=len(body), fingerprint=self._fingerprint(canonical), document=document)
        return prompt, canonical, JSON

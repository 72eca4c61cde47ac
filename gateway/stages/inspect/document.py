"""From bytes to a checked document: the part that all JSON dialects share.

Head first, then the parser, then the schemas in order: each step sees only what the one before let
pass. Decides nothing about meaning; that is the dialect's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from gateway.core.refusal import Refusal
from gateway.stages.inspect.media_type import check_json_head
from gateway.stages.inspect.strict_json import parse

if TYPE_CHECKING:
    from gateway.core.call import Call
    from gateway.stages.inspect.json_schema import JsonSchema


@final
class DocumentReader:
    """Reads the JSON document of a call.

    Args:
        schemas: All of these must hold.
    """

    __slots__ = ("_checks",)

    def __init__(self, *schemas: JsonSchema) -> None:
        self._checks = tuple(schema.check for schema in schemas)

    def __call__(self, body: bytes, call: Call) -> tuple[object, bytes] | Refusal:
        """Parse and check.

        Args:
            body: The bytes. Attacker-controlled.
            call: For its headers.

        Returns:
            The document and its canonical bytes; or why not.
        """
        refusal = check_json_head(call.headers)
        if refusal is not None:
            return refusal
        parsed = parse(body)
        if isinstance(parsed, Refusal):
            return parsed
        document = parsed[0]
        for check in self._checks:
            refusal = check(document)
            if refusal is not None:
                return refusal
        return parsed

"""Reads a JSON object that came from outside, strictly and bounded: one meaning, or none.

Says nothing about what the members are: that is for whoever asked for the document.
"""

from __future__ import annotations

from typing import Final

import msgspec

from gateway.core.members import measure, written_members

MAX_DEPTH: Final = 8


class DocumentError(ValueError):
    """A document that cannot be used; the text names the first fault and repeats nothing of it."""


def parse_object(text: bytes, limit: int, depth: int = MAX_DEPTH) -> dict[str, object]:
    """Parse a JSON object.

    Args:
        text: The document.
        limit: Largest size, bytes.
        depth: Deepest nesting, the object itself counted.

    Raises:
        DocumentError: Too large, not one JSON object in UTF-8, too deep, or a name stands twice in an
            object (RFC 8259, section 4: parsers disagree about which one counts).
    """
    if len(text) > limit:
        raise DocumentError(f"the document is larger than {limit} bytes")
    try:
        document = msgspec.json.decode(text, type=dict[str, object])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as malformed:
        raise DocumentError("the document is not a JSON object in UTF-8") from malformed
    count, found = measure(document, depth)
    if found > depth or count != written_members(text):
        raise DocumentError("the document nests too deeply or names a member twice")
    return document

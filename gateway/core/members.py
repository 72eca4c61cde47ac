"""Finds duplicate names and depth in parsed JSON, for parsers that keep the last of two equal names.

Two parsers that disagree about which of two `"sub"` counts are an attack (RFC 8259, section 4), so
text with duplicates is refused. Works on text that a strict parser has already accepted, and never
parses anything itself.
"""

from __future__ import annotations

import re
from typing import Final

_STRING: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)


def measure(value: object, limit: int) -> tuple[int, int]:
    """Count the object members of a parsed value, and how deep it nests.

    Args:
        value: What the parser returned.
        limit: Deepest nesting looked into; the scan stops one level below it.

    Returns:
        Number of members, and depth: 0 for a scalar, `limit + 1` for anything deeper than `limit`.
    """
    members = depth = 0
    level = [value]
    while level and depth <= limit:
        below: list[object] = []
        for one in level:
            if isinstance(one, dict):
                members += len(one)
                below.extend(one.values())
            elif isinstance(one, list):
                below.extend(one)
        if not any(isinstance(one, dict | list) for one in level):
            break
        depth += 1
        level = below
    return members, depth


def written_members(text: bytes) -> int:
    """Count the object members that a valid JSON text writes down, duplicates included.

    Every member has exactly one colon outside of strings, and nothing else has one.
    """
    return _STRING.sub(b"", text).count(b":")

"""Values on the command line that are JSON, or plain text where they are none."""

from __future__ import annotations

import msgspec


def pairs(texts: list[str]) -> dict[str, object]:
    """Read `name=value` pairs; a value that is no JSON is a string."""
    found: dict[str, object] = {}
    for text in texts:
        name, _, value = text.partition("=")
        try:
            found[name] = msgspec.json.decode(value)
        except msgspec.DecodeError:
            found[name] = value
    return found

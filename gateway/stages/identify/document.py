"""Parses the JSON of a token strictly: one object, one meaning.

Refused: what is not UTF-8 JSON (UTF-16, BOM, NaN), anything but an object, duplicate names at any
level, nesting beyond eight levels. Decides nothing about the members themselves.
"""

from __future__ import annotations

from typing import Final

import msgspec

from gateway.core.members import measure, written_members
from gateway.core.refusal import Reason, Refusal

MAX_DEPTH: Final = 8  # the deepest token of a common identity provider has four levels

NOT_JSON: Final = Refusal(Reason.TOKEN_MALFORMED, "A part of the token is not a JSON object in UTF-8.")
TOO_DEEP: Final = Refusal(Reason.TOKEN_MALFORMED, f"The token nests deeper than {MAX_DEPTH} levels.")
DUPLICATE: Final = Refusal(Reason.TOKEN_MALFORMED, "The token names a member twice.")

_decoder: Final = msgspec.json.Decoder(dict[str, object])


def parse(text: bytes) -> dict[str, object] | Refusal:
    """Parse one JSON object.

    Args:
        text: Header or payload of a token; attacker-controlled, at most a few KiB.

    Returns:
        Its members, or why it is refused.
    """
    try:
        members = _decoder.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return NOT_JSON
    except RecursionError:
        return TOO_DEEP
    count, depth = measure(members, MAX_DEPTH)
    if depth > MAX_DEPTH:
        return TOO_DEEP
    if count != written_members(text):
        return DUPLICATE
    return members

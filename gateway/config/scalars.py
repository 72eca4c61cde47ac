"""What plain scalars mean: YAML 1.2's core schema, minus what YAML 1.1 reads differently."""

from __future__ import annotations

import re
from typing import Final

INTEGER: Final = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,17})\Z")
FLOAT: Final = re.compile(r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]{1,3})?\Z")
NUMBER_LIKE: Final = re.compile(
    r"[-+]?(?:0[0-9]+|0[xXoObB][0-9a-fA-F_]+|[0-9][0-9_]*_[0-9_]*|[0-9]{19,}|\.(?:inf|Inf|INF))\Z|\.(?:nan|NaN|NAN)\Z"
)
WORDS: Final[dict[str, bool | None]] = {"": None, "~": None, "null": None, "true": True, "false": False}
LOOKALIKES: Final = frozenset({"True", "TRUE", "False", "FALSE", "Null", "NULL"})


def resolve(text: str) -> tuple[bool | int | float | str | None, tuple[str, str] | None]:
    """Return what a plain scalar means, and what is wrong with it, as message and mend.

    Args:
        text: The scalar as it stands in the file, without quotes.
    """
    if text in WORDS:
        return WORDS[text], None
    if INTEGER.match(text):
        return int(text), None
    if FLOAT.match(text):
        number = float(text)
        return (number if abs(number) < float("inf") else text), None
    message = f"{text} reads differently in YAML 1.1 and 1.2"
    if text in LOOKALIKES:
        return text, (message, f"write {text.lower()} for the value, or put the text into quotes")
    if NUMBER_LIKE.match(text):
        return text, (message, "write a decimal number without leading zeros, or quote the text")
    return text, None

"""Reads how long an answer stays fresh from `Cache-Control`, strictly: what is ambiguous says nothing."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

_DIRECTIVE: Final = re.compile(  # RFC 9111, section 5.2; empty list elements as RFC 9110, section 5.6.1.2
    r"""
    [ \t]*
    (?: ([!\#$%&'*+.^_`|~0-9A-Za-z-]+) (?: = ( [!\#$%&'*+.^_`|~0-9A-Za-z-]+ | "(?:[^"\\]|\\.)*" ) )? )?
    [ \t]* (?: , | \Z )
    """,
    re.VERBOSE,
)
_SECONDS: Final = re.compile(r"[0-9]{1,10}\Z")


def max_age(fields: Iterable[str]) -> float | None:
    """Read the time that an answer stays fresh, strictly: what is ambiguous says nothing.

    Args:
        fields: Values of all `Cache-Control` fields.

    Returns:
        Seconds; 0 with `no-store` or `no-cache`; None if there is no `max-age`, or not one sound one.
    """
    text = ",".join(fields)
    ages: list[str] = []
    position = 0
    while position < len(text):
        found = _DIRECTIVE.match(text, position)
        if found is None:
            return None
        name = (found[1] or "").lower()
        if name in {"no-store", "no-cache"}:
            return 0.0
        if name == "max-age":
            ages.append(found[2] or "")
        position = found.end()
    if len(ages) != 1 or not _SECONDS.match(ages[0]):
        return None
    return float(ages[0])

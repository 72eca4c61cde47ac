"""Strict JSON: one reading of the bytes, or none.

Accepts what RFC 8259 and RFC 7493 (I-JSON) both accept: UTF-8 without a byte order mark, no duplicate
names, no lone surrogates, integers that every parser keeps exactly, floats that are finite. Returns
the document and its re-serialisation; only the latter may go on. Never repairs anything.

The checks that the parser does not make are counting arguments over the bytes, because they cost a
tenth of a walk over the tree. The tests hold them against a slow reference parser.
"""

from __future__ import annotations

from typing import Final

import msgspec

from gateway.core.refusal import Reason, Refusal

MAX_DEPTH: Final = 64  # containers in containers; real chat bodies have about 10, tool schemas 20
MAX_INTEGER: Final = 2**53 - 1  # RFC 7493, section 2.2: beyond it, parsers disagree

_decode = msgspec.json.Decoder().decode  # generic: only then every string is checked to be UTF-8
_encode = msgspec.json.Encoder().encode

_DIGITS: Final = bytes.maketrans(b"123456789", b"000000000")  # every digit becomes "0"
_LONG_NUMBER: Final = b"0" * len(str(MAX_INTEGER))
_ESCAPED_QUOTE: Final = b"\\u0022"

_EMPTY: Final = Refusal(Reason.JSON_INVALID, "The body is empty; a JSON document is required.")
_INVALID: Final = Refusal(Reason.JSON_INVALID, "The body is not valid JSON (RFC 8259, UTF-8).")
_DUPLICATE: Final = Refusal(
    Reason.JSON_DUPLICATE_KEY, "An object in the body has the same member name twice."
)
_TOO_DEEP: Final = Refusal(Reason.JSON_TOO_DEEP, "The body nests objects and arrays too deeply.")
_OUT_OF_RANGE: Final = Refusal(
    Reason.JSON_NUMBER, "A number in the body is too large to be kept exactly (RFC 7493, section 2.2)."
)


def parse(body: bytes, *, depth: int = MAX_DEPTH) -> tuple[object, bytes] | Refusal:
    """Parse JSON strictly.

    Args:
        body: The bytes. Attacker-controlled.
        depth: Most containers in one another; a top-level object counts as one.

    Returns:
        The document and its canonical bytes (member order kept, no white space, UTF-8); or why not:
        `JSON_INVALID`, `JSON_DUPLICATE_KEY`, `JSON_TOO_DEEP` or `JSON_NUMBER`.
    """
    try:
        document = _decode(body)
    except msgspec.ValidationError:  # a generic decoder raises it for numbers alone: 1e999, 5,000 digits
        return _OUT_OF_RANGE
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _INVALID if body else _EMPTY
    except RecursionError:
        return _TOO_DEEP
    if _may_be_deep(body, depth) or _may_be_long(body):
        refusal = _walk(document, depth)
        if refusal is not None:
            return refusal
    canonical = _encode(document)
    if body != canonical and _quotes(body) != canonical.count(b'"'):
        return _DUPLICATE
    return document, canonical


def _may_be_deep(body: bytes, depth: int) -> bool:
    """Tell whether there are more opening brackets than `depth`; in texts they count too."""
    # what is missing when they are cut out: several times as fast as counting them
    brackets = 2 * len(body) - len(body.replace(b"[", b"")) - len(body.replace(b"{", b""))
    return brackets > depth


def _may_be_long(body: bytes) -> bool:
    """Tell whether there are as many digits in a row as the largest integer has; in texts they count too."""
    # of so many in a row, two neighbours of every eighth byte are digits: seldom so by chance
    if b"00" not in body[7::8].translate(_DIGITS):
        return False
    return _LONG_NUMBER in body.translate(_DIGITS)


def _quotes(body: bytes) -> int:
    r"""Count the quotes that `body`, a valid document, would have re-serialised with all its members.

    A parser keeps the last of two members of the same name. That loses at least the two quotes of a
    name, and nothing else changes their number but an escaped quote that is written out as `\"`.
    """
    quotes = body.count(b'"')
    if body.find(b"\\") >= 0 and body.find(_ESCAPED_QUOTE) >= 0:  # one byte is found by memchr, and rare
        # without the escaped backslashes, what still looks like an escaped quote is one
        quotes += body.replace(b"\\\\", b"..").count(_ESCAPED_QUOTE)
    return quotes


def _walk(document: object, depth: int) -> Refusal | None:
    """Look at every value; iterative, as the depth is what is in doubt."""
    level: list[object] = [document]
    below = 0
    while level:
        inner: list[object] = []
        has_container = False
        for value in level:
            if isinstance(value, dict):
                inner.extend(value.values())
                has_container = True
            elif isinstance(value, list):
                inner.extend(value)
                has_container = True
            elif type(value) is int and not -MAX_INTEGER <= value <= MAX_INTEGER:
                return _OUT_OF_RANGE
        below += has_container
        if below > depth:
            return _TOO_DEEP
        level = inner
    return None

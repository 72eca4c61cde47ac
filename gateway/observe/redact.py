"""Makes client-controlled text harmless in records, logs and on terminals.

Decides nothing about what may be recorded: `record` names the fields, and neither prompts nor
credentials are among them. Here lengths are bounded, and characters that could forge lines, recolour a
terminal or reorder what a reader sees are written as escapes. Nothing is dropped silently.
"""

from __future__ import annotations

import re
from hashlib import sha256
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from re import Match

MAX_TEXT: Final = 256  # characters of one client-controlled field

# Everything that a JSON encoder leaves as it is and a reader should not meet raw: DEL, C1 controls (0x9B
# is CSI on some terminals), soft hyphen, Arabic letter mark, zero-width and bidi characters (UAX #9),
# U+2028 and U+2029 (line ends to JavaScript), invisible operators, BOM, interlinear marks and tags.
_UNSAFE_TEXT: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    f"\U000e0000-\U000e007f{chr(0xD800)}-{chr(0xDFFF)}]"
)
# The same characters as UTF-8. Lead bytes never occur inside another character, so no false hits.
_UNSAFE_BYTES: Final = re.compile(
    rb"\x7f|\xc2[\x80-\x9f\xad]|\xd8\x9c|\xe1\xa0\x8e|\xe2\x80[\x8b-\x8f\xa8-\xae]|\xe2\x81[\xa0-\xaf]"
    rb"|\xef\xbb\xbf|\xef\xbf[\xb9-\xbb]|\xf3\xa0[\x80\x81][\x80-\xbf]"
)


def clip(text: str, limit: int = MAX_TEXT) -> str:
    """Bound a text; what was cut is named by its length and digest, so that two texts never look alike.

    Args:
        text: Client-controlled text.
        limit: Characters kept.

    Returns:
        The text itself if it is short enough.
    """
    if len(text) <= limit:
        return text
    digest = sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return f"{text[:limit]}...[{len(text)} characters, sha256 {digest}]"


def printable(text: str) -> str:
    """Escape controls, line separators, bidi and invisible characters, as for a terminal."""
    return _UNSAFE_TEXT.sub(_escape_character, text)


def neutralise(encoded: bytes) -> bytes:
    """Escape, in encoded JSON, what a JSON encoder leaves raw. The document's meaning is unchanged.

    Args:
        encoded: JSON, UTF-8.

    Returns:
        Equivalent JSON; the same object if there was nothing to escape.
    """
    if encoded.isascii() and b"\x7f" not in encoded:
        return encoded
    return _UNSAFE_BYTES.sub(_escape_bytes, encoded)


def mend(value: object) -> object:
    """Replace lone surrogates, which UTF-8 cannot carry, in every text of a JSON-like value."""
    match value:
        case str():
            return value.encode("utf-8", "backslashreplace").decode("utf-8")
        case dict():
            return {mend(key): mend(item) for key, item in value.items()}
        case list() | tuple():
            return [mend(item) for item in value]
        case _:
            return value


def _escape_character(match: Match[str]) -> str:
    code = ord(match[0])
    if code <= 0xFF:  # noqa: PLR2004 - two hex digits
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"  # noqa: PLR2004 - likewise four


def _escape_bytes(match: Match[bytes]) -> bytes:
    units = match[0].decode("utf-8").encode("utf-16-be")  # JSON escapes are UTF-16 code units
    return b"".join(b"\\u%b" % units[i : i + 2].hex().encode() for i in range(0, len(units), 2))

"""What the head says the body is: JSON in UTF-8, not encoded.

Decides from Content-Type and Content-Encoding alone. Never decompresses: a compressed body would be
bytes that nobody here has read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gateway.core.refusal import Reason, Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

JSON: Final = b"application/json"

_JSON_CHARSETS: Final = frozenset({b"charset=utf-8", b'charset="utf-8"'})
_NOT_JSON: Final = Refusal(Reason.CONTENT_TYPE, "The Content-Type must be application/json, in UTF-8.")
_ENCODED: Final = Refusal(Reason.CONTENT_ENCODING, "The body must not be encoded (Content-Encoding).")


def check_json_head(headers: Mapping[bytes, bytes]) -> Refusal | None:
    """Check that the head announces plain JSON (RFC 9110, sections 8.3 and 8.4).

    Args:
        headers: Lower-case names to values. Attacker-controlled.

    Returns:
        None, or `CONTENT_TYPE` or `CONTENT_ENCODING`.
    """
    content_type = headers.get(b"content-type")
    if content_type != JSON and (content_type is None or not _is_json(content_type)):
        return _NOT_JSON
    encoding = headers.get(b"content-encoding")
    if encoding is not None and encoding.lower() != b"identity":
        return _ENCODED
    return None


def _is_json(content_type: bytes) -> bool:
    name, *parameters = content_type.lower().split(b";")
    if name.strip(b" \t") != JSON or len(parameters) > 1:
        return False
    return not parameters or parameters[0].strip(b" \t") in _JSON_CHARSETS

"""Strict multipart/form-data (RFC 7578, RFC 2046): one reading of the bytes, or none.

No preamble, no epilogue, no other field than Content-Disposition and Content-Type, no escapes in names. What
goes on is written anew under a boundary that occurs in no part, so that there is nothing that another parser
could take for a delimiter.
"""

from __future__ import annotations

import re
import secrets
from typing import TYPE_CHECKING, Final, final

from gateway.core.refusal import Reason, Refusal

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_PARTS: Final = 32

# Of what RFC 2046 allows in a boundary, what clients use: no spaces, nothing that needs quotes to be read.
_MEDIA: Final = re.compile(rb'multipart/form-data; ?boundary=("?)([A-Za-z0-9\'+_.-]{1,70})\1', re.IGNORECASE)
_DISPOSITION: Final = re.compile(
    rb'content-disposition: form-data; name="([^"\\\x00-\x1f\x7f]{1,128})"'
    rb'(?:; filename="([^"\\/\x00-\x1f\x7f]{1,255})")?',
    re.IGNORECASE,
)
_TYPE: Final = re.compile(
    rb"content-type: ([a-z0-9.+-]{1,64}/[a-z0-9.+-]{1,64}(?:; ?charset=utf-8)?)", re.IGNORECASE
)
_NOT_FORM: Final = Refusal(
    Reason.CONTENT_TYPE, "The Content-Type must be multipart/form-data with a plain boundary."
)
_BROKEN: Final = Refusal(
    Reason.SCHEMA_VIOLATION, "The body is not strict multipart/form-data.", rule="schema"
)


@final
class Part:
    """One part of a form.

    Args:
        name: Name of its field.
        data: Its bytes.
        filename: As sent, or None: it is no file.
        media: Its content type, b"" if none was sent.
    """

    __slots__ = ("data", "filename", "media", "name")

    def __init__(self, name: str, data: bytes, filename: str | None, media: bytes) -> None:
        self.name = name
        self.data = data
        self.filename = filename
        self.media = media


def parse_form(body: bytes, content_type: bytes) -> list[Part] | Refusal:
    """Parse a form.

    Args:
        body: The bytes. Attacker-controlled.
        content_type: Of the request.

    Returns:
        Its parts in their order; or why not: `CONTENT_TYPE` or `SCHEMA_VIOLATION`.
    """
    media = _MEDIA.fullmatch(content_type)
    if media is None:
        return _NOT_FORM
    first, *chunks = (b"\r\n" + body).split(b"\r\n--" + media[2], MAX_PARTS + 2)
    if first or len(chunks) < 2 or chunks.pop() not in {b"--", b"--\r\n"} or len(chunks) > MAX_PARTS:  # noqa: PLR2004 - a part and the end
        return _BROKEN
    parts: list[Part] = []
    for chunk in chunks:
        part = _part(chunk)
        if part is None:
            return _BROKEN
        parts.append(part)
    return parts


def _part(chunk: bytes) -> Part | None:
    """Read what stands between two delimiters; None if it is anything but a part."""
    head, end, data = chunk.partition(b"\r\n\r\n")
    start, *lines = head.split(b"\r\n")
    if start or not end or not 1 <= len(lines) <= 2:  # noqa: PLR2004 - the two fields that a part may have
        return None
    disposition = _DISPOSITION.fullmatch(lines[0])
    media = _TYPE.fullmatch(lines[-1])
    if disposition is None or (media is None) != (len(lines) == 1):
        return None
    filename = disposition[2]
    try:
        return Part(
            disposition[1].decode(),
            data,
            None if filename is None else filename.decode(),
            b"" if media is None else media[1].lower(),
        )
    except UnicodeDecodeError:
        return None


def write_form(parts: Sequence[Part]) -> tuple[bytes, bytes]:
    """Write parts under a boundary that occurs in none of them.

    Returns:
        The body and its content type.
    """
    boundary = secrets.token_hex(16).encode()
    while any(boundary in part.data for part in parts):
        boundary = secrets.token_hex(16).encode()
    pieces: list[bytes] = []
    for part in parts:
        filename = b"" if part.filename is None else b'; filename="%b"' % part.filename.encode()
        media = b"Content-Type: %b\r\n" % part.media if part.media else b""
        pieces.append(
            b'--%b\r\nContent-Disposition: form-data; name="%b"%b\r\n%b\r\n'
            % (boundary, part.name.encode(), filename, media)
        )
        pieces.extend((part.data, b"\r\n"))
    pieces.append(b"--%b--\r\n" % boundary)
    return b"".join(pieces), b"multipart/form-data; boundary=" + boundary

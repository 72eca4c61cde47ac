"""What a request head must be before anything looks at it: framing, target, names, Host.

llhttp has refused most malformed heads by the time these rules run; they refuse the rest (RFC 9112,
sections 2.2, 3 and 6; RFC 9110, sections 5 and 7). Refused, never repaired: two parsers can only
disagree about what somebody mended. Pinned by tests/unit/wire/test_framing.py.
"""

from __future__ import annotations

import re
from typing import Final

from gateway.core.refusal import Reason, Refusal

MAX_TARGET_BYTES = 8 * 1024  # RFC 9112, section 3, recommends support for 8000
MAX_LENGTH_DIGITS: Final = 10

# Names that may stand only once: a second one is an attack or a broken client (security.md D5).
SINGLETONS: Final = frozenset(
    {
        b"authorization",
        b"content-encoding",
        b"content-length",
        b"content-type",
        b"date",
        b"dpop",
        b"expect",
        b"host",
        b"idempotency-key",
        b"inference-header-content-length",
        b"proxy-authorization",
        b"transfer-encoding",
        b"traceparent",
        b"user-agent",
        b"workload-identity-token",
        b"workload-proof-token",
        b"txn-token",
        b"x-api-key",
        b"x-request-id",
    }
)
# Names that a client may not declare hop-by-hop: removing them would change what is decided.
PROTECTED: Final = SINGLETONS | {b"accept", b"cookie", b"via", b"forwarded"}
HOP_BY_HOP: Final = (
    b"connection",
    b"keep-alive",
    b"proxy-connection",
    b"te",
    b"trailer",
    b"upgrade",
    b"http2-settings",
)

_ZERO: Final = ord("0")
# The digits of a Content-Length as heads have it: one space, nothing behind them.
_LENGTH: Final = re.compile(rb"(?<=\r\n[Cc]ontent-[Ll]ength: )[0-9]+(?=\r\n)")
_NAME = re.compile(rb"[a-z0-9-]{1,256}")  # no underscore: CVE-2025-64484, aliases of dashed names
_HOST = re.compile(rb"(?:[A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
# pchar but ";" (path parameters: Tomcat and others cut them off), then percent-encoding that is needed
_SEGMENT = re.compile(rb"(?:[A-Za-z0-9._~!$&'()*+,=:@-]|%[0-9A-F]{2})+")
_QUERY = re.compile(rb"[A-Za-z0-9._~!$&'()*+,;=:@/?%\[\]|{}^`\"<>-]*")
_ESCAPE = re.compile(rb"%([0-9A-F]{2})")
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
# What no escape may stand for: controls, delimiters, and everything that `_SEGMENT` takes as it is. A path
# has one spelling, or two routes could mean one resource (`secret%3Apredict` beside `secret:predict`).
_FORBIDDEN_ESCAPES = frozenset(range(0x20)) | {0x7F} | frozenset(b"/\\%;?#") | frozenset(b"!$&'()*+,=:@")


def check_name(name: bytes) -> bool:
    """Tell whether a lower-case field name is one we take."""
    return _NAME.fullmatch(name) is not None


def _path_refusal(path: bytes) -> str | None:
    for segment in path[1:].split(b"/"):
        if segment in (b".", b".."):
            return "dot segments are not taken"
        if _SEGMENT.fullmatch(segment) is None:
            return "empty segments and characters outside RFC 3986 are not taken"
    if b"%" in path:
        for escape in _ESCAPE.findall(path):
            value = int(escape, 16)
            if value in _FORBIDDEN_ESCAPES or value in _UNRESERVED:
                return "percent-encoding is taken only where it is needed, and never for delimiters"
        try:
            _ESCAPE.sub(lambda match: bytes((int(match[1], 16),)), path).decode()
        except UnicodeDecodeError:
            return "percent-encoded bytes are not UTF-8"
    return None


def parse_target(target: bytes) -> tuple[str, str] | Refusal:
    """Take a request target apart, if it is in origin form and already canonical.

    Args:
        target: Request target as sent.

    Returns:
        Path and query (without the question mark), or why not. The path is what is matched, decided
        on and forwarded, byte for byte.
    """
    if len(target) > MAX_TARGET_BYTES:
        return Refusal(Reason.TARGET_REFUSED, f"the target is longer than {MAX_TARGET_BYTES} bytes")
    if target[:1] != b"/":
        return Refusal(Reason.TARGET_REFUSED, "the target must be in origin form: a path")
    path, mark, query = target.partition(b"?")
    if path != b"/" and (why := _path_refusal(path)) is not None:
        return Refusal(Reason.TARGET_REFUSED, f"the path is not canonical: {why}")
    if mark and _QUERY.fullmatch(query) is None:
        return Refusal(Reason.TARGET_REFUSED, "the query has characters that are not taken")
    return path.decode(), query.decode()


def check_host(headers: dict[bytes, bytes], version: str, hosts: frozenset[bytes]) -> Refusal | None:
    """Check `Host`: once, well formed, and one of ours where the configuration names ours."""
    host = headers.get(b"host")
    if host is None:
        if version == "1.0" and not hosts:
            return None
        return Refusal(Reason.HOST_REFUSED, "Host is missing (RFC 9112, section 3.2)")
    if _HOST.fullmatch(host) is None:
        return Refusal(Reason.HOST_REFUSED, "Host is not a host name with an optional port")
    if hosts:
        name = host if host[-1:] == b"]" or b":" not in host else host.rpartition(b":")[0]
        if name.lower() not in hosts:
            return Refusal(Reason.HOST_REFUSED, "this gateway does not serve that host")
    return None


def check_coding(headers: dict[bytes, bytes], version: str) -> Refusal | None:
    """Check what llhttp leaves open about message length (RFC 9112, section 6.1)."""
    coding = headers.get(b"transfer-encoding")
    if coding is None:
        return None
    if version != "1.1":
        return Refusal(Reason.FRAMING_REFUSED, "Transfer-Encoding needs HTTP/1.1")
    if b"content-length" in headers:
        return Refusal(Reason.FRAMING_REFUSED, "Content-Length beside Transfer-Encoding")
    if coding.lower() != b"chunked":
        return Refusal(Reason.FRAMING_REFUSED, "the only transfer coding taken is chunked")
    return None


def strip_hop_by_hop(headers: dict[bytes, bytes]) -> tuple[bool, Refusal | None]:
    """Remove hop-by-hop fields, and those that Connection names (RFC 9110, section 7.6.1).

    Returns:
        Whether the client wants the connection closed, and a refusal if Connection names a field
        that decisions rest on (CVE-2024-45410 and its kin).
    """
    connection = headers.get(b"connection")
    is_closing = False
    if connection is not None:
        for token in connection.lower().split(b","):
            name = token.strip()
            if name == b"close":
                is_closing = True
            elif name in PROTECTED:
                return True, Refusal(Reason.HEADER_REFUSED, "Connection names a field that must stay")
            else:
                headers.pop(name, None)
    for name in HOP_BY_HOP:
        headers.pop(name, None)
    return is_closing, None


def split_at_length(head: bytes, fields: bytes) -> tuple[bytes, bytes] | None:
    """Split a head that may come again around the digits of its Content-Length.

    Args:
        head: A whole head, as it came.
        fields: The same in lower case.

    Returns:
        What stands before the digits and behind them; all and b"" if there is no such field; None if
        it is not certain which digits they are.
    """
    if b"\ncontent-length:" not in fields:
        return head, b""
    parts = _LENGTH.split(head)
    return (parts[0], parts[1]) if len(parts) == 2 else None  # noqa: PLR2004 - exactly one


def leading_number(data: bytes, start: int) -> tuple[int, int]:
    """Read the decimal digits at `start`: one to ten, no leading zero.

    Returns:
        The number, 0 if there is none of that form, and where its digits end.
    """
    number, at = 0, start
    stop = min(start + MAX_LENGTH_DIGITS, len(data))
    while at < stop:
        digit = data[at] - _ZERO
        if not 0 <= digit <= 9 or (at > start and not number):  # noqa: PLR2004 - decimal
            break
        number = number * 10 + digit
        at += 1
    return number, at

"""What leaves for a backend and what comes back: by allow-list, built anew, nothing passed through.

No credential of the client crosses. The backend learns who asks from a credential that the gateway signs
or obtains for it, and from nothing that a client could write itself.
"""

from __future__ import annotations

import re
from math import inf
from typing import TYPE_CHECKING, Final

from gateway.core.outbound import Outbound

if TYPE_CHECKING:
    from gateway.core.call import Call
    from gateway.core.memo import RequestMemo
    from gateway.core.permit import Permit, Vetted
    from gateway.core.ports import Answer, Credential
    from gateway.core.route import Route

PATIENCE: Final = b"x-stainless-read-timeout"  # what the openai and anthropic clients say; never goes on
NUMBER: Final = re.compile(rb"[0-9]{1,9}(\.[0-9]{1,9})?")

# RFC 9110, section 9.2.2; the wire may send these twice when a kept connection turns out to be closed
IDEMPOTENT: Final = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})


def prepare(call: Call, permit: Permit, vetted: Vetted, credential: Credential) -> Outbound:
    """Build the request that leaves.

    Args:
        call: What the client sent: method, canonical path, query; headers by allow-list only.
        permit: Who may do what.
        vetted: The body that was checked.
        credential: Says who asks.
    """
    route = permit.route
    memo = call.memo
    if memo.route is not route or memo.content_type != vetted.content_type:
        _fill(memo, call, route, vetted.content_type)
    fields = b"%bx-request-id: %b\r\n%b" % (memo.fields, call.id.encode(), credential.fields)
    method = call.method
    return Outbound(
        route.backend,
        memo.line,
        fields,
        vetted.body,
        is_idempotent=method in IDEMPOTENT,
        has_no_answer_body=method == "HEAD",
        patience=memo.patience,
    )


def _fill(memo: RequestMemo, call: Call, route: Route, content_type: bytes) -> None:
    """Make what the head alone decides: the request line, and the fields that the route lets through."""
    target = f"{call.path}?{call.query}" if call.query else call.path
    fields = [
        b"%b: %b\r\n" % (name, value)
        for name in route.request_headers
        if (value := call.headers.get(name)) is not None
    ]
    if content_type:
        fields.append(b"content-type: %b\r\n" % content_type)
    fields.append(b"accept-encoding: identity\r\nvia: 1.1 gateway\r\n")
    memo.line = f"{call.method} {target} HTTP/1.1\r\n".encode()
    memo.fields = b"".join(fields)
    memo.patience = _patience(call.headers.get(PATIENCE, b""))
    memo.content_type = content_type
    memo.route = route


def _patience(value: bytes) -> float:
    """Return how many seconds a client says that it waits; no reason to refuse it if it says nonsense."""
    seconds = float(value) if NUMBER.fullmatch(value) else 0.0
    return seconds if seconds > 0.0 else inf


def content_type(answer: Answer) -> bytes:
    """Return the answer's content type, or b""."""
    memo = answer.memo
    known = memo.content_type
    if known is None:
        known = b""
        for name, value in answer.headers:
            if name == b"content-type":
                known = value
                break
        memo.content_type = known
    return known


def is_event_stream(content_type: bytes) -> bool:
    """Tell whether an answer of this content type is a stream of server-sent events."""
    return content_type.partition(b";")[0].strip().lower() == b"text/event-stream"


def answer_headers(answer: Answer, route: Route, id: str) -> bytes:
    """Build the field lines that the client gets: the route's allow-list, and our request id.

    A field that a backend repeats is passed on once: the first. Nothing but what the route names
    crosses: no cookie, no redirect, no CORS grant, no server name (security.md, D13).
    """
    memo = answer.memo
    if memo.route is not route:
        allowed = route.answer_headers
        fields: list[bytes] = []
        seen = {b"x-request-id"}
        for name, value in answer.headers:
            if name in allowed and name not in seen and value.isascii():
                seen.add(name)
                fields.append(b"%b: %b\r\n" % (name, value))
        memo.fields = b"".join(fields)
        memo.has_date = b"date" in seen
        memo.route = route
    return b"x-request-id: %b\r\n%b" % (id.encode(), memo.fields)

"""What leaves for a backend and what comes back: by allow-list, built anew, nothing passed through.

No credential of the client crosses. The backend learns who asks from a credential that the gateway signs
or obtains for it, and from nothing that a client could write itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gateway.core.ports import Outbound

if TYPE_CHECKING:
    from gateway.core.call import Call
    from gateway.core.permit import Permit, Vetted
    from gateway.core.ports import Answer, Credential
    from gateway.core.route import Route

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
    target = f"{call.path}?{call.query}" if call.query else call.path
    fields = [
        b"%b: %b\r\n" % (name, value)
        for name in route.request_headers
        if (value := call.headers.get(name)) is not None
    ]
    if vetted.content_type:
        fields.append(b"content-type: %b\r\n" % vetted.content_type)
    fields.append(
        b"accept-encoding: identity\r\nvia: 1.1 gateway\r\nx-request-id: %b\r\n%b"
        % (call.id.encode(), credential.fields)
    )
    return Outbound(
        route.backend,
        f"{call.method} {target} HTTP/1.1\r\n".encode(),
        b"".join(fields),
        vetted.body,
        is_idempotent=call.method in IDEMPOTENT,
        has_no_answer_body=call.method == "HEAD",
    )


def content_type(answer: Answer) -> bytes:
    """Return the answer's content type, or b""."""
    for name, value in answer.headers:
        if name == b"content-type":
            return value
    return b""


def is_event_stream(content_type: bytes) -> bool:
    """Tell whether an answer of this content type is a stream of server-sent events."""
    return content_type.partition(b";")[0].strip().lower() == b"text/event-stream"


def answer_headers(answer: Answer, route: Route, id: str) -> bytes:
    """Build the field lines that the client gets: the route's allow-list, and our request id.

    A field that a backend repeats is passed on once: the first. Nothing but what the route names
    crosses: no cookie, no redirect, no CORS grant, no server name (security.md, D13).
    """
    allowed = route.answer_headers
    fields = [b"x-request-id: %b\r\n" % id.encode()]
    seen = {b"x-request-id"}
    for name, value in answer.headers:
        if name in allowed and name not in seen and value.isascii():
            seen.add(name)
            fields.append(b"%b: %b\r\n" % (name, value))
    return b"".join(fields)

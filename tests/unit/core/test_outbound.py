"""What leaves for a backend."""

from __future__ import annotations

from gateway.core.outbound import Outbound


def test_an_outbound_request_is_sent_once_unless_told_otherwise() -> None:
    """Repeating is for methods that say so."""
    outbound = Outbound("llama", b"POST / HTTP/1.1\r\n", b"", b"{}")

    assert ("llama", b"POST / HTTP/1.1\r\n", b"", b"{}", False, False) == (
        outbound.backend,
        outbound.line,
        outbound.headers,
        outbound.body,
        outbound.is_idempotent,
        outbound.has_no_answer_body,
    )

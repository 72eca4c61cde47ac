"""What leaves, and what a vanished client raises."""

from __future__ import annotations

from gateway.core.outbound import Outbound
from gateway.core.ports import ClientGone


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


def test_a_vanished_client_is_no_error() -> None:
    """`except Exception` in a stage cannot take it for a failure."""
    assert not issubclass(ClientGone, Exception)

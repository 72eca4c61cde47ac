"""What a vanished client raises."""

from __future__ import annotations

from gateway.core.ports import ClientGone


def test_a_vanished_client_is_no_error() -> None:
    """`except Exception` in a stage cannot take it for a failure."""
    assert not issubclass(ClientGone, Exception)

"""Scripts, as the server names them."""

from __future__ import annotations

from gateway.state.script import Script


def test_the_digest_is_the_one_that_the_server_computes() -> None:
    """EVALSHA names a script by the SHA-1 of its very bytes."""
    script = Script("count")

    assert (len(script.digest), script.text.startswith(b"-- Add what one gateway")) == (40, True)

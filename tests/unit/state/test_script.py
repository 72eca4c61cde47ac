"""Scripts, as the server names them."""

from __future__ import annotations

import hiredis

from gateway.state.connection import pack
from gateway.state.script import Script, inlined, texts


def words(command: bytes) -> list[bytes]:
    """Read a packed command back."""
    reader = hiredis.Reader()
    reader.feed(command)
    parsed = reader.gets()
    assert isinstance(parsed, list)
    return parsed


def test_the_digest_is_the_one_that_the_server_computes() -> None:
    """EVALSHA names a script by the SHA-1 of its very bytes."""
    script = Script("count")

    assert (len(script.digest), script.text.startswith(b"-- Add what one gateway")) == (40, True)


def test_a_script_is_sent_along_in_place_of_its_digest() -> None:
    """Whichever it is, with all its words; what is no call of ours stays as it is."""
    for digest, text in texts().items():
        call = pack("EVALSHA", digest, 1, "key", "", b"\r\n$7\r\n")

        assert words(inlined(call)) == [b"EVAL", text, b"1", b"key", b"", b"\r\n$7\r\n"]
    digest = Script("draw").digest
    for other in (
        pack("PING"),
        pack("EVALSHA", b"0" * 40, 0),
        pack("SET", "x", pack("EVALSHA", digest, 0)[4:]),
    ):
        assert other == inlined(other)
    assert digest in texts()

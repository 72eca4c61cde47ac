"""Commands that are packed once per route."""

from __future__ import annotations

import hiredis

from gateway.core.limits import ConcurrencyLimit, RateLimit, RouteLimits
from gateway.state.script import LEASE_LENGTH, TAG_LENGTH, Claim, Script, inlined, pack, texts

TAG = b"0123456789abcdef" * 2
NAME = b"n" * LEASE_LENGTH


def words(command: bytes) -> list[bytes]:
    """Read a packed command back."""
    reader = hiredis.Reader()
    reader.feed(command)
    parsed = reader.gets()
    assert isinstance(parsed, list)
    return parsed


def test_a_template_is_the_packed_command() -> None:
    """Joining gives the very bytes that packing would."""
    script = Script("admit")
    limits = RouteLimits(
        "chat", (RateLimit("a", 60, 60.0, 10), RateLimit("b", 3, 7.0, 1)), ConcurrencyLimit("c", 4)
    )
    keys = [b"gateway:{%b}:chat:%b" % (TAG, name) for name in (b"a", b"b", b"c:leases")]
    expected = pack(
        "EVALSHA", script.digest, 3, *keys, 2, "", 4, "900.0", NAME, "1.0", "10.0", repr(7 / 3), repr(7 / 3)
    )
    claim = Claim(script, "gateway:", limits)

    assert expected == claim.command(TAG, NAME)
    assert pack("ZREM", keys[2], NAME) == claim.giving(TAG, NAME)


def test_names_of_the_configuration_stay_apart() -> None:
    """No name can look like a separator, a hash tag or a placeholder of the template."""
    limits = RouteLimits("T" * TAG_LENGTH, (RateLimit("L" * LEASE_LENGTH + "{}:%é", 1, 1.0, 1),))
    command = words(Claim(Script("admit"), "gateway:", limits).command(TAG, NAME))

    assert command[3] == b"gateway:{%b}:%b:%b" % (
        TAG,
        b"%54" * TAG_LENGTH,
        b"%4c" * LEASE_LENGTH + b"%7b%7d%3a%25%c3%a9",
    )


def test_the_digest_is_the_one_that_the_server_computes() -> None:
    """EVALSHA names a script by the SHA-1 of its very bytes."""
    script = Script("count")

    assert (len(script.digest), script.text.startswith(b"-- Add what one gateway")) == (40, True)


def test_a_script_is_sent_along_in_place_of_its_digest() -> None:
    """Whichever it is, with all its words; what is no call of ours stays as it is."""
    for digest, text in texts().items():
        call = pack("EVALSHA", digest, 1, "key", "", b"\r\n$7\r\n")

        assert words(inlined(call)) == [b"EVAL", text, b"1", b"key", b"", b"\r\n$7\r\n"]
    digest = Script("admit").digest
    for other in (
        pack("PING"),
        pack("EVALSHA", b"0" * 40, 0),
        pack("SET", "x", pack("EVALSHA", digest, 0)[4:]),
    ):
        assert other == inlined(other)
    assert digest in texts()

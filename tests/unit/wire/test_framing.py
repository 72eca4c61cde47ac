"""What a head must be: tables of what is taken and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.refusal import Refusal
from gateway.wire import framing


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (b"/", ("/", "")),
        (b"/?", ("/", "")),
        (b"/v1/chat/completions", ("/v1/chat/completions", "")),
        (b"/a?b=c&d=%20?/x", ("/a", "b=c&d=%20?/x")),
        (b"/models/org%20name", ("/models/org%20name", "")),
        (b"/%C3%A9", ("/%C3%A9", "")),
        (b"/a.b-c_d~e!$&'()*+,=:@", ("/a.b-c_d~e!$&'()*+,=:@", "")),
        (b"/...", ("/...", "")),
        (b"/" + b"a" * 8191, ("/" + "a" * 8191, "")),
    ],
)
def test_canonical_targets_are_taken_as_they_stand(target: bytes, expected: tuple[str, str]) -> None:
    """Path and query, byte for byte."""
    assert expected == framing.parse_target(target)


@pytest.mark.parametrize(
    "target",
    [
        b"", b"*", b"a", b"http://a/", b"a:443", b"//", b"//a", b"/a//b", b"/a/", b"/.", b"/..", b"/a/./b", b"/a/../b",
        b"/a/..", b"/%2e%2e/a", b"/%2E", b"/a%2Fb", b"/a%2fb", b"/a%5Cb", b"/a\\b", b"/%00", b"/%0A", b"/%7F", b"/%25",
        b"/%3B", b"/%3F", b"/%23", b"/a;b", b"/a#b", b"/%", b"/%2", b"/%zz", b"/%61", b"/%7E", b"/%c3%a9", b"/%FF", b"/%C3",
        b"/a b", b"/a\x00", b"/\xc3\xa9", b"/a?b#c", b"/a?b c", b"/a?\xff", b"/a?\\", b"/" + b"a" * 8192,
    ],
)  # fmt: skip
def test_other_targets_are_refused(target: bytes) -> None:
    """Never repaired: two parsers disagree about what somebody mended."""
    refusal = framing.parse_target(target)

    assert isinstance(refusal, Refusal)
    assert "target-refused" == refusal.reason.value


@given(st.binary(max_size=60))
def test_a_taken_target_is_what_goes_on(tail: bytes) -> None:
    """Path, mark and query put together again are the bytes that came."""
    target = b"/" + tail
    parsed = framing.parse_target(target)
    if isinstance(parsed, tuple):
        path, query = parsed

        assert (
            target.removesuffix(b"?" if not query else b"") == (f"{path}?{query}" if query else path).encode()
        )
        assert not {"", ".", ".."} & set(path[1:].split("/")) or path == "/"


@pytest.mark.parametrize("name", [b"a", b"x-request-id", b"0", b"-", b"a" * 256])
def test_names_that_are_taken(name: bytes) -> None:
    """Lower-case letters, digits, dashes."""
    assert framing.check_name(name)


@pytest.mark.parametrize("name", [b"", b"x_y", b"X", b"a b", b"a.b", b"a\xc3", b"a\n", b"a!", b"a" * 257])
def test_names_that_are_refused(name: bytes) -> None:
    """RFC 9110 lets more through; applications read `_` as `-`, and what else nobody knows."""
    assert not framing.check_name(name)


HOSTS = frozenset({b"a.example", b"[::1]"})


@pytest.mark.parametrize(
    ("host", "hosts"),
    [
        (b"a", frozenset()), (b"a:1", frozenset()), (b"[::1]:80", frozenset()), (b"127.0.0.1", frozenset()),
        (b"A.Example", HOSTS), (b"a.example:8443", HOSTS), (b"[::1]", HOSTS), (b"[::1]:1", HOSTS),
    ],
)  # fmt: skip
def test_hosts_that_are_taken(host: bytes, hosts: frozenset[bytes]) -> None:
    """Names and addresses with an optional port; case does not matter."""
    assert framing.check_host({b"host": host}, "1.1", hosts) is None


@pytest.mark.parametrize(
    ("host", "hosts"),
    [
        (None, frozenset()), (b"", frozenset()), (b"a b", frozenset()), (b"a,b", frozenset()), (b"a/b", frozenset()),
        (b"a:", frozenset()), (b"a:123456", frozenset()), (b"user@a", frozenset()), (b"[::1", frozenset()), (b"a:1:2", frozenset()),
        (b"b.example", HOSTS), (b"a.example.", HOSTS), (b"", HOSTS), (b"a.example:x", HOSTS), (b"::1", HOSTS), (None, HOSTS),
    ],
)  # fmt: skip
def test_hosts_that_are_refused(host: bytes | None, hosts: frozenset[bytes]) -> None:
    """Missing, malformed, or not ours."""
    refusal = framing.check_host({} if host is None else {b"host": host}, "1.1", hosts)

    assert refusal is not None
    assert "host-refused" == refusal.reason.value


def test_http_1_0_needs_a_host_only_where_hosts_are_configured() -> None:
    """It had none (RFC 9112, section 3.2); but then nobody can say that it is one of ours."""
    assert framing.check_host({}, "1.0", frozenset()) is None
    assert framing.check_host({}, "1.0", HOSTS) is not None


@pytest.mark.parametrize(
    ("headers", "version", "is_taken"),
    [
        ({}, "1.1", True),
        ({b"transfer-encoding": b"chunked"}, "1.1", True),
        ({b"transfer-encoding": b"Chunked"}, "1.1", True),
        ({b"transfer-encoding": b"chunked"}, "1.0", False),
        ({b"transfer-encoding": b"chunked", b"content-length": b"1"}, "1.1", False),
        ({b"transfer-encoding": b"gzip, chunked"}, "1.1", False),
        ({b"transfer-encoding": b"chunked, chunked"}, "1.1", False),
        ({b"transfer-encoding": b"identity"}, "1.1", False),
        ({b"transfer-encoding": b""}, "1.1", False),
    ],
)
def test_codings(headers: dict[bytes, bytes], version: str, is_taken: bool) -> None:
    """Chunked, alone, in HTTP/1.1."""
    refusal = framing.check_coding(headers, version)

    assert is_taken == (refusal is None)
    assert refusal is None or "framing-refused" == refusal.reason.value


def test_hop_by_hop_fields_are_removed() -> None:
    """All that RFC 9110, section 7.6.1, names, and all that Connection names."""
    headers = dict.fromkeys(framing.HOP_BY_HOP, b"x") | {b"x-mine": b"1", b"x-keep": b"2"}
    headers[b"connection"] = b"Keep-Alive , X-Mine,, x-none"

    assert (False, None) == framing.strip_hop_by_hop(headers)
    assert {b"x-keep": b"2"} == headers


@pytest.mark.parametrize(
    ("connection", "is_closing"), [(b"close", True), (b"a, CLOSE", True), (b"closed", False), (b"", False)]
)
def test_connection_close(connection: bytes, is_closing: bool) -> None:
    """A token, in any case, anywhere in the list."""
    assert (is_closing, None) == framing.strip_hop_by_hop({b"connection": connection})


@pytest.mark.parametrize("name", sorted(framing.PROTECTED))
def test_connection_can_not_remove_what_decisions_rest_on(name: bytes) -> None:
    """CVE-2024-45410 and its kin."""
    is_closing, refusal = framing.strip_hop_by_hop({b"connection": b"x-a, " + name.upper()})

    assert is_closing
    assert refusal is not None
    assert "header-refused" == refusal.reason.value


@pytest.mark.parametrize("character", sorted(set("!$&'()*+,=:@-._~aZ0;/%")))
def test_a_character_that_may_stand_as_it_is_has_no_second_spelling(character: str) -> None:
    """Or one resource would have two paths, and perhaps two routes."""
    escaped = f"/v1/models/secret%{ord(character):02X}predict".encode()

    assert isinstance(framing.parse_target(escaped), Refusal)


@pytest.mark.parametrize(
    ("data", "start", "expected"),
    [
        (b": 12\r", 2, (12, 4)),
        (b"7", 0, (7, 1)),
        (b"0", 0, (0, 1)),
        (b"05", 0, (0, 1)),
        (b"+5", 0, (0, 0)),
        (b"5 ", 0, (5, 1)),
        (b"\xb25", 0, (0, 0)),
        (b"9999999999", 0, (9_999_999_999, 10)),
        (b"99999999999", 0, (9_999_999_999, 10)),
        (b"", 0, (0, 0)),
    ],
)
def test_a_number_at_a_place(data: bytes, start: int, expected: tuple[int, int]) -> None:
    """One to ten digits without a leading zero; what follows them is the caller's to compare."""
    assert expected == framing.leading_number(data, start)


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"a\r\nContent-Length: 12\r\nb: c\r\n\r\n", (b"a\r\nContent-Length: ", b"\r\nb: c\r\n\r\n")),
        (b"a\r\ncontent-length: 0\r\n\r\n", (b"a\r\ncontent-length: ", b"\r\n\r\n")),
        (b"a\r\nb: content-length: 1\r\n\r\n", (b"a\r\nb: content-length: 1\r\n\r\n", b"")),
        (b"a\r\nCONTENT-LENGTH: 1\r\n\r\n", None),
        (b"a\r\nContent-Length:1\r\n\r\n", None),
        (b"a\r\nContent-Length: 1 \r\n\r\n", None),
        (b"a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", None),
    ],
)
def test_a_head_is_split_only_where_its_length_is_certain(
    head: bytes, expected: tuple[bytes, bytes] | None
) -> None:
    """One field, spelled as everybody does; or none at all."""
    assert expected == framing.split_at_length(head, head.lower())

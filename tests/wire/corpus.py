"""Raw bytes that a listener meets, and what must come of them.

`REFUSED`: nothing reaches a backend, at most one answer (4xx) is given, the connection is closed.
`TAKEN`: exactly these requests reach the backend. Each entry is named by what it tries.
"""

from __future__ import annotations

from typing import Final

H = b"Host: a\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"


def post(fields: bytes, body: bytes = b"") -> bytes:
    """A POST with these fields and this body."""
    return b"POST / HTTP/1.1\r\nHost: a\r\n" + fields + b"\r\n" + body


def get(target: bytes = b"/", fields: bytes = b"") -> bytes:
    """A GET of this target with these fields."""
    return b"GET " + target + b" HTTP/1.1\r\nHost: a\r\n" + fields + b"\r\n"


CHUNKED = b"Transfer-Encoding: chunked\r\n"
LAST = b"0\r\n\r\n"

REFUSED: Final[dict[str, bytes]] = {
    # which length counts: RFC 9112, sections 6.1 to 6.3
    "cl-te": post(b"Content-Length: 40\r\n" + CHUNKED, LAST + SMUGGLED),
    "te-cl": post(CHUNKED + b"Content-Length: 4\r\n", b"5c\r\n" + SMUGGLED + LAST),
    "cl-zero-te": post(b"Content-Length: 0\r\n" + CHUNKED, LAST + SMUGGLED),
    "two-lengths": post(b"Content-Length: 0\r\nContent-Length: 38\r\n", SMUGGLED),
    "two-equal-lengths": post(b"Content-Length: 1\r\nContent-Length: 1\r\n", b"x"),
    "length-list": post(b"Content-Length: 1, 1\r\n", b"x"),
    "length-plus": post(b"Content-Length: +1\r\n", b"x"),
    "length-minus": post(b"Content-Length: -1\r\n", b"x"),
    "length-hex": post(b"Content-Length: 0x1\r\n", b"x"),
    "length-float": post(b"Content-Length: 1.0\r\n", b"x"),
    "length-underscore": post(b"Content-Length: 1_0\r\n", b"x" * 10),
    "length-space-inside": post(b"Content-Length: 1 0\r\n", b"x" * 10),
    "length-empty": post(b"Content-Length: \r\n", SMUGGLED),
    "length-overflow": post(b"Content-Length: 18446744073709551617\r\n", b"x"),
    "length-space-before-colon": post(b"Content-Length : 38\r\n", SMUGGLED),
    "length-tab-before-colon": post(b"Content-Length\t: 38\r\n", SMUGGLED),
    "length-underscored-name": post(b"Content_Length: 38\r\n", SMUGGLED),
    "te-space-before-colon": post(b"Transfer-Encoding : chunked\r\n", LAST + SMUGGLED),
    "te-xchunked": post(b"Transfer-Encoding: xchunked\r\n", LAST + SMUGGLED),
    "te-quoted": post(b'Transfer-Encoding: "chunked"\r\n', LAST + SMUGGLED),
    "te-vertical-tab": post(b"Transfer-Encoding: \x0bchunked\r\n", LAST + SMUGGLED),
    "te-gzip-chunked": post(b"Transfer-Encoding: gzip, chunked\r\n", LAST + SMUGGLED),
    "te-chunked-identity": post(b"Transfer-Encoding: chunked, identity\r\n", LAST + SMUGGLED),
    "te-chunked-twice": post(b"Transfer-Encoding: chunked, chunked\r\n", LAST + SMUGGLED),
    "te-two-fields": post(CHUNKED + CHUNKED, LAST + SMUGGLED),
    "te-identity": post(b"Transfer-Encoding: identity\r\nContent-Length: 5\r\n", b"hello" + SMUGGLED),
    "te-empty": post(b"Transfer-Encoding: \r\n", LAST + SMUGGLED),
    "te-on-1.0": b"POST / HTTP/1.0\r\nHost: a\r\n" + CHUNKED + b"\r\n" + LAST + SMUGGLED,
    "te-folded": post(b"Transfer-Encoding:\r\n chunked\r\n", LAST + SMUGGLED),
    # chunks: section 7.1
    "chunk-size-0x": post(CHUNKED, b"0x1\r\nx\r\n" + LAST),
    "chunk-size-plus": post(CHUNKED, b"+1\r\nx\r\n" + LAST),
    "chunk-size-minus": post(CHUNKED, b"-1\r\nx\r\n" + LAST),
    "chunk-size-space-before": post(CHUNKED, b" 1\r\nx\r\n" + LAST),
    "chunk-size-underscore": post(CHUNKED, b"1_0\r\n" + b"x" * 16 + b"\r\n" + LAST),
    "chunk-size-empty": post(CHUNKED, b"\r\nx\r\n" + LAST),
    "chunk-size-overflow": post(CHUNKED, b"fffffffffffffffff\r\nx\r\n" + LAST),
    "chunk-size-lf": post(CHUNKED, b"1\nx\r\n" + LAST),
    "chunk-extension-lf": post(CHUNKED, b"1;\nx\r\n" + LAST + SMUGGLED),
    "chunk-data-too-long": post(CHUNKED, b"1\r\nxx\r\n" + LAST + SMUGGLED),
    "chunk-end-lf": post(CHUNKED, b"1\r\nx\n" + LAST + SMUGGLED),
    "trailer-bad-name": post(CHUNKED, b"0\r\nA B: c\r\n\r\n" + SMUGGLED),
    # lines and characters: sections 2.2 and 5
    "bare-lf": b"GET / HTTP/1.1\nHost: a\n\n",
    "bare-lf-last": b"GET / HTTP/1.1\r\nHost: a\r\n\n" + SMUGGLED,
    "bare-cr-in-value": get(b"/", b"X: a\rSet: b\r\n"),
    "nul-in-value": get(b"/", b"X: a\x00b\r\n"),
    "escape-in-value": get(b"/", b"X: a\x1bb\r\n"),
    "delete-in-value": get(b"/", b"X: a\x7fb\r\n"),
    "utf8-in-value": get(b"/", "X: é\r\n".encode()),
    "latin1-in-value": get(b"/", b"X: \xe9\r\n"),
    "nul-in-name": get(b"/", b"X\x00: a\r\n"),
    "space-in-name": get(b"/", b"X Y: a\r\n"),
    "underscore-in-name": get(b"/", b"X_Forwarded_For: a\r\n"),
    "dot-in-name": get(b"/", b"x.forwarded.for: a\r\n"),
    "empty-name": get(b"/", b": a\r\n"),
    "no-colon": get(b"/", b"nonsense\r\n"),
    "folded-field": get(b"/", b"X: a\r\n b\r\n"),
    "space-before-first-field": b"GET / HTTP/1.1\r\n Host: a\r\n\r\n",
    "two-authorizations": get(b"/", b"Authorization: Bearer a\r\nAuthorization: Bearer b\r\n"),
    "two-content-types": post(b"Content-Type: a/b\r\ncontent-type: c/d\r\nContent-Length: 0\r\n"),
    "two-request-ids": get(b"/", b"X-Request-Id: a\r\nX-Request-Id: b\r\n"),
    # request line: section 3
    "no-version": b"GET /\r\n\r\n",
    "version-0.9": b"GET / HTTP/0.9\r\nHost: a\r\n\r\n",
    "version-1.2": b"GET / HTTP/1.2\r\nHost: a\r\n\r\n",
    "version-2.0": b"GET / HTTP/2.0\r\nHost: a\r\n\r\n",
    "version-lower-case": b"GET / http/1.1\r\nHost: a\r\n\r\n",
    "version-no-dot": b"GET / HTTP/11\r\nHost: a\r\n\r\n",
    "http2-preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "method-lower-case": b"get / HTTP/1.1\r\nHost: a\r\n\r\n",
    "method-unknown": b"EVIL / HTTP/1.1\r\nHost: a\r\n\r\n",
    "space-after-version": b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
    "tab-for-space": b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n",
    "space-in-target": b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
    "absolute-form": get(b"http://evil/"),
    "absolute-form-same-host": get(b"http://a/"),
    "authority-form": get(b"a:443"),
    "asterisk-form": b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
    "connect": b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n",
    "target-dots": get(b"/v1/../admin"),
    "target-encoded-dots": get(b"/v1/%2e%2e/admin"),
    "target-double-slash": get(b"//evil/"),
    "target-encoded-slash": get(b"/v1%2Fadmin"),
    "target-backslash": get(b"/v1\\admin"),
    "target-encoded-backslash": get(b"/v1%5Cadmin"),
    "target-nul": get(b"/%00"),
    "target-crlf": get(b"/%0D%0A"),
    "target-double-encoding": get(b"/%2561"),
    "target-needless-encoding": get(b"/%61dmin"),
    "target-overlong-utf8": get(b"/%C0%AE"),
    "target-parameter": get(b"/v1;a=b/admin"),
    "target-fragment": get(b"/v1#x"),
    "target-high-byte": get(b"/\xc3\xa9"),
    "target-bad-encoding": get(b"/%zz"),
    # Host: section 3.2
    "host-missing": b"GET / HTTP/1.1\r\n\r\n",
    "host-twice": get(b"/", H),
    "host-empty": b"GET / HTTP/1.1\r\nHost: \r\n\r\n",
    "host-list": b"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n",
    "host-userinfo": b"GET / HTTP/1.1\r\nHost: x@a\r\n\r\n",
    "host-path": b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
    "host-bad-port": b"GET / HTTP/1.1\r\nHost: a:8o\r\n\r\n",
    # what a client may not ask for
    "upgrade-websocket": get(b"/", b"Connection: upgrade\r\nUpgrade: websocket\r\n") + SMUGGLED,
    "upgrade-h2c": get(
        b"/", b"Connection: upgrade, http2-settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n"
    ),
    "upgrade-with-body": post(b"Connection: upgrade\r\nUpgrade: h2c\r\nContent-Length: 5\r\n", b"hello")
    + SMUGGLED,
    "expect-other": post(b"Expect: x\r\nContent-Length: 0\r\n"),
    "connection-names-host": get(b"/", b"Connection: host\r\n"),
    "connection-names-authorization": get(
        b"/", b"Authorization: a\r\nConnection: keep-alive, Authorization\r\n"
    ),
    "connection-names-length": post(b"Connection: content-length\r\nContent-Length: 38\r\n", SMUGGLED),
    # no HTTP at all
    "tls-hello": b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03" + b"\x00" * 40,
    "ssh": b"SSH-2.0-OpenSSH_9.2\r\n",
    "redis": b"*1\r\n$4\r\nPING\r\n",
    "smtp": b"EHLO a\r\n",
    "response": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "zeros": b"\x00" * 100,
}

TAKEN: Final[dict[str, tuple[bytes, list[bytes]]]] = {
    "plain": (get(b"/x"), [b"GET /x"]),
    # RFC 9112, section 3, lets a recipient split the request line at runs of spaces; llhttp does so here
    "two-spaces": (b"GET  /x HTTP/1.1\r\nHost: a\r\n\r\n", [b"GET /x"]),
    "space-after-target": (b"GET /x  HTTP/1.1\r\nHost: a\r\n\r\n", [b"GET /x"]),
    "query": (get(b"/x?a=b&c=%20"), [b"GET /x?a=b&c=%20"]),
    "empty-line-first": (b"\r\n" + get(b"/x"), [b"GET /x"]),
    "body": (post(b"Content-Length: 5\r\n", b"hello"), [b"POST /"]),
    "leading-zero-length": (post(b"Content-Length: 005\r\n", b"hello"), [b"POST /"]),
    "chunks": (post(CHUNKED, b"5\r\nhello\r\n" + LAST), [b"POST /"]),
    "chunk-extension": (post(CHUNKED, b"5;a=b\r\nhello\r\n" + LAST), [b"POST /"]),
    "chunk-leading-zeros": (post(CHUNKED, b"0005\r\nhello\r\n" + LAST), [b"POST /"]),
    "chunked-upper-case": (post(b"Transfer-Encoding: CHUNKED\r\n", LAST), [b"POST /"]),
    "trailer-authorization": (post(CHUNKED, b"0\r\nAuthorization: a\r\n\r\n"), [b"POST /"]),
    "body-that-looks-like-a-request": (
        post(b"Content-Length: %d\r\n" % len(SMUGGLED), SMUGGLED),
        [b"POST /"],
    ),
    "two": (get(b"/x") + get(b"/y"), [b"GET /x", b"GET /y"]),
    "two-with-bodies": (post(b"Content-Length: 1\r\n", b"x") * 2, [b"POST /", b"POST /"]),
    "after-close-nothing": (get(b"/x", b"Connection: close\r\n") + SMUGGLED, [b"GET /x"]),
    "after-1.0-nothing": (b"GET /x HTTP/1.0\r\nHost: a\r\n\r\n" + SMUGGLED, [b"GET /x"]),
    "before-nonsense": (get(b"/x") + b"NONSENSE\r\n\r\n" + SMUGGLED, [b"GET /x"]),
    "before-refused": (get(b"/x") + get(b"/..") + SMUGGLED, [b"GET /x"]),
    "upgrade-without-connection": (get(b"/x", b"Upgrade: h2c\r\n"), [b"GET /x"]),
    "connection-names-others": (
        get(b"/x", b"Connection: x-a, te\r\nX-A: b\r\nTE: trailers\r\n"),
        [b"GET /x"],
    ),
    "value-with-tab": (get(b"/x", b"X: a\tb\r\n"), [b"GET /x"]),
    "cookie-twice": (get(b"/x", b"Cookie: a=b\r\nCookie: c=d\r\n"), [b"GET /x"]),
}

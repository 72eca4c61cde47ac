"""`fetch`: the client for issuers, against servers that are slow, huge, gone, broken or hostile."""

from __future__ import annotations

import asyncio
import gzip
import ssl
import tracemalloc
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any

import pytest

from gateway.credentials.destinations import DestinationError
from gateway.credentials.development import DevelopmentPki
from gateway.credentials.fetch import MAX_BODY_BYTES, Fetcher, FetchError
from gateway.credentials.tls import TlsError

from .parts import FixedClock
from .providers import (
    Exchange,
    Provider,
    answering,
    dripping,
    handshaking,
    providing,
    raw,
    resolving,
    silence,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    """A server on this machine."""
    async with providing() as one:
        yield one


@pytest.fixture
async def fetcher() -> AsyncIterator[Fetcher]:
    """A client without any settings."""
    one = Fetcher(FixedClock())
    yield one
    await one.close()


@pytest.fixture
def pki(tmp_path: Path) -> DevelopmentPki:
    """Authorities, and a certificate for a server named `idp.example`."""
    one = DevelopmentPki(tmp_path)
    one.init()
    one.issue("idp", "server", dns=["idp.example", "127.0.0.1"])
    return one


async def word(fetcher: Fetcher, url: str, **more: object) -> str:
    """Return the word for what goes wrong."""
    with pytest.raises(FetchError) as failed:
        await fetcher.get(url, **more)  # type: ignore[arg-type]
    return failed.value.word


async def test_an_answer_is_status_type_age_and_body(provider: Provider, fetcher: Fetcher) -> None:
    """What is asked for comes back whole; the URL is sent as it is written."""
    fields = {"Content-Type": "Application/JSON; charset=utf-8", "Cache-Control": "public, max-age=60"}
    provider.say = answering(b'{"a":1}', fields=fields)
    found = await fetcher.get(f"{provider.origin}/a%2fb/%2e%2e/c?p=q%20r")

    assert (200, "application/json", 60.0, b'{"a":1}') == found
    assert ["/a%2fb/%2e%2e/c?p=q%20r"] == provider.targets
    assert "GET" == provider.asked[0].method


async def test_an_answer_may_say_nothing_of_itself(provider: Provider, fetcher: Fetcher) -> None:
    """Without sound fields there is no type and no age."""
    provider.say = answering(b"x", fields={"Content-Type": "text", "Cache-Control": "max-age=x"})

    assert (200, "", None, b"x") == await fetcher.get(provider.origin)


async def test_a_request_says_little(
    provider: Provider, fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """No compression is asked for; no cookie, proxy or `.netrc` of the environment is used."""
    (tmp_path / "netrc").write_text("machine localhost login a password b\n")
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    provider.say = answering(b"{}", fields={"Set-Cookie": "a=b"})
    origin = f"http://localhost:{provider.port}"  # a name: cookies of addresses are never kept
    await fetcher.get(origin)
    await fetcher.get(origin, accept="application/jwk-set+json", headers={"Authorization": "Basic eA=="})

    expected = {
        "Accept": "application/json",
        "User-Agent": "model-gateway",
        "Accept-Encoding": "identity",
        "Host": f"localhost:{provider.port}",
    }
    more = {"Accept": "application/jwk-set+json", "Authorization": "Basic eA=="}
    assert [expected, expected | more] == [each.fields for each in provider.asked]
    assert 1 == provider.connections


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Host", "evil"),
        ("accept-encoding", "gzip"),
        ("Cookie", "a=b"),
        ("X", "a\r\nb: c"),
        ("X", ""),
        ("X y", "a"),
    ],
)
async def test_fields_that_are_not_sent(fetcher: Fetcher, name: str, value: str) -> None:
    """Fields that steer the connection are ours, and a value is one line."""
    with pytest.raises(ValueError, match="header field"):
        await fetcher.get("https://idp.example/", headers={name: value})


async def test_forms_and_json_are_posted(provider: Provider, fetcher: Fetcher) -> None:
    """Token endpoints take forms, streams of events take JSON; one of the two."""
    provider.say = answering(b"{}", 400)
    found = await fetcher.post(provider.origin, form={"token": "a b&c"}, statuses={200, 400})
    await fetcher.post(provider.origin, json={"maxEvents": 1}, statuses={400})
    for bodies in ({}, {"form": {}, "json": 1}):
        with pytest.raises(ValueError, match="either"):
            await fetcher.post(provider.origin, **bodies)  # type: ignore[arg-type]

    assert 400 == found.status
    assert [b"token=a+b%26c", b'{"maxEvents":1}'] == [each.body for each in provider.asked]
    assert ["application/x-www-form-urlencoded", "application/json"] == [
        each.fields["Content-Type"] for each in provider.asked
    ]


@pytest.mark.parametrize("status", [201, 204, 400, 401, 403, 404, 429, 500, 503])
async def test_other_statuses_are_failures(provider: Provider, fetcher: Fetcher, status: int) -> None:
    """Only what was asked for is an answer; the word carries the number."""
    provider.say = answering(b"", status)
    with pytest.raises(FetchError) as failed:
        await fetcher.get(provider.origin)

    assert (f"status-{status}", status) == (failed.value.word, failed.value.status)


@pytest.mark.parametrize("status", [300, 301, 302, 303, 307, 308])
async def test_redirects_are_not_followed(provider: Provider, fetcher: Fetcher, status: int) -> None:
    """An issuer cannot send the gateway anywhere, not even to itself."""
    provider.say = answering(b"", status, {"Location": f"{provider.origin}/other"})

    assert "redirect" == await word(fetcher, f"{provider.origin}/jwks")
    assert ["/jwks"] == provider.targets


async def test_a_body_without_end_costs_its_bound(provider: Provider, fetcher: Fetcher) -> None:
    """Ten gigabytes, said or not, are cut off after a bounded number of bytes in memory."""
    sent = 0

    async def flood(exchange: Exchange) -> None:
        nonlocal sent
        length = f"Content-Length: {10 * 2**30}\r\n" if exchange.target == "/said" else ""
        await exchange.write(f"HTTP/1.1 200 OK\r\n{length}\r\n".encode())
        while True:
            await exchange.write(b" " * 65536)
            sent += 65536

    provider.say = flood
    tracemalloc.start()
    try:
        assert "too-large" == await word(fetcher, f"{provider.origin}/said")
        assert "too-large" == await word(fetcher, f"{provider.origin}/unsaid")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 16 * MAX_BODY_BYTES > peak
    assert 64 * MAX_BODY_BYTES > sent


async def test_a_body_of_the_limit_is_read(provider: Provider, fetcher: Fetcher) -> None:
    """The bound is exact."""
    provider.say = answering(b"x" * 1000)

    assert 1000 == len((await fetcher.get(provider.origin, limit=1000)).body)
    assert "too-large" == await word(fetcher, provider.origin, limit=999)


@pytest.mark.parametrize("status", [200, 500])
async def test_an_unread_body_is_no_next_answer(provider: Provider, fetcher: Fetcher, status: int) -> None:
    """What was cut off is gone with its connection."""
    inner = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"

    async def more_to_come(exchange: Exchange) -> None:
        await exchange.write(b"HTTP/1.1 %d X\r\nContent-Length: 100000\r\n\r\n" % status + inner * 10)

    provider.say = more_to_come
    assert await word(fetcher, provider.origin, limit=1000) in {"too-large", "status-500"}
    provider.say = answering(b"good")

    assert b"good" == (await fetcher.get(provider.origin)).body
    assert 2 == provider.connections


@pytest.mark.parametrize(
    "say",
    [
        silence,
        dripping(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", b"x"),
        dripping(b"HTTP/1.1 200 OK\r\nX: ", b"x"),
        dripping(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"),
    ],
    ids=["silence", "slow-body", "slow-headers", "interim-answers"],
)
async def test_time_is_bounded_all_in_all(provider: Provider, fetcher: Fetcher, say: object) -> None:
    """A trickle does not keep a request alive: the time counts from its begin."""
    provider.say = say  # type: ignore[assignment]

    assert "timeout" == await word(fetcher, provider.origin, seconds=0.1)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "gzip, identity", "x"])
async def test_nothing_is_decompressed(provider: Provider, fetcher: Fetcher, encoding: str) -> None:
    """A small compressed body cannot become a large one: it is refused unread."""
    provider.say = answering(gzip.compress(bytes(50_000_000)), fields={"Content-Encoding": encoding})

    assert "encoding" == await word(fetcher, provider.origin)


async def test_identity_is_no_encoding(provider: Provider, fetcher: Fetcher) -> None:
    """Some servers name what they did not do."""
    provider.say = answering(b"{}", fields={"Content-Encoding": "identity"})

    assert b"{}" == (await fetcher.get(provider.origin)).body


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: y\r\n" % each for each in range(1000)) + b"\r\n{}",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n{}",
        b"HTTP/1.1 200 " + b"O" * 100_000 + b"\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{} ",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n{}",
        b"SSH-2.0-x\r\n",
        b"\x15\x03\x01\x00\x02\x02\x28",
    ],
    ids=["1000-fields", "long-field", "long-line", "two-lengths", "no-length", "ssh", "tls"],
)
async def test_what_is_no_sound_http_is_refused(provider: Provider, fetcher: Fetcher, data: bytes) -> None:
    """Heads are bounded in lines and bytes, and framing is clear."""
    provider.say = raw(data)

    assert "malformed" == await word(fetcher, provider.origin)


async def test_an_answer_is_whole_or_none(provider: Provider, fetcher: Fetcher) -> None:
    """A connection that ends before the body does brings nothing."""
    provider.say = raw(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{}")
    assert "truncated" == await word(fetcher, provider.origin)
    provider.say = raw(b"")

    assert "closed" == await word(fetcher, provider.origin)


async def test_nobody_there(fetcher: Fetcher) -> None:
    """A closed port and a name that nobody has."""
    async with providing() as gone:
        origin = gone.origin

    assert "unreachable" == await word(fetcher, origin)
    assert "dns" == await word(fetcher, "https://idp.invalid/")


async def test_a_bad_url_is_never_asked(fetcher: Fetcher) -> None:
    """The rules for URLs hold for each request, whoever made the URL."""
    with pytest.raises(DestinationError):
        await fetcher.get("http://idp.example/")


async def test_a_post_on_a_dead_connection_may_be_repeated(provider: Provider, fetcher: Fetcher) -> None:
    """Where asking twice does no harm, a connection that died under the request is replaced once."""

    async def first_fails(exchange: Exchange) -> None:
        if len(provider.asked) % 2:
            exchange.writer.transport.abort()
        else:
            await exchange.answer()

    provider.say = first_fails
    assert 200 == (await fetcher.post(provider.origin, form={"a": "b"}, is_repeatable=True)).status
    assert 2 == len(provider.asked)
    with pytest.raises(FetchError, match="closed"):
        await fetcher.post(provider.origin, form={"a": "b"})
    assert 3 == len(provider.asked)
    provider.say = raw(b"x")

    with pytest.raises(FetchError, match="malformed"):
        await fetcher.post(provider.origin, form={"a": "b"}, is_repeatable=True)
    assert 4 == len(provider.asked)


async def test_closing_ends_and_can_be_repeated(provider: Provider, fetcher: Fetcher) -> None:
    """Who waits is told; a later request opens anew."""
    provider.say = silence
    waiting = asyncio.ensure_future(fetcher.get(provider.origin))
    while not provider.asked:
        await asyncio.sleep(0)
    await fetcher.close()
    with pytest.raises(FetchError, match="closed"):
        await waiting
    await fetcher.close()
    provider.say = Exchange.answer

    assert 200 == (await fetcher.get(provider.origin)).status


def serving(pki: DevelopmentPki, name: str = "idp", *, client_ca: Path | None = None) -> ssl.SSLContext:
    """The context of an issuer's server: of anybody's making, so not ours."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki.directory / f"{name}.pem", pki.directory / f"{name}.key")
    if client_ca is not None:
        context.load_verify_locations(client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


async def tls_word(pki: DevelopmentPki, context: ssl.SSLContext, **more: Any) -> str:
    """Return what goes wrong with a server, or "" if nothing does."""
    with handshaking(context) as port:
        fetcher = Fetcher(pki.clock, **({"ca": pki.ca("gateway")} | more))
        try:
            await fetcher.get(f"https://127.0.0.1:{port}/")
        except FetchError as failure:
            return failure.word
        finally:
            await fetcher.close()
        return ""


async def test_own_authority_is_the_only_one(pki: DevelopmentPki) -> None:
    """With `ca` that authority alone is believed; without it, the system's."""
    context = serving(pki)

    assert "" == await tls_word(pki, context)
    assert "tls" == await tls_word(pki, context, ca=pki.ca("clients"))
    assert "tls" == await tls_word(pki, context, ca=None)


async def test_a_certificate_is_valid_now_and_names_the_host(pki: DevelopmentPki) -> None:
    """Expired and foreign certificates are refused."""
    pki.issue("old", "server", dns=["127.0.0.1"], days=-1)
    pki.issue("other", "server", dns=["other.example"])
    pki.issue("client", "client", dns=["127.0.0.1"], authority="gateway")

    assert ["tls"] * 3 == [await tls_word(pki, serving(pki, name)) for name in ("old", "other", "client")]


async def test_old_tls_is_refused(pki: DevelopmentPki) -> None:
    """Nothing below TLS 1.2."""
    context = serving(pki)
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        context.minimum_version = ssl.TLSVersion.TLSv1
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")

    assert "tls" == await tls_word(pki, context)


async def test_https_is_never_plain(pki: DevelopmentPki) -> None:
    """A server without TLS gets no request."""
    heard = b""

    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal heard
        heard = await reader.read(65536)
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(plain, "127.0.0.1", 0)
    fetcher = Fetcher(pki.clock, ca=pki.ca("gateway"))
    assert "tls" == await word(fetcher, f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
    await fetcher.close()
    server.close()

    assert b"\x16\x03" == heard[:2]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_client_certificate_is_shown_where_there_is_one(
    pki: DevelopmentPki, version: ssl.TLSVersion
) -> None:
    """Mutual TLS (RFC 8705): with the pair the server answers, without it the failure is said to be of TLS."""
    own = pki.issue("gateway", "client")
    context = serving(pki, client_ca=pki.ca("clients"))
    context.maximum_version = version

    assert "" == await tls_word(pki, context, certificate=own.certificate, private_key=own.key)
    assert "tls" == await tls_word(pki, context)


def test_a_client_certificate_needs_its_key(pki: DevelopmentPki) -> None:
    """Half a pair is a mistake of the configuration, found when it is loaded."""
    with pytest.raises(TlsError):
        Fetcher(pki.clock, certificate=pki.directory / "idp.pem")
    with pytest.raises(TlsError):
        Fetcher(pki.clock, private_key=pki.directory / "idp.key")


async def test_names_are_checked_by_address_and_by_certificate(
    pki: DevelopmentPki, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name leads to listed networks only; `Host`, SNI and the certificate stay those of the name."""
    fetcher = Fetcher(pki.clock, ca=pki.ca("gateway"), networks=[ip_network("127.0.0.1/32")])
    async with providing(serving(pki)) as provider:
        asked = resolving(monkeypatch, ["127.0.0.1"])
        await fetcher.get(f"https://idp.example:{provider.port}/jwks")
    await fetcher.close()

    assert f"idp.example:{provider.port}" == provider.asked[0].fields["Host"]
    assert ["idp.example"] == asked

"""An attempt says in one line what came back, whatever came."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, ClassVar

import msgspec
import pytest

from gateway.cli.demo.attempts import HANDSHAKE, LIMIT_AT_MOST, Caller, Came, context, knock
from gateway.credentials.development import DevelopmentPki, Issued

if TYPE_CHECKING:
    from collections.abc import Iterator

ANSWER = {
    "id": "1",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Paris."}}],
}
CHUNK = {
    "id": "1",
    "object": "chat.completion.chunk",
    "created": 1,
    "model": "m",
    "choices": [{"index": 0, "delta": {"content": "Pa"}}],
}


class Scripted(BaseHTTPRequestHandler):
    """Answers as the test wrote it down; keeps what came."""

    answers: ClassVar[list[tuple[int, dict[str, str], bytes]]] = []
    came: ClassVar[list[tuple[str, bytes]]] = []

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        Scripted.came.append((self.path, self.rfile.read(length)))
        status, headers, body = Scripted.answers.pop(0) if len(Scripted.answers) > 1 else Scripted.answers[0]
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST  # noqa: N815 - the library's word

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> DevelopmentPki:
    """Authorities, a server and alice."""
    made = DevelopmentPki(tmp_path_factory.mktemp("pki"))
    made.init()
    made.issue("gateway", "server")
    made.issue("alice", "client")
    return made


@pytest.fixture(scope="module")
def port(pki: DevelopmentPki) -> Iterator[int]:
    """Port of a server that demands certificates and answers by script."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.verify_mode = ssl.CERT_REQUIRED
    tls.load_cert_chain(pki.directory / "gateway.pem", pki.directory / "gateway.key")
    tls.load_verify_locations(pki.ca("clients"))
    server = ThreadingHTTPServer(("127.0.0.1", 0), Scripted)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def alice(pki: DevelopmentPki, port: int) -> Iterator[Caller]:
    """Somebody with a certificate and a token."""
    Scripted.came.clear()
    owner = Issued(pki.directory / "alice.pem", pki.directory / "alice.key")
    caller = Caller(port, pki.ca("gateway"), owner, "a-token")
    yield caller
    caller.client.close()


def script(*answers: tuple[int, dict[str, str], object]) -> None:
    """Write down what the server answers, one after the other; the last one again and again."""
    Scripted.answers[:] = [
        (status, {"Content-Type": "application/json", **headers}, body if isinstance(body, bytes) else msgspec.json.encode(body))
        for status, headers, body in answers
    ]  # fmt: skip


REFUSAL = {"error": {"message": "This is not allowed", "code": "forbidden", "type": "x", "param": None}}
LIMIT = {"error": {"message": "Too many requests", "code": "too-many-requests", "type": "x", "param": None}}


def test_an_answer_is_its_text(alice: Caller) -> None:
    """A served request shows what the model said."""
    script((200, {}, ANSWER))

    assert Came("200", "Paris.") == alice.ask("Capital?", temperature="hot")
    assert b'"temperature":"hot"' in Scripted.came[0][1].replace(b": ", b":")


def test_a_refusal_is_its_status_and_public_word(alice: Caller) -> None:
    """By whichever way the request was sent."""
    script((403, {}, REFUSAL))
    expected = Came("403 forbidden", "This is not allowed")

    assert [expected] * 3 == [alice.ask("?"), alice.post(b"{}"), alice.get("/slots")]


def test_a_refusal_of_somebody_else_has_no_code(alice: Caller) -> None:
    """An answer that is no problem document is never taken for an expected one."""
    script((403, {"Content-Type": "text/plain"}, b"no"))

    assert "403 no code" == alice.ask("?").outcome


def test_bytes_go_as_they_are(alice: Caller) -> None:
    """A body that the client would never make arrives unchanged."""
    script((200, {}, {}))

    assert Came("200") == alice.post(b'{"a":1,"a":2}')
    assert Came("200") == alice.get("/models")
    assert ("/v1/chat/completions", b'{"a":1,"a":2}') == Scripted.came[0]


def test_a_stream_comes_in_pieces(alice: Caller) -> None:
    """Pieces without text are empty; what has no choices is left out."""
    events = [CHUNK, {**CHUNK, "choices": [{"index": 0, "delta": {}}]}, {**CHUNK, "choices": []}]
    body = (
        b"".join(b"data: " + msgspec.json.encode(event) + b"\n\n" for event in events) + b"data: [DONE]\n\n"
    )
    script((200, {"Content-Type": "text/event-stream"}, body))

    assert ["Pa", ""] == list(alice.stream("?"))


def test_asking_too_often_ends_at_the_first_refusal(alice: Caller) -> None:
    """It shows when to come again, and how many were answered before."""
    script((200, {}, ANSWER), (200, {}, ANSWER), (429, {"Retry-After": "9"}, LIMIT))

    assert Came("429 too-many-requests", "Retry-After: 9 s, after 2 answers") == alice.exhaust("?")


def test_a_limit_that_never_comes_is_noticed(alice: Caller) -> None:
    """The demo fails rather than asking for ever."""
    script((200, {}, ANSWER))

    assert "200" == alice.exhaust("?").outcome
    assert LIMIT_AT_MOST == len(Scripted.came)


def test_no_certificate_is_a_refused_handshake(pki: DevelopmentPki, port: int) -> None:
    """TLS 1.3 tells the client only after its handshake: what counts is that no byte of an answer comes."""
    assert HANDSHAKE == knock(port, context(pki.ca("gateway"), None)).outcome


def test_a_gateway_of_another_authority_is_not_believed(pki: DevelopmentPki, port: int) -> None:
    """The client checks too."""
    owner = Issued(pki.directory / "alice.pem", pki.directory / "alice.key")
    caller = Caller(port, pki.ca("backends"), owner, "a-token")

    assert HANDSHAKE == caller.ask("?").outcome
    assert HANDSHAKE == knock(port, context(pki.ca("backends"), owner)).outcome
    caller.client.close()


def test_a_connection_that_is_lost_is_no_refused_handshake(pki: DevelopmentPki, port: int) -> None:
    """A gateway that breaks off must not look like one that refused."""
    owner = Issued(pki.directory / "alice.pem", pki.directory / "alice.key")
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        caller = Caller(deaf.getsockname()[1], pki.ca("gateway"), owner, "a-token")
        came = caller.ask("?")
        caller.client.close()

    assert Came("connection lost") == came


def test_a_reset_is_a_refused_handshake(pki: DevelopmentPki) -> None:
    """Some servers hang up without a word."""
    with socket.socket() as rude:
        rude.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        rude.bind(("127.0.0.1", 0))
        rude.listen()

        def hang_up() -> None:
            rude.accept()[0].close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        came = knock(rude.getsockname()[1], context(pki.ca("gateway"), None))
        thread.join()

    assert HANDSHAKE == came.outcome


def test_a_certificate_gets_an_answer(pki: DevelopmentPki, port: int) -> None:
    """Knocking tells answered from refused."""
    script((200, {}, {}))
    owner = Issued(pki.directory / "alice.pem", pki.directory / "alice.key")

    assert Came("answered") == knock(port, context(pki.ca("gateway"), owner))

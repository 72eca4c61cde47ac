"""A model server that answers as a test tells it, over plain HTTP on a unix socket.

For wire formats that no model server here speaks, and for answers that break off.
"""

from __future__ import annotations

import http.server
import socketserver
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self, final

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@final
@dataclass(frozen=True)
class Asked:
    """One request as it reached the server."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@final
@dataclass(frozen=True)
class Said:
    """What it answers.

    Args:
        content_type: Of the answer.
        pieces: Its body, sent in chunks.
        breaks: True to break off after them, without an end.
        status: Status code.
        headers: More header fields.
    """

    content_type: str
    pieces: tuple[bytes, ...]
    breaks: bool = False
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


@final
class Scripted:
    """The server. Use it as a context manager.

    Args:
        socket: Where it listens.
        script: Answers one request.
    """

    def __init__(self, socket: Path, script: Callable[[Asked], Said]) -> None:
        self.seen: list[Asked] = []
        seen = self.seen

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                """Say nothing."""

            def handle_any(self) -> None:
                """Note the request and play the script."""
                length = int(self.headers.get("content-length", "0"))
                headers = {name.lower(): value for name, value in self.headers.items()}
                asked = Asked(self.command, self.path, headers, self.rfile.read(length))
                seen.append(asked)
                said = script(asked)
                self.send_response(said.status)
                for name, value in {"Content-Type": said.content_type, **said.headers}.items():
                    self.send_header(name, value)
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                for piece in said.pieces:
                    self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                    self.wfile.flush()
                if said.breaks:
                    self.close_connection = True
                else:
                    self.wfile.write(b"0\r\n\r\n")

            do_GET = do_POST = handle_any  # noqa: N815 - the names that http.server calls

        class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
            daemon_threads = True

            def get_request(self) -> tuple[object, tuple[str, int]]:  # type: ignore[override]
                """Accept; http.server wants an address to name."""
                return super().get_request()[0], ("unix", 0)

        self._server = Server(str(socket), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)


def event(name: str, document: bytes) -> bytes:
    """Write one server-sent event with a name."""
    return b"event: %b\ndata: %b\n\n" % (name.encode(), document)

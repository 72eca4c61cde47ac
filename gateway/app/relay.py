"""Passes operators' requests that the supervisor does not answer itself to one worker, and its answer back.

Decides nothing: the worker's own application does, the check of the operators' token included. What a call
changes there the worker spreads to the others, as it does to other gateways.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, final

import httptools
from aiohttp import hdrs, web

from gateway.app.door import Purpose, hand_in

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable

MAX_ANSWER: Final = 16 * 1024 * 1024
SECONDS: Final = 30.0
OF_THE_CONNECTION: Final = frozenset(
    {"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "content-length", "expect"}
)


@final
class Relay:
    """Asks whichever worker serves.

    Args:
        doors: Returns the doors of workers that serve, best first.
    """

    def __init__(self, doors: Callable[[], Iterable[socket.socket]]) -> None:
        self._doors = doors

    async def pass_on(self, request: web.Request) -> web.StreamResponse:
        """Ask one worker.

        Raises:
            HTTPServiceUnavailable: None is there, or it did not answer.
        """
        body = await request.read()
        lines = [f"{request.method} {request.raw_path} HTTP/1.1"]
        lines += [
            f"{name}: {value}"
            for name, value in request.headers.items()
            if name.lower() not in OF_THE_CONNECTION
        ]
        lines += [f"Content-Length: {len(body)}", "Connection: close", "", ""]
        head = "\r\n".join(lines).encode("utf-8", "surrogateescape")
        for door in self._doors():
            try:
                connection = hand_in(door, Purpose.ADMIN)
            except OSError:  # dead since we last heard of it: ask the next
                continue
            return await _ask(connection, head + body)
        raise web.HTTPServiceUnavailable


async def _ask(connection: socket.socket, message: bytes) -> web.Response:
    answer = _Answer()
    try:
        async with asyncio.timeout(SECONDS):
            reader, writer = await asyncio.open_connection(sock=connection)
            try:
                writer.write(message)
                while not answer.is_whole and (data := await reader.read(65536)):
                    answer.feed(data)
            finally:
                writer.close()
    except (OSError, TimeoutError, httptools.HttpParserError, ValueError):
        raise web.HTTPServiceUnavailable from None
    if not answer.is_whole:
        raise web.HTTPServiceUnavailable
    headers = [one for one in answer.headers if one[0].lower() not in OF_THE_CONNECTION | {"date"}]
    made = web.Response(status=answer.status, body=bytes(answer.body))
    made.headers.pop(hdrs.CONTENT_TYPE, None)
    made.headers.extend(headers)
    return made


@final
class _Answer:
    """Gathers one answer."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: list[tuple[str, str]] = []
        self.body = bytearray()
        self.is_whole = False
        self._parser = httptools.HttpResponseParser(self)

    def feed(self, data: bytes) -> None:
        """Take more of it.

        Raises:
            HttpParserError: It is no answer.
            ValueError: It is too large.
        """
        self._parser.feed_data(data)
        if len(self.body) > MAX_ANSWER:
            raise ValueError("too large")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a field."""
        self.headers.append((name.decode("latin-1"), value.decode("latin-1")))

    def on_body(self, data: bytes) -> None:
        """Keep a piece."""
        self.body += data

    def on_message_complete(self) -> None:
        """Note the end."""
        self.status = self._parser.get_status_code()
        self.is_whole = True

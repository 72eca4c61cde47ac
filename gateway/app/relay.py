"""Passes operators' requests that the supervisor does not answer itself to one worker, and its answer back.

Decides nothing: the worker's own application does, the check of the operators' token included. What a call
changes there the worker spreads to the others, as it does to other gateways. What each worker knows for
itself alone, who runs, is asked of all, and the answers become one.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, cast, final

import httptools
import msgspec
from aiohttp import hdrs, web

from gateway.app.door import Purpose, hand_in

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable

MAX_ANSWER: Final = 16 * 1024 * 1024
SECONDS: Final = 30.0
COLLECTED: Final = frozenset({"/v1/running"})
"""Paths that all workers are asked for: numbers in their answers are added, lists put together."""

MOST: Final = 1000  # entries of one list

CALLER: Final = "Gateway-Operator-Address"
"""Who calls, for the worker: its own end of the connection has no address."""

OF_THE_CONNECTION: Final = frozenset(
    {"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "content-length", "expect"}
)


@final
class Relay:
    """Asks whichever worker serves.

    Args:
        doors: Returns the doors of workers that serve a path, best first.
    """

    def __init__(self, doors: Callable[[str], Iterable[socket.socket]]) -> None:
        self._doors = doors

    async def pass_on(self, request: web.Request) -> web.StreamResponse:
        """Ask one worker.

        Raises:
            HTTPServiceUnavailable: None is there, or it did not answer.
        """
        message = _written(request, await request.read())
        is_of_all = request.method == hdrs.METH_GET and request.path in COLLECTED
        answers: list[web.Response] = []
        for door in self._doors(request.path):
            try:
                connection = hand_in(door, Purpose.ADMIN)
            except OSError:  # dead since we last heard of it: ask the next
                continue
            answers.append(await _ask(connection, message))
            if not is_of_all or answers[-1].status != HTTPStatus.OK:
                return answers[-1]
        if not answers:
            raise web.HTTPServiceUnavailable
        return _joined(answers)


def _written(request: web.Request, body: bytes) -> bytes:
    dropped = OF_THE_CONNECTION | {CALLER.lower()}
    lines = [f"{request.method} {request.raw_path} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in request.headers.items() if name.lower() not in dropped]
    if request.remote:
        lines.append(f"{CALLER}: {request.remote}")
    lines += [f"Content-Length: {len(body)}", "Connection: close", "", ""]
    return "\r\n".join(lines).encode("utf-8", "surrogateescape") + body


def _joined(answers: list[web.Response]) -> web.Response:
    """Make one answer of those of all."""
    decode = msgspec.json.Decoder(dict[str, int | list[Any]]).decode
    whole: dict[str, int | list[Any]] = {}
    for answer in answers:
        for name, value in decode(cast("bytes", answer.body)).items():
            known = whole.get(name)
            if isinstance(value, int):
                whole[name] = value + (known if isinstance(known, int) else 0)
            else:
                whole[name] = ((known if isinstance(known, list) else []) + value)[:MOST]
    return web.Response(body=msgspec.json.encode(whole), content_type="application/json")


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

"""A scripted model server with mutual TLS, in a thread: does what the last message of a prompt says.

Raw streams on purpose: it must see every byte that reaches it, and the very moment when a connection
breaks off.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self, final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from gateway.credentials.development import DevelopmentPki, Issued

INPUT_TOKENS = 11
OUTPUT_TOKENS = 7
USAGE = {
    "prompt_tokens": INPUT_TOKENS,
    "completion_tokens": OUTPUT_TOKENS,
    "total_tokens": INPUT_TOKENS + OUTPUT_TOKENS,
}
WORDS = ("never", " trust", ", always", " verify", ".")
DRIP_SECONDS = 0.01


@final
@dataclass
class Seen:
    """One request as it reached the backend, and when its connection was lost (monotonic seconds)."""

    line: str
    headers: list[tuple[str, str]]
    body: bytes
    uris: tuple[str, ...]
    certificate: bytes = b""  # what the gateway showed, DER
    lost_at: float = 0.0

    def header(self, name: str) -> str | None:
        """Return the one value of a field, or None."""
        values = [value for key, value in self.headers if key == name]
        assert len(values) <= 1, values
        return values[0] if values else None

    @property
    def raw(self) -> str:
        """Everything, for searching."""
        return f"{self.line}\n{self.headers}\n{self.body.decode()}"


@final
@dataclass
class Backend:
    """The server. Use it as a context manager.

    Args:
        pki: Its authorities.
        certificate: Its own certificate, or None to serve without TLS.
    """

    pki: DevelopmentPki | None = None
    certificate: Issued | None = None
    seen: list[Seen] = field(default_factory=list)
    port: int = 0

    def __enter__(self) -> Self:
        self._changed = threading.Condition()
        self._writers: set[asyncio.StreamWriter] = set()
        started = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(started,), daemon=True)
        self._thread.start()
        assert started.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def wait(self, condition: Callable[[], bool], seconds: float = 10.0) -> None:
        """Wait until something has been seen."""
        with self._changed:
            assert self._changed.wait_for(condition, seconds), "the backend never saw it"

    def asked(self, word: str) -> Seen | None:
        """Return the first request whose body contains a word."""
        return next((one for one in self.seen if word.encode() in one.body), None)

    def release(self) -> None:
        """Let the prompts that say `hold` go on."""
        self._loop.call_soon_threadsafe(self._held.set)

    def _run(self, started: threading.Event) -> None:
        asyncio.run(self._serve(started))

    async def _serve(self, started: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._held = asyncio.Event()
        server = await asyncio.start_server(self._connection, "127.0.0.1", 0, ssl=self._context())
        self.port = server.sockets[0].getsockname()[1]
        started.set()
        await self._stop.wait()
        server.close()
        for writer in self._writers:
            writer.transport.abort()
        pending = asyncio.all_tasks() - {asyncio.current_task()}
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)

    def _context(self) -> ssl.SSLContext | None:
        if self.pki is None or self.certificate is None:
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate.certificate, self.certificate.key)
        context.load_verify_locations(self.pki.ca("backends"))
        context.verify_mode = ssl.CERT_REQUIRED
        return context

    def _note(self, change: Callable[[], object]) -> None:
        with self._changed:
            change()
            self._changed.notify_all()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        certificate = writer.get_extra_info("peercert") or {}
        connection = writer.get_extra_info("ssl_object")
        der = (connection.getpeercert(binary_form=True) or b"") if connection is not None else b""
        uris = tuple(value for kind, value in certificate.get("subjectAltName", ()) if kind == "URI")
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                line, *fields = head.strip().split("\r\n")
                headers = [
                    (name.lower(), value) for name, _, value in (one.partition(": ") for one in fields)
                ]
                length = int(dict(headers).get("content-length", "0"))
                seen = Seen(line, headers, await reader.readexactly(length), uris, der)
                self._note(lambda seen=seen: self.seen.append(seen))
                await self._answer(seen, reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            pass
        finally:
            self._writers.discard(writer)
            writer.transport.abort()

    async def _answer(self, seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if seen.line.startswith("GET /v1/models "):
            model = {"id": "tiny", "object": "model", "created": 1, "owned_by": "us"}
            await _whole(writer, {"object": "list", "data": [model]})
            return
        asked = msgspec.json.decode(seen.body)
        word = str(asked["messages"][-1]["content"])
        if word.startswith("hold"):
            await self._held.wait()
        if word.startswith("die"):
            await _head(writer)
            await _event(writer, _chunk("half a"))
            await asyncio.sleep(DRIP_SECONDS)
            writer.transport.abort()
        elif word.startswith("drip"):
            await self._drip(seen, reader, writer)
        elif word.startswith("long"):
            await _stream(writer, pause=DRIP_SECONDS, rounds=20)
        elif asked.get("stream"):
            await _stream(writer)
        else:
            await _whole(writer, _completion(asked))

    async def _drip(self, seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Stream until the connection breaks off, and note when."""
        await _head(writer)

        async def write() -> None:
            while True:
                await _event(writer, _chunk("drip "))
                await asyncio.sleep(DRIP_SECONDS)

        async def read() -> None:
            with contextlib.suppress(OSError):
                await reader.read(1)
            self._note(lambda: setattr(seen, "lost_at", time.monotonic()))

        await _first(write(), read())
        raise ConnectionError


async def _first(*coroutines: Coroutine[Any, Any, None]) -> None:
    tasks = [asyncio.ensure_future(one) for one in coroutines]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _completion(asked: dict[str, Any]) -> dict[str, object]:
    message: dict[str, object] = {"role": "assistant", "content": "".join(WORDS)}
    reason = "stop"
    if asked.get("tools"):
        function = {"name": asked["tools"][0]["function"]["name"], "arguments": '{"city":"Bonn"}'}
        message = {"role": "assistant", "content": None}
        message["tool_calls"] = [{"id": "call-1", "type": "function", "function": function}]
        reason = "tool_calls"
    choice = {"index": 0, "message": message, "finish_reason": reason}
    return _object("chat.completion", [choice]) | {"usage": USAGE}


def _object(kind: str, choices: list[object]) -> dict[str, object]:
    return {"id": "x", "object": kind, "created": 1, "model": "tiny", "choices": choices}


def _chunk(text: str) -> dict[str, object]:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    return _object("chat.completion.chunk", [choice])


async def _whole(writer: asyncio.StreamWriter, document: object) -> None:
    body = msgspec.json.encode(document)
    writer.write(
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nSet-Cookie: backend=secret\r\n"
        b"Server: backend/1.0\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    )
    await writer.drain()


async def _head(writer: asyncio.StreamWriter) -> None:
    writer.write(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n"
        b"Set-Cookie: backend=secret\r\n\r\n"
    )
    await writer.drain()


async def _event(writer: asyncio.StreamWriter, document: object) -> None:
    piece = b"data: %b\n\n" % msgspec.json.encode(document)
    writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
    await writer.drain()


async def _stream(writer: asyncio.StreamWriter, *, pause: float = 0.0, rounds: int = 1) -> None:
    await _head(writer)
    for text in WORDS * rounds:
        await _event(writer, _chunk(text))
        await asyncio.sleep(pause)
    await _event(writer, _object("chat.completion.chunk", []) | {"usage": USAGE})
    done = b"data: [DONE]\n\n"  # with the end in one piece: clients hang up as soon as they have read this
    writer.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(done), done))
    await writer.drain()

"""Mutual TLS in front of a server that has none: the only way to the demo's model.

Demands a certificate of the backends' authority whose SPIFFE ID is the gateway's, then passes bytes
both ways to a unix socket. Decides nothing else: it never reads what it passes.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import sys
from functools import partial
from pathlib import Path
from typing import Final

PIECE: Final = 64 * 1024  # bytes read at once


def context(certificate: Path, key: Path, authority: Path) -> ssl.SSLContext:
    """Make a server context that refuses whoever has no certificate of the authority.

    Args:
        certificate: The server's certificate, PEM.
        key: Its private key, PEM.
        authority: Certificate of the authority that clients' certificates must come from, PEM.
    """
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    made.verify_mode = ssl.CERT_REQUIRED
    made.load_cert_chain(certificate, key)
    made.load_verify_locations(authority)
    return made


async def serve(
    socket: str, allowed: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, /
) -> None:
    """Pass one connection on, if its certificate is the allowed one.

    Args:
        socket: Path of the model's unix socket.
        allowed: The one SPIFFE ID that may come in.
        reader: From the client.
        writer: To the client.
    """
    certificate = writer.get_extra_info("peercert") or {}
    if ("URI", allowed) not in certificate.get("subjectAltName", ()):
        writer.close()
        return
    back: asyncio.StreamWriter | None = None
    try:
        answers, back = await asyncio.open_unix_connection(socket)
        async with asyncio.TaskGroup() as both:
            down = both.create_task(_pump(answers, writer))
            up = both.create_task(_pump(reader, back))
            # Either end gone means the exchange is over: a client that left frees the model.
            down.add_done_callback(lambda _: up.cancel())
            up.add_done_callback(lambda _: down.cancel())
    except OSError as error:
        print(f"sidecar: {type(error).__name__}", file=sys.stderr)
    finally:
        writer.close()
        if back is not None:
            back.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(PIECE):
            writer.write(data)
            await writer.drain()


async def main(socket: str, allowed: str, certificate: str, key: str, authority: str) -> int:
    """Serve on a free port of the loopback address until standard input ends."""
    server = await asyncio.start_server(
        partial(serve, socket, allowed),
        "127.0.0.1",
        0,
        ssl=context(Path(certificate), Path(key), Path(authority)),
    )
    print(f"ready {server.sockets[0].getsockname()[1]}", flush=True)
    async with server:
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.buffer.read)
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(*sys.argv[1:])))

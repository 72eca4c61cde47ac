"""How a supervisor has its workers take a configuration: proposed to each, taken by all or by none.

One connection through the door per worker and proposal: the configuration goes in, what the worker thinks
of it comes back, and then one byte lets it take it. Whatever else happens on the way, even the end of the
supervisor, means that it does not. Decides nothing about configurations.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Protocol, TypeVar, final

import msgspec
import structlog

from gateway.config.errors import ConfigurationError, Problem
from gateway.observe.log import frames

if TYPE_CHECKING:
    import socket

    from gateway.app.succession import Prepared

LENGTH: Final = 8  # bytes of the number before a message
MAX_MESSAGE: Final = 64 * 1024 * 1024
TAKE: Final = b"Y"
MEND: Final = "see what this worker says in the log"

Message = TypeVar("Message")


@final
class Proposal(msgspec.Struct):
    """What a worker is to think about.

    Args:
        configuration: What stands in the file.
    """

    configuration: bytes


@final
class Opinion(msgspec.Struct):
    """What a worker thinks of a proposal.

    Args:
        version: What it would decide by; "" if it cannot.
        problems: Why it cannot.
    """

    version: str = ""
    problems: list[Problem] = []


class Taker(Protocol):
    """A worker's process, as far as it takes configurations."""

    async def consider(self, data: bytes) -> Prepared:
        """Compile and warm a configuration; raises `ConfigurationError`."""

    def commit(self, prepared: Prepared) -> None:
        """Let it decide."""

    async def discard(self, prepared: Prepared) -> None:
        """Leave everything as it was."""


async def answer(connection: socket.socket, taker: Taker) -> None:
    """Answer one proposal, and do what the supervisor makes of all answers."""
    reader, writer = await asyncio.open_connection(sock=connection)
    prepared: Prepared | None = None
    try:
        proposal = await receive(reader, Proposal)
        prepared, opinion = await _consider(proposal.configuration, taker)
        await send(writer, opinion)
        if await reader.read(1) == TAKE and prepared is not None:
            taker.commit(prepared)
            prepared = None
            writer.write(TAKE)
            await writer.drain()
    except (OSError, EOFError, msgspec.DecodeError):  # the supervisor is gone, or has given up
        structlog.get_logger().warning("proposal-lost")
    writer.close()
    if prepared is not None:
        await taker.discard(prepared)


async def _consider(data: bytes, taker: Taker) -> tuple[Prepared | None, Opinion]:
    try:
        prepared = await taker.consider(data)
    except ConfigurationError as error:
        return None, Opinion(problems=list(error.problems))
    except Exception as fault:  # noqa: BLE001 - our bug: it is not taken
        structlog.get_logger().error("fault", fault=type(fault).__qualname__, frames=frames(fault))
        message = f"a fault of the gateway: {type(fault).__name__}"
        return None, Opinion(problems=[Problem("a worker", 0, 0, "", message, MEND)])
    return prepared, Opinion(prepared.compilation.version)


async def send(writer: asyncio.StreamWriter, message: msgspec.Struct) -> None:
    """Send one message."""
    data = msgspec.msgpack.encode(message)
    writer.write(len(data).to_bytes(LENGTH, "big") + data)
    await writer.drain()


async def receive(reader: asyncio.StreamReader, kind: type[Message]) -> Message:
    """Receive one message.

    Raises:
        EOFError: The other side has ended.
        msgspec.DecodeError: It is none of this kind.
    """
    length = int.from_bytes(await reader.readexactly(LENGTH), "big")
    if length > MAX_MESSAGE:
        raise EOFError
    return msgspec.msgpack.decode(await reader.readexactly(length), type=kind)

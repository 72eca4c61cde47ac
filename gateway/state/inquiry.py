"""Asks one server one question, over a connection for this alone: where the others are.

Servers are tried in order; who does not answer is asked last the next time. Without TLS only this machine's
addresses are believed: a password would follow whatever is answered.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from gateway.state.connection import Connection
from gateway.state.link import DIALLING, authenticate, dial, failure, fault
from gateway.state.locator import Unlocated

if TYPE_CHECKING:
    from gateway.state.address import Address
    from gateway.state.connection import Reply
    from gateway.state.link import Server

INQUIRY_TIME: Final = 0.4
"""Seconds until the next is asked: of several that are dead, not all delay an attempt to connect."""


async def inquire(
    server: Server, nodes: list[Address], password: bytes | None, *words: str
) -> tuple[Address, Reply]:
    """Ask until somebody answers.

    Args:
        server: For TLS and timeout.
        nodes: Whom, in this order; who does not answer is put behind the others.
        password: Theirs, or None.
        words: The question.

    Returns:
        Who answered, and what; never an error.

    Raises:
        Unlocated: Nobody does; with what happened to the first.
    """
    first = ""
    for node in tuple(nodes):
        why, reply = await _ask(server, node, password, words)
        if why is None:
            return node, reply
        first = first or why
        nodes.remove(node)
        nodes.append(node)
    raise Unlocated(first)


async def _ask(
    server: Server, node: Address, password: bytes | None, words: tuple[str, ...]
) -> tuple[str | None, Reply]:
    connection = Connection(asyncio.get_running_loop(), server.timeout, lambda _connection: None)
    try:
        async with asyncio.timeout(INQUIRY_TIME):
            await dial(connection, node, server.tls)
            why = await authenticate(connection, node, password)
            if why is not None:
                return why, None
            reply = await connection.ask(*words)
            return fault(reply), reply
    except DIALLING as error:
        return failure(error), None
    finally:
        connection.abort("asked")

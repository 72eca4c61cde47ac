"""The way between the supervisor and a worker: connections, handed through.

A pair of connected sockets per worker. The supervisor makes a connection, sends one end of it through the
door with one byte that says what it is for, and talks on the other end. Nothing has a name in the file
system or a port, so nobody else can come in. Where the door ends, the other side has ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket
import threading
from enum import Enum
from typing import TYPE_CHECKING, final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


@final
class Purpose(Enum):
    """What a connection is for; the value is the byte that is sent."""

    REPORT = b"R"  # the worker writes how it is, and closes
    ADMIN = b"A"  # HTTP to the worker's application for operators
    RELOAD = b"C"  # a configuration for the worker to take: see `proposal`


def hand_in(door: socket.socket, purpose: Purpose) -> socket.socket:
    """Make a connection to the worker behind a door.

    Returns:
        Our end, which does not block.

    Raises:
        OSError: The worker is gone, or takes nothing any more.
    """
    ours, theirs = socket.socketpair()
    try:
        ours.setblocking(False)
        socket.send_fds(door, [purpose.value], [theirs.fileno()])
    except OSError:
        ours.close()
        raise
    finally:
        theirs.close()
    return ours


@final
class Door:
    """A worker's side.

    Args:
        end: The door.
        serve: What to do with connections.
        gone: Called once when the supervisor is gone.
    """

    def __init__(
        self,
        end: socket.socket,
        serve: Mapping[Purpose, Callable[[socket.socket], object]],
        gone: Callable[[], object],
    ) -> None:
        self._end = end
        self._serve = serve
        self._gone = gone
        self._loop = asyncio.get_running_loop()

    def open(self) -> None:
        """Begin to take connections; what was sent before has waited."""
        self._end.setblocking(False)
        self._loop.add_reader(self._end.fileno(), self._take)

    def close(self) -> None:
        """Take no more."""
        self._loop.remove_reader(self._end.fileno())

    def _take(self) -> None:
        try:
            word, descriptors, _, _ = socket.recv_fds(self._end, 1, 1, socket.MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            return
        except OSError:  # reset: the other side died with something of ours unread
            word, descriptors = b"", []
        if not word:
            self.close()
            self._gone()
            return
        for descriptor in descriptors:
            connection = socket.socket(fileno=descriptor)
            connection.setblocking(False)
            self._serve[Purpose(word)](connection)


def watch_end(door: socket.socket, gone: Callable[[], object]) -> None:
    """Have a thread wait for the end of a door, for a loop that is stuck does not hear of it.

    Args:
        door: A worker's end.
        gone: Called in that thread.
    """

    def wait() -> None:
        poll = select.poll()
        poll.register(door.fileno(), 0)  # a hang-up is always reported
        with contextlib.suppress(OSError):
            poll.poll()
            gone()

    threading.Thread(target=wait, name="door", daemon=True).start()

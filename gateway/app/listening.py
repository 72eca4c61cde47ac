"""Opens the addresses that clients and operators connect to, and says in the configuration's words why not.

Several workers share one address. Each TCP worker has a listening socket of its own on it (SO_REUSEPORT):
the kernel spreads connections evenly, where one shared socket gives a burst to whoever wakes first. The
supervisor owns all of them, so that what waits in the queue of a worker that died waits for the next one.
Nobody else can take the address meanwhile: it is tried alone first, and held by a socket that never
listens. A unix socket cannot be opened twice: there the workers share one.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gateway.config.addresses import Listen

BACKLOG: Final = 2048  # connections that the kernel may hold for us


MENDS: Final = {
    errno.EADDRINUSE: "end what listens there (`ss -ltnp` shows it), or give another address",
    errno.EADDRNOTAVAIL: "give an address of this machine; `0.0.0.0` stands for all of them",
    errno.EACCES: "give a port from 1024 on or a directory of this user, or the right (CAP_NET_BIND_SERVICE)",
    errno.ENOENT: "make the socket's directory",
}


@final
class CannotListen(OSError):
    """An address cannot be listened on."""

    @property
    def mend(self) -> str:
        """How to mend it."""
        return MENDS.get(self.errno or 0, "give another address")


@contextmanager
def said(listen: Listen) -> Iterator[None]:
    """Name the address that cannot be listened on, in the words of the configuration.

    Raises:
        CannotListen: In place of the system's own error.
    """
    try:
        yield
    except OSError as error:
        code = error.errno or 0
        why = os.strerror(code) if code > 0 else error.strerror  # asyncio writes a sentence of its own
        raise CannotListen(code, f"cannot listen on {written(listen, None)}: {why}") from error


def written(listen: Listen, bound: object) -> str:
    """Write an address as the configuration does; `bound` is the socket's own name for it."""
    if listen.path is not None:
        return f"unix:{listen.path}"
    port = bound[1] if isinstance(bound, tuple) else listen.port
    return f"[{listen.host}]:{port}" if ":" in listen.host else f"{listen.host}:{port}"


@final
class Entrance:
    """The clients' address, for several workers.

    Args:
        listen: The address.

    Raises:
        OSError: It cannot be listened on.
    """

    def __init__(self, listen: Listen) -> None:
        self._anchors: list[socket.socket] = []
        self._shared: list[socket.socket] = []
        try:
            with said(listen):
                if listen.path is not None:
                    self._shared.append(_unix(listen.path))
                else:
                    self._hold(listen)
        except OSError:
            self.close()
            raise
        self.name = written(listen, (self._anchors or self._shared)[0].getsockname())
        """The address, as the configuration writes it, with its real port."""

    def open(self) -> list[socket.socket]:
        """Return what one worker listens on; connections wait there from now on.

        Raises:
            OSError: The system has no more sockets.
        """
        if self._shared:
            return [one.dup() for one in self._shared]
        opened: list[socket.socket] = []
        try:
            for anchor in self._anchors:
                opened.append(_bound(anchor.family, anchor.getsockname(), is_shared=True))
                opened[-1].listen(BACKLOG)
        except OSError:
            for one in opened:
                one.close()
            raise
        return opened

    def close(self) -> None:
        """Give the address up; workers that listen on it still do."""
        for one in (*self._anchors, *self._shared):
            one.close()
        self._anchors, self._shared = [], []

    def _hold(self, listen: Listen) -> None:
        """Bind, but do not listen; fail if anybody listens there, be it with SO_REUSEPORT."""
        found = socket.getaddrinfo(listen.host, listen.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, place in dict.fromkeys((family, place) for family, _, _, _, place in found):
            if listen.port:
                _bound(family, place, is_shared=False).close()
            self._anchors.append(_bound(family, place, is_shared=True))


def _bound(family: int, place: Any, *, is_shared: bool) -> socket.socket:  # noqa: ANN401 - a socket's own
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if is_shared:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind(place)
    except OSError:
        made.close()
        raise
    return made


def _unix(path: Path) -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if path.exists() and stat.S_ISSOCK(path.stat().st_mode):
            path.unlink()  # what an earlier process left behind, as asyncio does
        made.bind(str(path))
        made.listen(BACKLOG)
    except OSError:
        made.close()
        raise
    return made

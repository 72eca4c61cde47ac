"""Where the shared store is: its URL, parsed once.

Never holds a password: secrets come by reference and are passed beside the address.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final
from urllib.parse import unquote, urlsplit

DEFAULT_PORT: Final = 6379


@final
@dataclass(frozen=True, slots=True)
class Address:
    """One Redis or Valkey server.

    Args:
        host: Host name or address; "" for a unix socket.
        port: TCP port; 0 for a unix socket.
        path: Path of the unix socket, or "".
        user: ACL user, or "" for the default user.
        database: Number of the database.
        is_tls: True if the connection is encrypted and the server proven.
    """

    host: str
    port: int
    path: str = ""
    user: str = ""
    database: int = 0
    is_tls: bool = False

    @property
    def name(self) -> str:
        """The server in one word, for logs: without user and database."""
        return f"unix:{self.path}" if self.path else f"{self.host}:{self.port}"


def parse(url: str) -> Address:
    """Parse `redis://[user@]host[:port][/db]`, `rediss://...` or `unix://[user@]/path[?db=n]`.

    Args:
        url: The URL from the configuration.

    Returns:
        The address.

    Raises:
        ValueError: With one sentence about what is wrong; it never quotes the URL, which may hold
            a password by mistake.
    """
    parts = urlsplit(url)
    if parts.password is not None:
        raise ValueError("a password does not belong in the URL: give it by reference")
    if parts.fragment:
        raise ValueError("the URL of a store has no fragment")
    user = unquote(parts.username or "")
    if parts.scheme == "unix":
        return _socket(parts.hostname, parts.path, parts.query, user)
    if parts.scheme not in {"redis", "rediss"}:
        raise ValueError("the URL of a store begins with redis://, rediss:// or unix://")
    if parts.query:
        raise ValueError("the URL of a store has no options: no question mark")
    if not parts.hostname:
        raise ValueError("the URL of a store names a host")
    try:
        port = parts.port
    except ValueError:
        raise ValueError("the port is a number from 1 to 65535") from None
    if port == 0:
        raise ValueError("the port is a number from 1 to 65535")
    return Address(
        parts.hostname,
        port or DEFAULT_PORT,
        user=user,
        database=_database(parts.path.removeprefix("/")),
        is_tls=parts.scheme == "rediss",
    )


def _socket(host: str | None, path: str, query: str, user: str) -> Address:
    if host or len(path) < len("/s"):
        raise ValueError("a unix socket is given by its absolute path: unix:///run/redis.sock")
    if query and not query.startswith("db="):
        raise ValueError("the only option of a unix socket is db=<number>")
    return Address("", 0, path=unquote(path), user=user, database=_database(query.removeprefix("db=")))


def _database(text: str) -> int:
    if text == "":
        return 0
    if not (text.isascii() and text.isdigit()):
        raise ValueError("the database is a number")
    return int(text)

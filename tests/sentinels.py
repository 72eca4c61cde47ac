"""A real master with a replica, watched by three real Sentinels: on free ports, ended with the test."""

from __future__ import annotations

import subprocess
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, final

import hiredis

from tests.servers import ADMIN_PASSWORD, LEAST_PRIVILEGES, USER, Pki, RunningServer, ask, free_port

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MASTER = "mymaster"
SENTINEL_PASSWORD = "staple-horse"
SENTINEL_PRIVILEGES = f"{LEAST_PRIVILEGES} +role"
"""What docs/redis.md tells operators to grant; a test holds the two together."""

DOWN_AFTER = 0.5  # seconds of silence after which a Sentinel takes a server for dead


@final
@dataclass
class SentinelSet:
    """Master, replica and Sentinels.

    Args:
        binary: Path of the server, which is a Sentinel as well.
        directory: Where they work.
        pki: Certificates; with them everything is encrypted.
    """

    binary: str
    directory: Path
    pki: Pki | None = None
    servers: list[RunningServer] = field(default_factory=list)
    ports: list[int] = field(default_factory=list)
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def url(self) -> str:
        """How a gateway is told of them."""
        scheme = "redis" if self.pki is None else "rediss"
        nodes = ",".join(f"127.0.0.1:{port}" for port in self.ports)
        return f"{scheme}+sentinel://{USER}@{nodes}/{MASTER}/0"

    def start(self) -> None:
        """Start everything, and wait until all know each other."""
        for name in ("one", "two"):
            server = RunningServer(self.binary, self._made(name), pki=self.pki, acl=SENTINEL_PRIVILEGES)
            server.options = ("--masterauth", ADMIN_PASSWORD, "--repl-diskless-sync-delay", "0")
            server.options += () if self.pki is None else ("--tls-replication", "yes")
            server.start()
            self.servers.append(server)
        self.servers[1].admin("REPLICAOF", "127.0.0.1", self._port(self.servers[0]))
        until(lambda: b"master_link_status:up" in info(self.servers[1], "replication"))
        for number in range(3):
            self._watch(number)
        for port in self.ports:
            until(lambda port=port: b"slaves=1,sentinels=3" in self._asked(port, "INFO", "sentinel"))

    def stop(self) -> None:
        """Kill everything."""
        for process in self.processes:
            process.kill()
            process.wait()
        for server in self.servers:
            server.stop()

    def admin(self, *words: str | int) -> object:
        """Ask the first Sentinel."""
        return self._asked(self.ports[0], *words)

    def until_master(self, server: RunningServer) -> None:
        """Wait until all Sentinels have agreed on a server."""
        place = [b"127.0.0.1", str(self._port(server)).encode()]
        question = ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER)
        for port in self.ports:
            until(lambda port=port: place == self._asked(port, *question))

    def _made(self, name: str) -> Path:
        directory = self.directory / name
        directory.mkdir()
        return directory

    def _port(self, server: RunningServer) -> int:
        port = server.port if self.pki is None else server.tls_port
        assert port is not None
        return port

    def _watch(self, number: int) -> None:
        port, directory = free_port(), self._made(f"sentinel-{number}")
        lines = [
            f"port {port}",
            "bind 127.0.0.1",
            f"requirepass {SENTINEL_PASSWORD}",
            f"sentinel sentinel-pass {SENTINEL_PASSWORD}",
            f"sentinel monitor {MASTER} 127.0.0.1 {self._port(self.servers[0])} 2",
            f"sentinel auth-pass {MASTER} {ADMIN_PASSWORD}",
            f"sentinel down-after-milliseconds {MASTER} {DOWN_AFTER * 1000:.0f}",
            f"sentinel failover-timeout {MASTER} 3000",
        ]
        if self.pki is not None:
            lines[0] = f"port 0\ntls-port {port}\ntls-replication yes"
            lines += [f"tls-ca-cert-file {self.pki.ca}", f"tls-cert-file {self.pki.certificate}"]
            lines += [f"tls-key-file {self.pki.key}"]
        lines.append(f"unixsocket {directory / 's'}")
        configuration = directory / "sentinel.conf"
        configuration.write_text("\n".join(lines) + "\n")
        command = [self.binary, str(configuration), "--sentinel"]
        self.ports.append(port)
        self.processes.append(
            subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=directory)
        )
        until((directory / "s").exists)

    def _asked(self, port: int, *words: str | int) -> object:
        path = self.directory / f"sentinel-{self.ports.index(port)}" / "s"
        reply = ask(path, SENTINEL_PASSWORD, *words)
        assert not isinstance(reply, hiredis.ReplyError)
        return reply


def info(server: RunningServer, section: str) -> bytes:
    """Return what a server says of itself."""
    reply = server.admin("INFO", section)
    assert isinstance(reply, bytes)
    return reply


def until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait until servers have agreed: they tell nobody."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)

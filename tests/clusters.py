"""A real Redis Cluster of three masters: on free ports, in temporary directories, ended with the test."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, final

import hiredis
from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot

from tests.sentinels import info, until
from tests.servers import ADMIN_PASSWORD, LEAST_PRIVILEGES, USER, Pki, RunningServer, free_port

if TYPE_CHECKING:
    from pathlib import Path

CLUSTER_PRIVILEGES = f"{LEAST_PRIVILEGES} +cluster|slots +asking"
"""What docs/redis.md tells operators to grant; a test holds the two together."""

MASTERS = 3
NODE_TIMEOUT = 1.0  # seconds of silence after which the others take a server for dead
EVERYWHERE = frozenset({"FLUSHALL", "CONFIG", "SCRIPT", "ACL", "KEYS", "INFO"})
"""Commands of `RunningCluster.admin` that concern every server; all others go to who has their key."""


@final
@dataclass
class RunningCluster:
    """Three masters; more servers can join.

    Args:
        binary: Path of the program.
        directory: Where they work.
        pki: Certificates; with them everything is encrypted.
    """

    binary: str
    directory: Path
    pki: Pki | None = None
    servers: list[RunningServer] = field(default_factory=list)

    @property
    def nodes(self) -> int:
        """How many connections a store makes."""
        return MASTERS

    @property
    def url(self) -> str:
        """How a gateway is told of them: two are enough."""
        scheme = "redis" if self.pki is None else "rediss"
        nodes = ",".join(f"127.0.0.1:{self.port(server)}" for server in self.servers[:2])
        return f"{scheme}+cluster://{USER}@{nodes}"

    def port(self, server: RunningServer) -> int:
        """Return the port that clients use."""
        port = server.port if self.pki is None else server.tls_port
        assert port is not None
        return port

    def start(self) -> None:
        """Start the masters, and wait until all know each other."""
        for _ in range(MASTERS):
            self.launch()
        for number, server in enumerate(self.servers):
            first = number * REDIS_CLUSTER_HASH_SLOTS // MASTERS
            last = (number + 1) * REDIS_CLUSTER_HASH_SLOTS // MASTERS - 1
            server.admin("CLUSTER", "ADDSLOTSRANGE", first, last)
            server.admin("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for server in self.servers[1:]:
            self.meet(server)
        self.until_whole()

    def launch(self) -> RunningServer:
        """Start one more server that nobody knows yet."""
        directory = self.directory / f"node-{len(self.servers)}"
        directory.mkdir()
        server = RunningServer(self.binary, directory, pki=self.pki, acl=CLUSTER_PRIVILEGES)
        server.options = ("--cluster-enabled", "yes", "--cluster-port", str(free_port()))
        server.options += ("--cluster-node-timeout", f"{NODE_TIMEOUT * 1000:.0f}")
        server.options += ("--cluster-require-full-coverage", "no", "--masterauth", ADMIN_PASSWORD)
        server.options += ("--repl-diskless-sync-delay", "0", "--cluster-replica-validity-factor", "0")
        server.options += () if self.pki is None else ("--tls-cluster", "yes", "--tls-replication", "yes")
        server.start()
        self.servers.append(server)
        return server

    def meet(self, server: RunningServer) -> None:
        """Introduce a server to the first one."""
        bus = server.options[server.options.index("--cluster-port") + 1]
        self.servers[0].admin("CLUSTER", "MEET", "127.0.0.1", self.port(server), bus)

    def replicate(self, master: RunningServer) -> RunningServer:
        """Start a replica of one master, and wait until it has everything."""
        server = self.launch()
        self.meet(server)
        until(lambda: self.id(master) in nodes(server))
        until(lambda: server.admin("CLUSTER", "REPLICATE", self.id(master)) == b"OK")
        until(lambda: b"master_link_status:up" in info(server, "replication"))
        until(lambda: all(nodes(each).count("slave") == 1 for each in self.servers))
        return server

    def stop(self) -> None:
        """Kill everything."""
        for server in self.servers:
            server.stop()

    def id(self, server: RunningServer) -> str:
        """Return the name that servers know each other by."""
        reply = server.admin("CLUSTER", "MYID")
        assert isinstance(reply, bytes)
        return reply.decode()

    def owner(self, key: bytes) -> RunningServer:
        """Return who has a key, or the keys of a hash tag."""
        slot = key_slot(key)
        for server in self.servers:
            reply = None if server.process is None else server.admin("CLUSTER", "SLOTS")
            for first, last, (_, port, *_), *_ in reply if isinstance(reply, list) else ():
                if first <= slot <= last:
                    return next(each for each in self.servers if self.port(each) == port)
        raise AssertionError(slot)

    def until_whole(self) -> None:
        """Wait until every server says that all is well."""
        for server in self.servers:
            until(lambda server=server: b"cluster_state:ok" in said(server))
            until(lambda server=server: f"cluster_known_nodes:{len(self.servers)}".encode() in said(server))

    def admin(self, *words: str | int) -> object:
        """Run one command as administrator: everywhere, or where its key is."""
        if words[0] not in EVERYWHERE:
            return self.owner(str(words[1]).encode()).admin(*words)
        replies = [server.admin(*words) for server in self.servers]
        lists = [reply for reply in replies if isinstance(reply, list)]
        return [each for reply in lists for each in reply] if lists else replies[0]

    def calls(self, command: str) -> int:
        """Return how often a command has run, in sum."""
        return sum(server.calls(command) for server in self.servers)

    # -- moving a slot, as redis-cli does it ------------------------------------------------------------

    def begin_to_move(self, key: bytes, target: RunningServer) -> None:
        """Let a slot be on its way: what is there stays, what is new goes to its new server (`ASK`)."""
        source, slot = self.owner(key), key_slot(key)
        assert target.admin("CLUSTER", "SETSLOT", slot, "IMPORTING", self.id(source)) == b"OK"
        assert source.admin("CLUSTER", "SETSLOT", slot, "MIGRATING", self.id(target)) == b"OK"

    def move_keys(self, key: bytes, target: RunningServer) -> int:
        """Move the keys of a slot; return how many."""
        source, slot = self.owner(key), key_slot(key)
        keys = source.admin("CLUSTER", "GETKEYSINSLOT", slot, 1000)
        assert isinstance(keys, list)
        if keys:
            words = ["AUTH", ADMIN_PASSWORD, "KEYS", *(name.decode() for name in keys)]
            reply = source.admin("MIGRATE", "127.0.0.1", self.port(target), "", 0, 5000, *words)
            assert not isinstance(reply, hiredis.ReplyError), reply
        return len(keys)

    def end_to_move(self, key: bytes, target: RunningServer) -> None:
        """Give the slot away (`MOVED`)."""
        slot = key_slot(key)
        source = self.owner(key)
        for server in (target, source, *(each for each in self.servers if each not in (target, source))):
            server.admin("CLUSTER", "SETSLOT", slot, "NODE", self.id(target))


def nodes(server: RunningServer) -> str:
    """Return the servers that one knows."""
    reply = server.admin("CLUSTER", "NODES")
    assert isinstance(reply, bytes)
    return reply.decode()


def said(server: RunningServer) -> bytes:
    """Return how the cluster looks to one server."""
    reply = server.admin("CLUSTER", "INFO")
    assert isinstance(reply, bytes)
    return reply

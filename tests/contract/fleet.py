"""A fleet of processes as far as revocations go: indexes with journals, alone or around one server."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, final

from gateway.core.identity import Identity
from gateway.core.revocation import Revocation, Target
from gateway.state.local_revocations import LocalRevocations
from gateway.state.replicated import ReplicatedRevocations
from gateway.state.revocation_journal import RevocationJournal
from gateway.state.revocations import RevocationIndex
from gateway.state.sealing import Seal

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gateway.state.link import Server

NOW = 1_800_000_000.0
PATIENCE = 15.0


@final
class Clock:
    """Dates that a test moves, and real ticks: staleness is real."""

    def __init__(self) -> None:
        self.now = NOW

    def wall(self) -> float:
        return self.now

    def tick(self) -> float:
        return time.monotonic()


def who(value: str) -> Identity:
    """Return an identity of one subject."""
    return Identity(value, "issuer", value, ("jwt",), frozenset(), float("inf"), issued=NOW - 10)


def revoke(id: str, value: str = "issuer|ada", *, expires: float | None = None) -> Revocation:
    """Make a lock."""
    return Revocation(id, Target.SUBJECT, value, NOW, expires=expires, reason="test", source="test")


@final
class Worker:
    """One process."""

    def __init__(self, fleet: Fleet, name: str) -> None:
        self.said: list[str] = []
        self.index = RevocationIndex(
            fleet.clock, capacity=fleet.capacity, bound=None if fleet.server is None else fleet.bound
        )
        journal = RevocationJournal(fleet.directory / name, self.index.everything)
        self.keeper: LocalRevocations | ReplicatedRevocations
        if fleet.server is None:
            self.keeper = LocalRevocations(self.index, journal)
        else:
            self.keeper = ReplicatedRevocations(
                self.index,
                journal,
                fleet.server,
                Seal(fleet.secret),
                fleet.clock,
                prefix=fleet.prefix,
                report=lambda event, _why: self.said.append(event),
            )

    def is_revoked(self, value: str = "issuer|ada") -> bool:
        """Tell whether a subject is."""
        return self.index.find(who(value)) is not None

    @property
    def ids(self) -> set[str]:
        """What holds."""
        return {each.id for each in self.index}


@final
class Fleet:
    """Workers that share a secret and a server, or one worker without either.

    Args:
        directory: Where the journals lie.
        server: How to reach the store; None for memory.
        prefix: What its keys begin with.
    """

    def __init__(self, directory: Path, server: Server | None, prefix: str = "gateway:") -> None:
        self.directory = directory
        self.server = server
        self.prefix = prefix
        self.secret = b"of the fleet"
        self.clock = Clock()
        self.capacity = 1000
        self.bound = 5.0
        self.workers: dict[str, Worker] = {}

    async def start(self, name: str = "one") -> Worker:
        """Start a worker; of the same name again, it finds its journal."""
        worker = self.workers[name] = Worker(self, name)
        await worker.keeper.start()
        return worker

    async def stop(self, name: str = "one") -> None:
        """Stop a worker."""
        await self.workers.pop(name).keeper.stop()

    async def close(self) -> None:
        """Stop all."""
        for name in list(self.workers):
            await self.stop(name)


async def until(condition: Callable[[], bool], seconds: float = PATIENCE) -> float:
    """Wait until something is so; returns after how long."""
    began = time.monotonic()
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.002)
    return time.monotonic() - began

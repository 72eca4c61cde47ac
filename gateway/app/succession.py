"""Replaces what one process runs: the next compilation is warmed and swapped in, and the old one drains.

`prepare` waits and changes nothing that a request sees; `commit` waits for nothing: one assignment, with all
that rests on it, in one turn of the event loop. What the old one had and the new one has not is stopped when
no request can need it any more. Reads no file and decides about no configuration.
"""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING, Final, final

from gateway.app.assembly import make_runtime, service_bounds, service_floodgate, service_timeouts
from gateway.app.background import parts_of
from gateway.app.warmth import check_warm
from gateway.wire.tasks import spawn

if TYPE_CHECKING:
    from gateway.app.background import Background, Part
    from gateway.app.compilation import Compilation
    from gateway.app.ground import Ground
    from gateway.app.renewal import Renewal
    from gateway.app.signals import Heard, Listening
    from gateway.config.load import Loaded
    from gateway.core.ports import Clock
    from gateway.observe.recorder import Observer
    from gateway.pipeline import Gateway
    from gateway.runtime import Runtime
    from gateway.wire.pool import Pool
    from gateway.wire.service import Service

DRAIN_STEP: Final = 0.05  # seconds between two looks at whether the old configuration is still needed


@final
class Prepared:
    """A compilation that runs beside the one that serves, ready to take its place.

    Args:
        compilation: Itself.
        started: What was started for it.
        runtime: What requests will use.
        pool: Its backends.
    """

    def __init__(self, compilation: Compilation, started: list[Part], runtime: Runtime, pool: Pool) -> None:
        self.compilation = compilation
        self.started = started
        self.runtime = runtime
        self.pool = pool


@final
class Succession:
    """What one process runs now, and what replaces it.

    Args:
        compilation: What runs.
        clock: Time.
        background: Its parts, started.
        ground: What all configurations share.
        gateway: Decides; its runtime is replaced.
        service: All client connections.
        pool: Backends.
        renewal: Watches certificates.
        listening: Listens to transmitters.
        observer: Records, for all configurations.

    Attributes:
        compilation: What runs now.
        pool: Its backends.
    """

    def __init__(
        self,
        compilation: Compilation,
        clock: Clock,
        *,
        background: Background,
        ground: Ground,
        gateway: Gateway,
        service: Service,
        pool: Pool,
        renewal: Renewal,
        listening: Listening,
        observer: Observer,
    ) -> None:
        self.compilation = compilation
        self.pool = pool
        self._background = background
        self._clock = clock
        self._gateway = gateway
        self._service = service
        self._renewal = renewal
        self._listening = listening
        self._ground = ground
        self._observer = observer
        self._draining: set[asyncio.Task[None]] = set()

    async def prepare(self, compilation: Compilation, loaded: Loaded) -> Prepared:
        """Start what is new, and wait until it is warm: keys fetched, bundles there.

        Args:
            compilation: Made with the one that runs as `held`.
            loaded: What it was made from.

        Raises:
            ConfigurationError: Something of it cannot be used; nothing has changed.
        """
        started = await self._background.start(compilation)
        try:
            check_warm(compilation, started, loaded)
            possession = compilation.identification.possession
            if possession is not None:
                possession.once = self._ground.once
            pool = self.pool.succeed(compilation.backends)
            runtime = make_runtime(compilation, self._clock, self._ground, pool, self._observer)
        except BaseException:
            await self._background.stop(started)
            raise
        return Prepared(compilation, started, runtime, pool)

    async def discard(self, prepared: Prepared) -> None:
        """Leave everything as it was."""
        await self._background.stop(prepared.started)

    def commit(self, prepared: Prepared) -> None:
        """Let every request that comes from now on use the new one; those under way keep theirs."""
        old, new = self.compilation, prepared.compilation
        old_pool = self.pool
        self._gateway.runtime = prepared.runtime
        self.compilation, self.pool = new, prepared.pool
        server = new.settings.server
        self._service.reconfigure(server.hosts, service_timeouts(server), service_bounds(server))
        if old.settings.server.flood != server.flood:
            self._service.floodgate = service_floodgate(server)
        self._renewal.follow(
            server.watch,
            pool=prepared.pool,
            backends=new.backend_tls,
            bind=new.onward.assertions.bind,
            clients=new.client_trust,
            domains=new.domains.values(),
        )
        if old.settings.server.tls != server.tls:
            self._service.retire(lambda _: True)  # they shook hands under other conditions
        old_pool.retire(prepared.pool.endpoints())
        unheard = self._listening.follow(new.feeds)
        needed = {id(part) for part in parts_of(new)}
        unneeded = [part for part in parts_of(old) if id(part) not in needed]
        task = spawn(self._drain(unheard, unneeded), "drain of a configuration")
        self._draining.add(task)
        task.add_done_callback(self._draining.discard)

    async def close(self) -> None:
        """Wait for no request any more: the process ends."""
        self.pool.close()
        for task in list(self._draining):
            task.cancel()
        if self._draining:
            await asyncio.wait(self._draining)

    async def _drain(self, unheard: list[Heard], unneeded: list[Part]) -> None:
        """Stop what only the old one had, once the last request that began under it is forwarded."""
        under_way = list(self._gateway.running.values())
        await self._renewal.look()  # new handshakes
        for one in unheard:
            await one.stop()
        while under_way := [ex for ex in under_way if not ex.forwarded_at and not ex.ended_at]:  # noqa: ASYNC110
            await asyncio.sleep(DRAIN_STEP)  # no hot path pays for an event
        await self._background.stop(unneeded)
        settle_memory()


def settle_memory() -> None:
    """Take everything made so far out of garbage collection: it lives as long as its configuration.

    A full collection would otherwise walk all of it, in the middle of somebody's request. What an earlier
    configuration left is collected here.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()

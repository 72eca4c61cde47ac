"""One gateway process: opens what the compilation names, serves, drains, closes.

Starts in the order in which things depend on each other and stops in the reverse; a step that fails
undoes the ones before it. Everything that stands still is said in the log with what to do about it.
"""

from __future__ import annotations

import asyncio
import signal
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING, cast, final

import msgspec
import structlog

from gateway import __version__
from gateway.admin import AdminSources, build_admin, build_admin_runner
from gateway.app.admin_listener import start_admin
from gateway.app.assembly import make_runtime, make_service
from gateway.app.background import Background
from gateway.app.file_watch import FileWatch
from gateway.app.gauges import (
    configuration_gauges,
    gauges_of,
    reload_gauges,
    revocation_gauges,
    signal_gauges,
    state_gauges,
    upstream_gauges,
)
from gateway.app.granter import make_granter
from gateway.app.ground import Ground, open_ground
from gateway.app.listener import Listener
from gateway.app.listening import said, written
from gateway.app.peers import Peers, say_refused
from gateway.app.reload import Candidate, Reload, note_in
from gateway.app.renewal import Renewal
from gateway.app.revoker import Revoker
from gateway.app.service_manager import ServiceManager
from gateway.app.signals import Listening
from gateway.app.succession import Prepared, Succession, settle_memory
from gateway.app.watch import Watch
from gateway.credentials.chains import Chains
from gateway.credentials.trust import Trust
from gateway.observe.metrics import Metrics
from gateway.observe.recorder import Observer
from gateway.observe.traces import Tracer
from gateway.pipeline import Gateway
from gateway.state.redis import RedisStore
from gateway.vigil import Vigil
from gateway.wire.downstream import Downstream
from gateway.wire.pool import Pool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gateway.app.compilation import Compilation
    from gateway.app.origin import Origin
    from gateway.app.revocations import Keeper
    from gateway.app.supervised import Supervised
    from gateway.core.ports import Clock
    from gateway.observe.audit import AuditLog
    from gateway.observe.log import LogSink
    from gateway.wire.service import Service

RECORD_DELAY = 0.005  # seconds for which finished exchanges are kept to be written together
DRAIN_STEP = 0.05  # seconds between two looks at whether everything is served
CUT_OFF_SECONDS = 2.0  # for those cut off to be written down before the audit log closes


@final
class Process:
    """Runs one compilation until it is told to stop.

    Args:
        compilation: What to run.
        clock: Time.
        sink: Where the log goes.
        origin: Where the compilation comes from, to be read again; None: it cannot change.
        supervised: For a worker, what ties it to its supervisor, and what it listens on.
        manager: Who started us and wants to know how it goes.
    """

    def __init__(
        self,
        compilation: Compilation,
        clock: Clock,
        sink: LogSink,
        *,
        origin: Origin | None = None,
        supervised: Supervised | None = None,
        manager: ServiceManager | None = None,
    ) -> None:
        self._compilation = compilation
        self._origin = origin
        self._succession: Succession | None = None
        self._reload: Reload | None = None
        self._clock = clock
        self._sink = sink
        self._supervised = supervised
        self._manager = manager or ServiceManager()
        self._log = structlog.get_logger()
        self._stop = asyncio.Event()
        self._within = float("inf")
        self._listener: Listener | None = None
        self._is_ready = False
        self._began = clock.tick()
        self.addresses: dict[str, str] = {}
        """Where it listens, once it does: port 0 in the configuration has become a real one."""

    def stop(self, within: float | None = None) -> None:
        """Ask it to drain and end.

        Args:
            within: Seconds that running requests get at most; None for what the settings say.
        """
        if within is not None:
            self._within = min(self._within, within)
        self._stop.set()

    async def run(self) -> None:
        """Serve until `stop`, SIGTERM or SIGINT.

        Raises:
            OSError: An address cannot be listened on.
            AuditBroken: The audit log cannot be continued.
            RevocationsBroken: The journal of revocations cannot be continued.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        loop.add_signal_handler(signal.SIGHUP, self._hang_up)
        async with AsyncExitStack() as stack:
            service = await self._open(stack)
            settle_memory()
            self._is_ready = True
            self._log.info(
                "ready" if self._supervised is None else "worker-ready",
                **self.addresses,
                version=__version__,
                configuration=self._compilation.version,
            )
            self._manager.tell("READY=1")
            self._manager.keep_alive(stack)
            await self._stop.wait()
            self._is_ready = False
            self._manager.tell("STOPPING=1")
            await self._drain(service)

    def _hang_up(self) -> None:
        if self._reload is None or not self._is_ready:
            mend = "wait until it is ready" if self._supervised is None else "tell the supervisor"
            self._log.warning("nothing-reloaded", mend=mend)
        else:
            self._reload.begin("SIGHUP")

    async def _open(self, stack: AsyncExitStack) -> Service:
        compilation = self._compilation
        ground = await open_ground(stack, compilation, self._clock, is_worker=self._supervised is not None)
        background = Background()
        stack.push_async_callback(background.close)
        await background.start(compilation)
        pool = Pool(compilation.backends)
        stack.callback(pool.close)
        self._reload = reload = self._make_reload(ground)
        renewal = self._make_renewal(pool, lambda: service.connections)
        metrics = Metrics(
            __version__,
            gauges_of(lambda: service, ground.audit, self._sink, lambda: observer)
            + upstream_gauges(lambda: succession.pool)
            + state_gauges(ground.store, ground.budgets, ground.counters)
            + revocation_gauges(ground.keeper, lambda: vigil)
            + renewal.gauges()
            + signal_gauges(lambda: listening)
            + configuration_gauges(lambda: self._compilation.version)
            + reload_gauges(reload),
        )  # read when somebody asks: all are there by then
        observer = self._make_observer(ground.audit, metrics, self._open_traces(stack))
        stack.callback(observer.flush)
        gateway = Gateway(make_runtime(compilation, self._clock, ground, pool, observer))
        service = make_service(compilation.settings, gateway, Peers(renewal.chains, say_refused))
        stack.callback(service.close)
        renewal.apply()  # bundles that were fetched meanwhile
        vigil = self._open_watch(stack, gateway, ground.keeper, service)
        revoker = Revoker(ground.keeper, gateway, ground.audit, self._log, self._clock)
        listening = Listening(revoker, self._clock)
        stack.push_async_callback(listening.close)
        listening.follow(compilation.feeds)
        self._succession = succession = Succession(
            compilation,
            self._clock,
            background=background,
            ground=ground,
            gateway=gateway,
            service=service,
            pool=pool,
            renewal=renewal,
            listening=listening,
            observer=observer,
        )
        stack.push_async_callback(succession.close)
        sources = self._admin_sources(metrics, ground, observer, revoker, listening)
        await self._open_outside(stack, sources, metrics, ground, service, renewal)
        return service

    async def _open_outside(
        self,
        stack: AsyncExitStack,
        sources: AdminSources,
        metrics: Metrics,
        ground: Ground,
        service: Service,
        renewal: Renewal,
    ) -> None:
        """Let operators and clients in, and the supervisor."""
        if self._supervised is None:
            await self._open_admin(stack, sources)
        listener = await self._listen(stack, service)
        stack.push_async_callback(renewal.stop)
        renewal.start(listener)
        if self._reload is not None:
            watch = FileWatch(self._reload, lambda: self._compilation.settings.server.watch)
            stack.push_async_callback(self._reload.close)
            stack.push_async_callback(watch.stop)
            watch.start()
        if self._supervised is not None:
            await self._supervised.answer(
                stack,
                sources,
                token=self._compilation.admin_token,
                families=metrics.families,
                head=lambda: ground.audit.head,
                taker=self,
                stop=self.stop,
            )

    def _make_reload(self, ground: Ground) -> Reload | None:
        if self._origin is None or self._supervised is not None:
            return None
        return Reload(
            self._origin,
            self._clock,
            self._log,
            running=lambda: self._compilation,
            take=self._take,
            note=partial(note_in, ground.audit.append_action, self._clock),
            is_recorded=lambda: ground.audit.is_healthy,
            manager=self._manager,
        )

    async def _take(self, candidate: Candidate) -> None:
        """Put a candidate to use: warmed, then swapped in."""
        self.commit(await self._running().prepare(candidate.compilation, candidate.loaded))

    async def consider(self, data: bytes) -> Prepared:
        """Compile and warm another configuration. See `proposal.Taker`.

        Raises:
            ConfigurationError: It cannot be used; nothing has changed.
        """
        assert self._origin is not None  # noqa: S101 - a worker knows where its orders came from
        made = await asyncio.to_thread(self._origin.compile_data, data, self._clock, self._compilation)
        return await self._running().prepare(made[1], made[0])

    def commit(self, prepared: Prepared) -> None:
        """Let another configuration decide. See `proposal.Taker`."""
        self._compilation = (
            prepared.compilation
        )  # first, as the swap is in there: what decides is said rightly
        self._running().commit(prepared)
        if self._supervised is not None:
            self._log.info("worker-reloaded", configuration=self._compilation.version)

    async def discard(self, prepared: Prepared) -> None:
        """Leave everything as it was. See `proposal.Taker`."""
        await self._running().discard(prepared)

    def _running(self) -> Succession:
        assert self._succession is not None  # noqa: S101 - nobody reloads before it is ready
        return self._succession

    def _open_watch(self, stack: AsyncExitStack, gateway: Gateway, keeper: Keeper, service: Service) -> Vigil:
        vigil = Vigil(gateway)
        watch = Watch(vigil, keeper.index, service, self._log)
        stack.callback(watch.stop)
        watch.start()
        return vigil

    def _open_traces(self, stack: AsyncExitStack) -> Tracer | None:
        traces = self._compilation.settings.traces
        if traces is None:
            return None
        tracer = Tracer(traces.endpoint.text, clock=self._clock, version=__version__, sample=traces.sample)
        stack.callback(tracer.close)
        return tracer

    def _make_observer(self, audit: AuditLog, metrics: Metrics, tracer: Tracer | None) -> Observer:
        return Observer(
            audit=audit,
            metrics=metrics,
            log=self._sink if self._compilation.settings.log.exchanges else None,
            traces=tracer,
            schedule=partial(asyncio.get_running_loop().call_later, RECORD_DELAY),
        )

    def _make_renewal(self, pool: Pool, connections: Callable[[], Iterable[Downstream]]) -> Renewal:
        compilation = self._compilation
        clients = compilation.client_trust
        return Renewal(
            self._clock,
            self._log,
            compilation.settings.server.watch,
            connections=connections,
            pool=pool,
            backends=compilation.backend_tls,
            bind=compilation.onward.assertions.bind,
            clients=clients,
            chains=Chains(Trust() if clients is None else clients.trust, self._clock),
            domains=compilation.domains.values(),
        )

    def _admin_sources(
        self, metrics: Metrics, ground: Ground, observer: Observer, revoker: Revoker, listening: Listening
    ) -> AdminSources:
        store = ground.store
        return AdminSources(
            readiness=lambda: {
                "serving": self._is_ready,
                "audit": observer.is_healthy,
                "state": not isinstance(store, RedisStore) or store.is_ready,
                "revocations": ground.keeper.index.is_current,
            },
            metrics=metrics.render,
            keys=lambda: msgspec.json.decode(self._compilation.onward.assertions.jwks),
            status=self._status,
            operations=revoker,
            limits=make_granter(ground, lambda: self._compilation.routes.routes, self._log, self._clock),
            endpoints=listening.endpoints,
            configuration=self._reload,
            clock=self._clock,
        )

    async def _open_admin(self, stack: AsyncExitStack, sources: AdminSources) -> None:
        compilation = self._compilation
        admin = compilation.settings.admin
        if admin is None:
            return
        runner = build_admin_runner(build_admin(sources, token=compilation.admin_token))
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        self.addresses["admin"] = await start_admin(runner, compilation, admin.listen)

    def _status(self) -> dict[str, object]:
        return {
            "version": __version__,
            "configuration": self._compilation.version,
            "ready": self._is_ready,
            "uptime_seconds": round(self._clock.tick() - self._began, 3),
            "routes": [route.name for route in self._compilation.routes.routes],
        }

    async def _listen(self, stack: AsyncExitStack, service: Service) -> Listener:
        listen = self._compilation.settings.server.listen
        clients = self._compilation.client_trust

        def protocol() -> asyncio.Protocol:
            return cast("asyncio.Protocol", Downstream(service))  # one in all but the base class

        self._listener = listener = Listener(protocol, service.timeouts.handshake)
        inherited = () if self._supervised is None else self._supervised.listen
        with said(listen):
            name = await listener.open(listen, None if clients is None else clients.context, inherited)
        stack.callback(service.abort)
        stack.callback(listener.close)
        self.addresses["listen"] = written(listen, name)
        return listener

    async def _drain(self, service: Service) -> None:
        """Let running requests end, for as long as the settings say."""
        seconds = min(self._compilation.settings.server.drain, self._within)
        if self._supervised is not None and self._listener is not None:
            self._listener.close()  # what others still take must not come here
        self._log.info("draining", active=service.active, seconds=seconds)
        service.drain()
        until = self._clock.tick() + seconds
        while service.active and self._clock.tick() < until:  # noqa: ASYNC110 - no hot path pays for an event
            await asyncio.sleep(DRAIN_STEP)
        if service.active:
            self._log.warning("drain-ended", cut_off=service.active)
        service.abort()
        until = self._clock.tick() + CUT_OFF_SECONDS
        while service.active and self._clock.tick() < until:  # noqa: ASYNC110 - each has a record to write
            await asyncio.sleep(0)

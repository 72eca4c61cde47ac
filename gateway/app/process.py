"""One gateway process: opens what the compilation names, serves, drains, closes.

Starts in the order in which things depend on each other and stops in the reverse; a step that fails
undoes the ones before it. Everything that stands still is said in the log with what to do about it.
"""

from __future__ import annotations

import asyncio
import gc
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
from gateway.app.gauges import gauges_of, revocation_gauges, signal_gauges, state_gauges, upstream_gauges
from gateway.app.granter import Granter
from gateway.app.listener import Listener
from gateway.app.listening import said, written
from gateway.app.peers import Peers
from gateway.app.renewal import Renewal
from gateway.app.revocations import make_keeper
from gateway.app.revoker import Revoker
from gateway.app.service_manager import ServiceManager
from gateway.app.shared_state import make_accounts, make_budgets, make_once, make_state
from gateway.app.signals import Listening
from gateway.app.watch import Watch
from gateway.credentials.chains import Chains
from gateway.credentials.trust import Trust
from gateway.observe.audit import AuditLog, Signer
from gateway.observe.metrics import Metrics
from gateway.observe.recorder import Observer
from gateway.observe.traces import Tracer
from gateway.pipeline import Gateway
from gateway.state.redis import RedisStore
from gateway.state.redis_budgets import RedisBudgets
from gateway.state.redis_counters import RedisCounters
from gateway.vigil import Vigil
from gateway.wire.downstream import Downstream
from gateway.wire.pool import Pool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gateway.app.compilation import Compilation
    from gateway.app.revocations import Keeper
    from gateway.app.shared_state import Budgets, Counters, Store
    from gateway.app.supervised import Supervised
    from gateway.core.ports import Clock
    from gateway.core.refusal import Refusal
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
        supervised: For a worker, what ties it to its supervisor, and what it listens on.
        manager: Who started us and wants to know how it goes.
    """

    def __init__(
        self,
        compilation: Compilation,
        clock: Clock,
        sink: LogSink,
        *,
        supervised: Supervised | None = None,
        manager: ServiceManager | None = None,
    ) -> None:
        self._compilation = compilation
        self._clock = clock
        self._sink = sink
        self._supervised = supervised
        self._manager = manager or ServiceManager()
        self._log = structlog.get_logger()
        self._stop = asyncio.Event()
        self._drain_seconds = compilation.settings.server.drain
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
            self._drain_seconds = min(self._drain_seconds, within)
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
        loop.add_signal_handler(signal.SIGHUP, self._reload)
        async with AsyncExitStack() as stack:
            service = await self._open(stack)
            _settle_memory()
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

    def _reload(self) -> None:
        self._log.warning("nothing-reloaded", mend="restart the gateway to have it read its configuration")

    async def _open(self, stack: AsyncExitStack) -> Service:
        compilation = self._compilation
        audit = self._open_audit(stack)
        store, counters = await self._open_state(stack)
        budgets = await self._open_budgets(stack)
        keeper = await self._open_revocations(stack)
        await self._start_keys(stack)
        compilation.onward.close_with(stack)
        pool = Pool(compilation.backends)
        stack.callback(pool.close)
        renewal = self._make_renewal(pool, lambda: service.connections)
        metrics = Metrics(
            __version__,
            gauges_of(lambda: service, audit, self._sink, lambda: observer)
            + upstream_gauges(pool)
            + state_gauges(store, budgets, counters)
            + revocation_gauges(keeper, lambda: vigil)
            + renewal.gauges()
            + signal_gauges(lambda: listening),
        )  # read when somebody asks: both are there by then
        observer = self._make_observer(audit, metrics, self._open_traces(stack))
        stack.callback(observer.flush)
        gateway = Gateway(make_runtime(compilation, self._clock, store, budgets, counters, pool, observer))
        peers = Peers(renewal.chains, self._refused_certificate)
        service = make_service(compilation.settings, gateway, peers)
        stack.callback(service.close)
        renewal.apply()  # bundles that were fetched meanwhile
        vigil = self._open_watch(stack, gateway, keeper, service)
        revoker = Revoker(keeper, gateway, audit, self._log, self._clock)
        listening = Listening(compilation.feeds, revoker, self._clock)
        await listening.start(stack)
        granter = self._make_granter(store, budgets, audit)
        sources = self._admin_sources(metrics, store, observer, revoker, granter, listening)
        if self._supervised is None:
            await self._open_admin(stack, sources)
        listener = await self._listen(stack, service)
        stack.push_async_callback(renewal.stop)
        renewal.start(listener)
        if self._supervised is not None:
            await self._supervised.answer(
                stack,
                sources,
                token=compilation.admin_token,
                families=metrics.families,
                head=lambda: audit.head,
                stop=self.stop,
            )
        return service

    async def _start_keys(self, stack: AsyncExitStack) -> None:
        compilation = self._compilation
        async with asyncio.TaskGroup() as starting:  # together: an issuer that is away delays no other
            for keys in (*compilation.key_sets, *compilation.domains.values()):
                stack.push_async_callback(keys.stop)
                starting.create_task(keys.start())

    def _open_audit(self, stack: AsyncExitStack) -> AuditLog:
        settings = self._compilation.settings.audit
        key = self._compilation.checkpoint_key
        settings.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)

        def health(is_healthy: bool) -> None:  # noqa: FBT001 - the audit log's signature
            if is_healthy:
                self._log.info("audit-back")
            else:
                self._log.error(
                    "audit-lost",
                    mend="make room on the disk of the audit log; requests are refused until then",
                )

        audit = AuditLog(
            settings.path,
            clock=self._clock,
            signer=None if key is None else Signer(key, "checkpoint"),
            sync_every=settings.sync_every,
            max_bytes=settings.rotate_at,
            is_worker=self._supervised is not None,
            on_health=health,
        )
        stack.callback(audit.close)
        audit.start()
        return audit

    async def _open_state(self, stack: AsyncExitStack) -> tuple[Store, Counters]:
        store, counters = make_state(self._compilation, self._clock)
        possession = self._compilation.identification.possession
        if possession is not None:
            possession.once = make_once(self._compilation, store, self._clock)
        if isinstance(store, RedisStore):
            stack.push_async_callback(store.stop)
            await store.start()
        if isinstance(counters, RedisCounters):
            stack.push_async_callback(counters.stop)
            await counters.start()
        return store, counters

    async def _open_budgets(self, stack: AsyncExitStack) -> Budgets:
        budgets = make_budgets(self._compilation, self._clock)
        if isinstance(budgets, RedisBudgets):
            stack.push_async_callback(budgets.stop)
            await budgets.start()
        return budgets

    def _open_watch(self, stack: AsyncExitStack, gateway: Gateway, keeper: Keeper, service: Service) -> Vigil:
        vigil = Vigil(gateway)
        watch = Watch(vigil, keeper.index, service, self._log)
        stack.callback(watch.stop)
        watch.start()
        return vigil

    async def _open_revocations(self, stack: AsyncExitStack) -> Keeper:
        keeper = make_keeper(self._compilation, self._clock)
        stack.push_async_callback(keeper.stop)
        await keeper.start()
        return keeper

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

    def _refused_certificate(self, address: str, refusal: Refusal) -> None:
        self._log.warning(
            "certificate-refused",
            address=address,
            reason=refusal.reason.value,
            why=refusal.note or refusal.detail,
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

    def _make_granter(self, store: Store, budgets: Budgets, audit: AuditLog) -> Granter:
        routes = self._compilation.routes
        accounts = make_accounts(self._compilation, self._clock, store, budgets)
        return Granter(accounts, lambda: routes.routes, audit, self._log, self._clock)

    def _admin_sources(
        self,
        metrics: Metrics,
        store: Store,
        observer: Observer,
        revoker: Revoker,
        granter: Granter,
        listening: Listening,
    ) -> AdminSources:
        compilation = self._compilation
        return AdminSources(
            readiness=lambda: {
                "serving": self._is_ready,
                "audit": observer.is_healthy,
                "state": not isinstance(store, RedisStore) or store.is_ready,
                "revocations": compilation.revocations.is_current,
            },
            metrics=metrics.render,
            keys=lambda: msgspec.json.decode(compilation.onward.assertions.jwks),
            status=self._status,
            operations=revoker,
            limits=granter,
            endpoints=listening.endpoints(),
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
        seconds = self._drain_seconds
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


def _settle_memory() -> None:
    """Take everything made so far out of garbage collection: it lives as long as the process.

    A full collection would otherwise walk all of it, in the middle of somebody's request.
    """
    gc.collect()
    gc.freeze()

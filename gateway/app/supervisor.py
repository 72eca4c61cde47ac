"""Several workers on one address: starts them, watches them, replaces them, drains them. Serves no client.

A worker that dies is replaced at once, and ever later if it goes on dying; one that no longer answers is
killed first. What operators ask is answered for all workers together. If the workers cannot be started to
begin with, nothing runs.
"""

from __future__ import annotations

import asyncio
import signal
from contextlib import AsyncExitStack, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, final

import msgspec
import structlog

from gateway import __version__
from gateway.admin import AdminSources, build_admin, build_admin_runner
from gateway.app.admin_listener import start_admin
from gateway.app.agreement import Agreement
from gateway.app.bookkeeping import Bookkeeping
from gateway.app.child import Child, Silent, start
from gateway.app.file_watch import FileWatch
from gateway.app.gauges import reload_gauges
from gateway.app.listening import Entrance
from gateway.app.origin import Origin
from gateway.app.process import CUT_OFF_SECONDS
from gateway.app.relay import Relay
from gateway.app.reload import Candidate, Reload, note_in
from gateway.app.restarts import Restarts
from gateway.app.shares import FIRST
from gateway.app.totals import Totals
from gateway.observe.metrics import family_of

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable, Sequence

    from gateway.app.compilation import Compilation
    from gateway.app.service_manager import ServiceManager
    from gateway.app.worker import Orders
    from gateway.core.ports import Clock
    from gateway.observe.log import LogSink

BEAT_SECONDS = 1.0  # between two reports of a worker
EAGER_SECONDS = 0.05  # the same while it does not serve yet
STUCK_SECONDS = 10.0  # silence after which a worker is killed
START_SECONDS = 60.0  # the same for one that has not reported yet
START_ATTEMPTS = 4  # deaths of one worker in a row after which a start is given up
FRESH_SECONDS: Final = 1.0  # for a scrape to wait for reports
END_SECONDS: Final = 10.0  # beyond the drain, for workers to close what they have open


class CannotStart(Exception):
    """The workers do not start; the message says which one, and how it ended."""


@final
class Slot:
    """The place of one worker, whoever fills it."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.restarts = Restarts()
        self.sockets: list[socket.socket] = []
        self.child: Child | None = None

    def leave(self) -> None:
        """Listen no more in this place: new connections go to the others."""
        for one in self.sockets:
            one.close()
        self.sockets = []


@final
class Supervisor:
    """Runs one compilation in several workers until it is told to stop.

    Args:
        compilation: What they run, checked.
        orders: What they are told; number, door and sockets are filled in for each.
        command: What starts one; the descriptor of its orders is appended.
        clock: Time.
        sink: Where the log goes.
        manager: Who started us and wants to know how it goes.
    """

    def __init__(
        self,
        compilation: Compilation,
        orders: Orders,
        command: Sequence[str],
        clock: Clock,
        sink: LogSink,
        manager: ServiceManager,
    ) -> None:
        self._compilation = compilation
        self._orders = orders
        self._changing = asyncio.Lock()  # no worker is started while the others change
        self._command = command
        self._clock = clock
        self._manager = manager
        self._log = structlog.get_logger()
        self._slots = [Slot(number) for number in range(1, orders.workers + 1)]
        self._totals = Totals(sink)
        self._stop = asyncio.Event()
        self._failure = ""
        self._reload: Reload | None = None
        self._is_ready = False
        self._ends_at = 0.0
        self._began = clock.tick()
        self.addresses: dict[str, str] = {}

    def stop(self) -> None:
        """Ask it to drain all workers and end."""
        self._stop.set()

    async def run(self) -> None:
        """Serve until `stop`, SIGTERM or SIGINT.

        Raises:
            CannotStart: The workers do not start.
            OSError: An address cannot be listened on.
            AuditBroken: The audit log cannot be continued.
        """
        loop = asyncio.get_running_loop()
        async with AsyncExitStack() as stack:
            books = Bookkeeping(self._compilation, self._clock)
            stack.push_async_callback(books.close)
            entrance = Entrance(self._compilation.settings.server.listen)
            stack.callback(entrance.close)
            self.addresses["listen"] = entrance.name
            self._reload = reload = self._open_reload(stack, books)
            await self._open_admin(stack, books, reload)
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, self.stop)
            loop.add_signal_handler(signal.SIGHUP, self._hang_up)
            loop.add_signal_handler(signal.SIGCHLD, self._wake)
            stack.callback(self._kill)
            self._manager.keep_alive(stack, lambda: any(self._serving()) or not self._is_ready)
            await books.begin(self._orders.workers)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._end_on_stop(entrance))
                tasks.create_task(books.keep(self._children, self._stop))
                for slot in self._slots:
                    tasks.create_task(self._fill(slot, entrance, books))
            await books.end()
        if self._failure:
            raise CannotStart(self._failure)

    async def _fill(self, slot: Slot, entrance: Entrance, books: Bookkeeping) -> None:
        """Keep one place filled until the end."""
        while not self._stop.is_set():
            try:
                if not slot.sockets:
                    slot.sockets = entrance.open()
                async with self._changing:
                    if self._stop.is_set():
                        break
                    orders = msgspec.structs.replace(self._orders, number=slot.number)
                    slot.child = child = start(self._command, orders, slot.sockets, self._clock.tick)
            except OSError as error:  # no process, no descriptor: as if it had died at once
                lived, how = 0.0, error.strerror or "no process"
            else:
                await self._watch(child, slot)
                lived, how = child.lived, child.bury()
                self._totals.settle(child)
                slot.child = None
                await books.lost(slot.number, how, is_expected=self._stop.is_set())
            if self._stop.is_set():
                break
            delay = slot.restarts.delay(lived)
            self._log.error(
                "worker-lost", worker=slot.number, how=how, lived=round(lived, 3), next_start=delay
            )
            self._totals.restarts += 1
            if not self._is_ready and slot.restarts.deaths >= START_ATTEMPTS:
                self._failure = f"worker {slot.number} did not start {START_ATTEMPTS} times: {how}"
                self._stop.set()
            elif delay:
                slot.leave()
                with suppress(TimeoutError):
                    async with asyncio.timeout(delay):
                        await self._stop.wait()
        slot.leave()

    async def _watch(self, child: Child, slot: Slot) -> None:
        """Listen to a worker until it has ended, and end it if it is stuck or takes too long to end."""
        while child.code is None:
            has_served = child.is_serving
            try:
                await child.listen(STUCK_SECONDS if child.report is not None else START_SECONDS)
            except Silent:
                self._put_down(child, "worker-stuck")
            if self._stop.is_set():
                child.ask_to_end()
                if self._clock.tick() > self._ends_at:
                    self._put_down(child, "worker-killed")
            elif not self._is_ready and all(self._serving()):
                self._say_ready()
            elif has_served and not child.is_serving:  # somebody else asked it to end: it takes nobody new
                slot.leave()
            await child.rest(BEAT_SECONDS if child.is_serving else EAGER_SECONDS)

    def _put_down(self, child: Child, event: str) -> None:
        if not child.is_killed:  # and not yet found dead
            self._log.error(event, worker=child.number, pid=child.pid)
            child.kill()

    async def _end_on_stop(self, entrance: Entrance) -> None:
        await self._stop.wait()
        self._is_ready = False
        self._manager.tell("STOPPING=1")
        seconds = self._compilation.settings.server.drain
        self._ends_at = self._clock.tick() + seconds + CUT_OFF_SECONDS + END_SECONDS
        self._log.info("stopping", workers=len(self._children()), seconds=seconds)
        entrance.close()
        for slot in self._slots:
            slot.leave()
        self._wake()

    def _say_ready(self) -> None:
        self._is_ready = True
        self._log.info(
            "ready",
            **self.addresses,
            version=__version__,
            configuration=self._compilation.version,
            workers=len(self._slots),
        )
        self._manager.tell("READY=1")

    def _children(self) -> list[Child]:
        return [slot.child for slot in self._slots if slot.child is not None]

    def _serving(self) -> Iterable[bool]:
        return (slot.child is not None and slot.child.is_serving for slot in self._slots)

    def _wake(self) -> None:
        for child in self._children():
            child.wake()

    def _kill(self) -> None:
        """Leave nobody and nothing behind, whatever ended us."""
        for slot in self._slots:
            slot.leave()
            if slot.child is not None:
                slot.child.kill()
                slot.child.bury()

    def _open_reload(self, stack: AsyncExitStack, books: Bookkeeping) -> Reload:
        reload = Reload(
            Origin(Path(self._orders.path), self._orders.workers),
            self._clock,
            self._log,
            running=lambda: self._compilation,
            take=self._take,
            note=partial(note_in, books.act, self._clock),
            is_recorded=lambda: books.is_healthy,
            manager=self._manager,
        )
        watch = FileWatch(reload, lambda: self._compilation.settings.server.watch)
        stack.push_async_callback(reload.close)
        stack.push_async_callback(watch.stop)
        watch.start()
        return reload

    def _hang_up(self) -> None:
        if self._reload is None or not self._is_ready:
            self._log.warning("nothing-reloaded", mend="wait until it is ready")
        else:
            self._reload.begin("SIGHUP")

    async def _take(self, candidate: Candidate) -> None:
        """Have all workers take a candidate, those that are started from now on too; or none."""
        version = candidate.compilation.version
        async with self._changing:
            await self._wait_for_starting()
            agreement = Agreement(self._orders.path, version)
            try:
                await agreement.propose(self._children(), candidate.data)
            except BaseException:
                agreement.discard()
                raise
            self._orders = msgspec.structs.replace(self._orders, configuration=candidate.data)
            self._compilation = candidate.compilation
            for child in await agreement.commit():
                if child.code is None:
                    self._put_down(child, "worker-stuck")

    async def _wait_for_starting(self) -> None:
        """Wait until every worker that was started has served, or has died: then it can be asked."""
        until = self._clock.tick() + START_SECONDS
        while any(not child.has_served and child.code is None for child in self._children()):
            if self._clock.tick() > until or self._stop.is_set():
                break  # it is asked all the same, and does not answer
            await asyncio.sleep(EAGER_SECONDS)

    async def _open_admin(self, stack: AsyncExitStack, books: Bookkeeping, reload: Reload) -> None:
        compilation = self._compilation
        admin = compilation.settings.admin
        if admin is None:
            return
        loop = asyncio.get_running_loop()

        def metrics() -> bytes:  # runs in a thread
            asyncio.run_coroutine_threadsafe(self._refresh(), loop).result(FRESH_SECONDS + 1.0)
            own = list(map(family_of, reload_gauges(reload)))
            return self._totals.render(self._children(), len(self._slots), own)

        sources = AdminSources(
            readiness=lambda: self._totals.readiness(
                self._children(), is_ready=self._is_ready, is_recorded=books.is_healthy
            ),
            metrics=metrics,
            keys=lambda: msgspec.json.decode(self._compilation.onward.assertions.jwks),
            status=self._status,
            operations=None,  # a worker answers
            clock=self._clock,
            configuration=reload,
        )
        relay = Relay(self._doors)
        app = build_admin(sources, token=compilation.admin_token, elsewhere=relay.pass_on)
        runner = build_admin_runner(app)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        self.addresses["admin"] = await start_admin(runner, compilation, admin.listen)

    def _doors(self, path: str) -> list[socket.socket]:
        """Return the doors of workers that answer a path: of security events the first one alone."""
        is_for_first = path.startswith("/signals/")
        return [
            child.door
            for child in self._children()
            if child.is_serving and (child.number == FIRST or not is_for_first)
        ]

    async def _refresh(self) -> None:
        """Have every worker report now; one that takes too long stays as it was."""
        wishes = {child.wish() for child in self._children()}
        if wishes:
            await asyncio.wait(wishes, timeout=FRESH_SECONDS)

    def _status(self) -> dict[str, object]:
        return self._totals.status(
            self._children(), is_ready=self._is_ready, uptime=self._clock.tick() - self._began
        ) | {"version": __version__, "configuration": self._compilation.version}

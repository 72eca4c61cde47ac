"""`gateway run`: serves until it is told to stop, in this process or in several workers."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop

from gateway.app import worker
from gateway.app.listening import CannotListen
from gateway.app.process import Process
from gateway.app.service_manager import ServiceManager
from gateway.app.supervisor import CannotStart, Supervisor
from gateway.cli.check import add_workers, compile_file
from gateway.cli.failure import of_file, told
from gateway.config.errors import ConfigurationError
from gateway.credentials.clock import SystemClock
from gateway.observe.audit import AuditBroken
from gateway.observe.log import LibraryHandler, LogSink, build_log
from gateway.state.revocation_journal import RevocationsBroken

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.app.compilation import Compilation
    from gateway.app.worker import Orders

EPILOG = """\
Logs JSON lines to the standard output. SIGTERM and SIGINT drain: no new requests, running ones get
the time that `server.drain` gives them. With more than one worker, a supervisor watches and replaces
them, and answers operators for all (docs/workers.md); limits must then be kept in Redis.
Exit codes: 0 stopped as asked, 1 the configuration may not be run, 2 it could not be started.

examples:
  gateway run --config config/gateway.yaml
  gateway run --config config/redis.yaml --workers auto
"""


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "run",
        help="serve",
        description="Run the gateway in the foreground.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="the YAML file")
    add_workers(parser)
    # what a supervisor appends to its own command line: the descriptor of a worker's orders
    parser.add_argument("--orders", type=int, help=argparse.SUPPRESS)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    if options.orders is not None:
        return _work(worker.read_orders(options.orders))
    compiled = compile_file(options.config, options.workers)
    if compiled is None:
        return 1
    compilation, data = compiled
    if options.workers == 1:
        return _alone(compilation)
    return _supervise(options.config, compilation, data, options.workers)


def _alone(compilation: Compilation) -> int:
    clock, sink = SystemClock(), LogSink()

    async def serve() -> None:
        await Process(compilation, clock, sink, manager=ServiceManager.of_environment()).run()

    return _guarded(compilation, clock, sink, lambda: uvloop.run(serve()))


def _work(orders: Orders) -> int:
    clock = SystemClock()
    sink = LogSink(lock=orders.log_lock, worker=orders.number)
    try:
        compilation = worker.compile_orders(orders, clock)
    except ConfigurationError as error:
        print(error, file=sys.stderr)
        return 1

    def serve() -> None:
        uvloop.run(worker.serve(orders, compilation, clock, sink))

    return _guarded(compilation, clock, sink, serve, number=orders.number)


def _supervise(path: Path, compilation: Compilation, data: bytes, workers: int) -> int:
    clock, lock = SystemClock(), os.memfd_create("log")
    sink = LogSink(lock=lock)
    orders = worker.Orders(
        path=str(path), configuration=data, number=0, workers=workers, door=-1, listen=[], log_lock=lock
    )
    # the same interpreter, options and program once more, whatever they are
    command = [sys.executable, *sys.orig_argv[1:], "--orders"]

    async def supervise() -> None:
        manager = ServiceManager.of_environment()
        await Supervisor(compilation, orders, command, clock, sink, manager).run()

    return _guarded(compilation, clock, sink, lambda: asyncio.run(supervise()))


def _guarded(
    compilation: Compilation,
    clock: SystemClock,
    sink: LogSink,
    serve: Callable[[], None],
    number: int | None = None,
) -> int:
    """Serve with a log, and say why if that cannot be."""
    log = build_log(sink, compilation.settings.log.level, clock, worker=number)
    logging.getLogger().addHandler(LibraryHandler(log))
    sink.start()
    try:
        serve()
    except AuditBroken as broken:
        print(f"gateway: the audit log cannot be continued: {broken}", file=sys.stderr)
        return 2
    except CannotStart as failure:
        print(f"gateway: cannot start: {failure}; what it said stands above", file=sys.stderr)
        return 2
    except RevocationsBroken as broken:
        print(f"gateway: revocations cannot be trusted to be complete: {broken}", file=sys.stderr)
        return 2
    except CannotListen as error:
        print(f"gateway: cannot start: {told(str(error.strerror), error.mend)}", file=sys.stderr)
        return 2
    except OSError as error:
        why = error.strerror or error if error.filename is None else of_file(error)
        print(f"gateway: cannot start: {why}", file=sys.stderr)
        return 2
    finally:
        sink.close()
    return 0

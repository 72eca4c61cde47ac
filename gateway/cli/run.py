"""`gateway run`: serves until it is told to stop."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop

from gateway.app.process import Process
from gateway.cli.check import compile_file
from gateway.credentials.clock import SystemClock
from gateway.observe.audit import AuditBroken
from gateway.observe.log import LibraryHandler, LogSink, build_log
from gateway.state.revocation_journal import RevocationsBroken

if TYPE_CHECKING:
    from gateway.app.compilation import Compilation

EPILOG = """\
Logs JSON lines to the standard output. SIGTERM and SIGINT drain: no new requests, running ones get
the time that `server.drain` gives them.
Exit codes: 0 stopped as asked, 1 the configuration may not be run, 2 it could not be started.

example:
  gateway run --config config/gateway.yaml
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
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    compilation = compile_file(options.config)
    if compilation is None:
        return 1
    clock = SystemClock()
    sink = LogSink()
    log = build_log(sink, compilation.settings.log.level, clock)
    logging.getLogger().addHandler(LibraryHandler(log))
    sink.start()
    try:
        uvloop.run(_serve(compilation, clock, sink))
    except AuditBroken as broken:
        print(f"gateway: the audit log cannot be continued: {broken}", file=sys.stderr)
        return 2
    except RevocationsBroken as broken:
        print(f"gateway: revocations cannot be trusted to be complete: {broken}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"gateway: cannot start: {error.strerror or error}", file=sys.stderr)
        return 2
    finally:
        sink.close()
    return 0


async def _serve(compilation: Compilation, clock: SystemClock, sink: LogSink) -> None:
    await Process(compilation, clock, sink).run()

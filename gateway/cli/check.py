"""`gateway check`: everything that can be said about a configuration before it runs."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from gateway.app.compilation import Compilation, compile_settings
from gateway.app.cores import usable_cores
from gateway.config.errors import ConfigurationError
from gateway.config.load import load_bytes, read
from gateway.credentials.clock import SystemClock

MOST_WORKERS = 512
EPILOG = """\
Opens every file that the configuration names and compiles every rule and schema; opens no socket.
Exit codes: 0 the configuration may be run, 1 it may not; every problem is printed, with its mend.

example:
  gateway check config/gateway.yaml
  gateway check --workers 4 config/redis.yaml
"""


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "check",
        help="check a configuration without running it",
        description="Check a configuration: everything but the sockets.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", type=Path, help="the YAML file")
    add_workers(parser)
    parser.set_defaults(run=check)


def add_workers(parser: argparse.ArgumentParser) -> None:
    """Add the option that says how many processes serve."""
    parser.add_argument(
        "--workers",
        type=_workers,
        default=1,
        metavar="N",
        help="processes that serve: a number, or `auto` for one per usable core (default 1)",
    )


def _workers(text: str) -> int:
    if text == "auto":
        return min(usable_cores(), MOST_WORKERS)
    if text.isdecimal() and 1 <= int(text) <= MOST_WORKERS:
        return int(text)
    raise argparse.ArgumentTypeError(f"`{text}` is neither a number from 1 to {MOST_WORKERS} nor `auto`")


def compile_file(path: Path, workers: int = 1) -> tuple[Compilation, bytes] | None:
    """Load and compile a configuration; print what is wrong with it, or what is worth a warning.

    Args:
        path: The YAML file.
        workers: How many processes will run it together.

    Returns:
        The compilation, and what stood in the file; None if it must not be run.
    """
    clock = SystemClock()
    try:
        data = read(path)
        loaded = load_bytes(data, path, clock)
        for warning in loaded.warnings:
            print(f"warning: {warning}\n", file=sys.stderr)
        return compile_settings(loaded, path.parent.absolute(), clock, workers=workers), data
    except ConfigurationError as error:
        print(error, file=sys.stderr)
        return None


def check(options: argparse.Namespace) -> int:
    """Run the command."""
    compiled = compile_file(options.file, options.workers)
    if compiled is None:
        return 1
    compilation, _ = compiled
    routes = len(compilation.routes.routes)
    backends = len(compilation.backends)
    print(f"{options.file}: fine; {routes} routes, {backends} backends, version {compilation.version}")
    return 0

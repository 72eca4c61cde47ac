"""`gateway check`: everything that can be said about a configuration before it runs."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from gateway.app.compilation import Compilation, compile_settings
from gateway.config.errors import ConfigurationError
from gateway.config.load import load
from gateway.credentials.clock import SystemClock

EPILOG = """\
Opens every file that the configuration names and compiles every rule and schema; opens no socket.
Exit codes: 0 the configuration may be run, 1 it may not; every problem is printed, with its mend.

example:
  gateway check config/gateway.yaml
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
    parser.set_defaults(run=check)


def compile_file(path: Path) -> Compilation | None:
    """Load and compile a configuration; print what is wrong with it, or what is worth a warning.

    Args:
        path: The YAML file.

    Returns:
        The compilation, or None if it must not be run.
    """
    clock = SystemClock()
    try:
        loaded = load(path, clock)
        for warning in loaded.warnings:
            print(f"warning: {warning}\n", file=sys.stderr)
        return compile_settings(loaded, path.parent.absolute(), clock)
    except ConfigurationError as error:
        print(error, file=sys.stderr)
        return None


def check(options: argparse.Namespace) -> int:
    """Run the command."""
    compilation = compile_file(options.file)
    if compilation is None:
        return 1
    routes = len(compilation.routes.routes)
    backends = len(compilation.backends)
    print(f"{options.file}: fine; {routes} routes, {backends} backends, version {compilation.version}")
    return 0

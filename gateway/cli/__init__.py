"""The command line: arguments only. What a command does stands in the module of its name."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from gateway import __version__
from gateway.cli import audit, certs, check, demo, run, token

if TYPE_CHECKING:
    from collections.abc import Sequence

DESCRIPTION = """\
Zero-Trust Model Gateway: every request to a model verified as if it came from an open network.

First steps:
  gateway demo                   a real model behind the gateway, a guided tour, a playground
  gateway check gateway.yaml     everything that can be said about a configuration, before it runs
  gateway run --config gateway.yaml
"""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser with all commands."""
    parser = argparse.ArgumentParser(
        prog="gateway", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"gateway {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in (run, check, certs, token, audit, demo):
        command.add(commands)
    version = commands.add_parser("version", help="print the version")
    version.set_defaults(run=_version)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: Without the program's name; None for those of the process.

    Returns:
        Exit code: 0 done, 1 the answer is no, 2 it could not be done.
    """
    options = build_parser().parse_args(arguments)
    try:
        code: int = options.run(options)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader of our output has seen enough
        sys.stderr.close()
        return 0
    return code


def _version(_options: argparse.Namespace) -> int:
    print(f"gateway {__version__}")
    return 0

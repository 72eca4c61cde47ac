"""The command line: arguments only. What a command does stands in the module of its name.

Only the module of the command that is asked for is imported: `gateway version` should not wait for
what `gateway run` needs.
"""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Final

from gateway import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

DESCRIPTION: Final = """\
Zero-Trust Model Gateway: every request to a model verified as if it came from an open network.

First steps:
  gateway demo                   a real model behind the gateway, a guided tour, a playground
  gateway check gateway.yaml     everything that can be said about a configuration, before it runs
  gateway run --config gateway.yaml
"""
COMMANDS: Final = {
    "run": "serve",
    "check": "check a configuration without running it",
    "explain": "what would be decided about a request, and why",
    "certs": "development certificates: init, issue, revoke",
    "token": "development tokens: keys, mint",
    "keys": "gateway keys: create, list, rotate, revoke",
    "audit": "prove and read the audit log",
    "revoke": "cut somebody off, now",
    "revocations": "list and lift revocations, see who runs",
    "limits": "what an identity has left; grant and reset",
    "demo": "a real model behind the gateway, a tour, and a playground",
}


def build_parser(command: str | None) -> argparse.ArgumentParser:
    """Return the parser.

    Args:
        command: The command whose arguments are parsed; of the others only name and purpose are known.
    """
    parser = argparse.ArgumentParser(
        prog="gateway", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"gateway {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, purpose in COMMANDS.items():
        if name == command:
            import_module(f"gateway.cli.{name}").add(commands)
        else:
            commands.add_parser(name, help=purpose)
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
    words = sys.argv[1:] if arguments is None else list(arguments)
    command = next((word for word in words if not word.startswith("-")), None)
    options = build_parser(command).parse_args(words)
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

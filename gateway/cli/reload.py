"""`gateway reload`: have a running gateway read its configuration again."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any, Final

from gateway.cli.admin_client import Unreachable, add_options, open_client
from gateway.observe.redact import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

EPILOG: Final = """\
Asks the gateway that runs with this file, through its admin listener, and waits for what becomes of it.
Taken is the whole file or nothing of it: if anything is wrong, the configuration that decided before still
does. The gateway is found by the same file: one that does not load is refused here already, in the same
words. See docs/reload.md for what changes while the gateway runs, and what needs a restart.

examples:
  gateway reload --config gateway.yaml
  gateway reload --config gateway.yaml --show

Exit codes: 0 it decides now (or nothing had changed), 1 it was refused, 2 the gateway was not asked.
"""
OK, REFUSED = 200, 422
SECONDS: Final = 90.0  # a new issuer's keys are fetched before it is taken, by every worker


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "reload",
        help="have a running gateway read its configuration again",
        description="Have a running gateway read its configuration again, and say what became of it.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--show",
        action="store_true",
        help="only show which configuration decides, and why the last was refused",
    )
    add_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    client = open_client(options)
    if isinstance(client, str):
        return _fail(client)
    method, path = ("GET", "/v1/configuration") if options.show else ("POST", "/v1/configuration/reload")
    try:
        status, answer = client.ask(method, path, seconds=SECONDS)
    except Unreachable as error:
        return _fail(f"{error}\nnothing was reloaded")
    if status not in {OK, REFUSED}:
        return _fail(f"{answer.get('title', status)}: {answer.get('detail', '')}\nnothing was reloaded")
    return _show(answer) if options.show else _tell(status, answer)


def _tell(status: int, answer: Mapping[str, Any]) -> int:
    if status == REFUSED:
        _list(answer["problems"])
        print(f"\nrefused; {answer['version']} still decides", file=sys.stderr)
        return 1
    if answer["outcome"] == "unchanged":
        print(f"nothing has changed; {answer['version']} decides")
    else:
        print(f"{answer['version']} decides; it was {answer['previous']}")
    return 0


def _show(answer: Mapping[str, Any]) -> int:
    print(f"{answer['version']} decides; {answer['reloads']} reloads, {answer['refused']} refused")
    if answer["problems"]:
        print("the last change was refused:", file=sys.stderr)
        _list(answer["problems"])
    return 0


def _list(problems: list[Mapping[str, Any]]) -> None:
    for one in problems:
        print(printable(f"{one['place']}: {one['message']}"), file=sys.stderr)
        print(printable(f"      = mend: {one['mend']}"), file=sys.stderr)


def _fail(message: str) -> int:
    print(f"gateway reload: {message}", file=sys.stderr)
    return 2

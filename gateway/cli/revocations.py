"""`gateway revocations`: see what is revoked and who runs, and lift a revocation."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from gateway.cli.admin_client import AdminClient, Unreachable, add_options, open_client
from gateway.cli.failure import fail, told
from gateway.observe.action import utc
from gateway.observe.redact import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

EPILOG: Final = """\
examples:
  gateway revocations list --config gateway.yaml
  gateway revocations running --config gateway.yaml
  gateway revocations lift 6f0c2a9b1d3e4f50 --config gateway.yaml

Exit codes: 0 done, 1 the answer is no (nobody can be believed at the moment; no such revocation), 2 it could
not be asked.
"""
OK, UNAUTHORIZED, NOT_FOUND = 200, 401, 404


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "revocations",
        help="list and lift revocations, see who runs",
        description="List and lift revocations; see who is being served now.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="what is revoked", description="Print every revocation.")
    running = actions.add_parser(
        "running", help="who is being served now", description="Print what runs, and whose it is."
    )
    lift = actions.add_parser(
        "lift", help="end a revocation", description="End a revocation before its time, everywhere."
    )
    lift.add_argument("id", metavar="ID", help="its id, as `list` and `gateway revoke` print it")
    for action, run in ((listing, _list), (running, _running), (lift, _lift)):
        add_options(action)
        action.set_defaults(run=_asking(run))


def _asking(
    run: Callable[[AdminClient, argparse.Namespace], int],
) -> Callable[[argparse.Namespace], int]:
    def asking(options: argparse.Namespace) -> int:
        client = open_client(options)
        if isinstance(client, str):
            return _fail(client)
        try:
            return run(client, options)
        except Unreachable as error:
            return _fail(str(error))

    return asking


def _list(client: AdminClient, _options: argparse.Namespace) -> int:
    answer: dict[str, Any] = {}
    for answer in _pages(client):
        for row in answer["revocations"]:
            print(printable(_row(row)))
    freshness = "" if not client.is_fleet else f", heard {answer['staleness_seconds']:g} s ago"
    print(f"{answer['held']} revocations, version {answer['version']}{freshness}")
    if not answer["current"]:
        print("NOT CURRENT: every request is refused; see docs/revocation.md", file=sys.stderr)
        return 1
    return 0


def _pages(client: AdminClient) -> Iterator[dict[str, Any]]:
    after: str | None = ""
    while after is not None:
        answer = _asked(client, "GET", f"/v1/revocations?after={quote(after)}")
        yield answer
        after = answer["next"]


def _row(row: dict[str, Any]) -> str:
    before = "lock" if row["issued_before"] is None else f"issued before {utc(row['issued_before'])}"
    ends = "" if row["expires"] is None else f", until {utc(row['expires'])}"
    why = f": {row['reason']}" if row["reason"] else ""
    by = "operator" if row["source"] == "admin" else row["source"]  # the word of the audit log
    return f"{row['id']}  {row['target']} {row['value']}  ({before}{ends})  by {by}{why}"


def _running(client: AdminClient, _options: argparse.Namespace) -> int:
    answer = _asked(client, "GET", "/v1/running")
    for row in answer["exchanges"]:
        route = row["route"] or "(no route yet)"
        model = "" if row["model"] is None else f" [{row['model']}]"
        print(printable(f"{utc(row['since'])}  {row['identity']}  {route}{model}  from {row['peer']}"))
    print(f"{answer['running']} running in this gateway")
    return 0


def _lift(client: AdminClient, options: argparse.Namespace) -> int:
    status, answer = client.ask("DELETE", f"/v1/revocations/{quote(options.id, safe='')}")
    if status == NOT_FOUND:
        mend = "`gateway revocations list` shows the ids"
        return fail("revocations", told(f"no revocation has the id {printable(options.id)}", mend), 1)
    if status != OK:
        return _fail(f"{answer.get('title', status)}: {answer.get('detail', '')}")
    print(f"lifted {answer['target']} {printable(answer['value'])}")
    return 0


def _asked(client: AdminClient, method: str, path: str) -> dict[str, Any]:
    status, answer = client.ask(method, path)
    if status != OK:
        mend = "give the configuration that it runs with" if status == UNAUTHORIZED else "see its log"
        raise Unreachable(f"the gateway refuses: {answer.get('title', status)}", mend)
    return answer


def _fail(message: str) -> int:
    return fail("revocations", message, 2)

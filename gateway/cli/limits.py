"""`gateway limits`: what an identity has left, and giving it back some or all of what it used."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

import msgspec

from gateway.cli.admin_client import AdminClient, Unreachable, add_options, open_client
from gateway.cli.failure import fail
from gateway.observe.redact import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

EPILOG: Final = """\
KEY is what `gateway audit show` prints and `gateway revoke --subject` takes: `issuer|subject`, `key|SUBJECT`,
a SPIFFE ID or a distinguished name. LIMIT is a name as `show` prints it. Limits that are kept apart by more
than the identity need to be told by what: --with model=llama-3-8b.

A grant takes so much off what was used, at most all of it; a reset takes off all. The quota stays what it is,
and what running requests hold stays held. It holds in the whole fleet, within two seconds.

examples:
  gateway limits show 'https://idp.example.org|alice' --config gateway.yaml
  gateway limits grant 'https://idp.example.org|alice' --limit 'chat/tokens 100000/day' --amount 20000 \\
      --reason 'demo today' --config gateway.yaml
  gateway limits reset 'spiffe://example.org/batch' --config gateway.yaml

Exit codes: 0 done, 1 the answer is no (no such limit, nobody's key) or nobody knows whether it was done, 2 it
could not be asked.
"""
UNITS: Final = {
    "cost": "millionths of cost",
    "bytes_out": "bytes of answers",
    "stream_time": "ms of streams",
    "concurrent": "at the same time",
    "streams": "streams at once",
}
HEAD: Final = ("limit", "unit", "quota", "used", "held", "left", "whole in")
OK: Final = 200
ANSWERED: Final = {400, 404, 503}
PARTS: Final = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "limits",
        help="what an identity has left; grant and reset",
        description="See what an identity has left of its limits, and give it back what it used.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    show = actions.add_parser("show", help="what is left", description="Print every limit of an identity.")
    show.add_argument("--json", action="store_true", help="for scripts: amounts in the smallest unit")
    grant, reset = (
        actions.add_parser(
            name, help=purpose, description=f"{purpose.capitalize()}; LIMIT as `show` prints it."
        )
        for name, purpose in (
            ("grant", "take so much off what was used of a limit"),
            ("reset", "take off all that was used, of all limits or one"),
        )
    )
    grant.add_argument("--limit", metavar="LIMIT", required=True, help="its name, as `show` prints it")
    grant.add_argument(
        "--amount", metavar="N", type=int, required=True, help="how much, in the unit that `show` prints"
    )
    reset.add_argument("--limit", metavar="LIMIT", help="only this one")
    for action, run in ((show, _show), (grant, _grant), (reset, _reset)):
        action.add_argument("key", metavar="KEY", help="whose: `issuer|subject`, a SPIFFE ID, ...")
        action.add_argument(
            "--with", dest="known", metavar="NAME=VALUE", action="append", default=[],
            help="what else is known of it: model, role, certificate, network or claim:NAME",
        )  # fmt: skip
        if action is not show:
            action.add_argument("--reason", default="", help="for the records; callers never see it")
        add_options(action)
        action.set_defaults(run=_asking(run))


def _asking(
    run: Callable[[AdminClient, argparse.Namespace], int],
) -> Callable[[argparse.Namespace], int]:
    def asking(options: argparse.Namespace) -> int:
        if any("=" not in each for each in options.known):
            return _fail("write --with as NAME=VALUE: --with model=llama-3-8b", 2)
        client = open_client(options)
        if isinstance(client, str):
            return _fail(client, 2)
        try:
            return run(client, options)
        except Unreachable as error:
            return _fail(str(error), 2)

    return asking


def _show(client: AdminClient, options: argparse.Namespace) -> int:
    query = [("key", options.key), *(("known", each) for each in options.known)]
    status, answer = client.ask("GET", f"/v1/limits?{urlencode(query)}")
    if status != OK:
        return _refused(status, answer)
    if options.json:
        print(msgspec.json.encode(answer).decode())
        return 0
    print(printable(options.key))
    rows = [_row(row) for row in answer["limits"]]
    for line in _table([HEAD, *rows] if rows else []):
        print(printable(line))
    if not rows:
        print("no limit is kept by this identity alone")
    _tell_untold(answer["untold"])
    return 0


def _grant(client: AdminClient, options: argparse.Namespace) -> int:
    return _forgive(client, options, "grant", {"limit": options.limit, "amount": options.amount})


def _reset(client: AdminClient, options: argparse.Namespace) -> int:
    return _forgive(client, options, "reset", {} if options.limit is None else {"limit": options.limit})


def _forgive(client: AdminClient, options: argparse.Namespace, word: str, order: dict[str, Any]) -> int:
    known = dict(each.split("=", 1) for each in options.known)
    body = {"key": options.key, "reason": options.reason, "known": known, **order}
    status, answer = client.ask("POST", f"/v1/limits/{word}", body)
    if status != OK:
        return _refused(status, answer)
    for one in answer["taken"]:
        unit = UNITS.get(one["unit"], one["unit"].replace("_", " "))
        print(printable(f"{one['limit']}: {one['taken']} {unit} taken off what was used"))
    if not answer["taken"]:
        print("no limit is kept by this identity alone: nothing was done")
    _tell_untold(answer["untold"])
    return 0


def _tell_untold(untold: Iterable[dict[str, Any]]) -> None:
    for each in untold:
        needs = " ".join(f"--with {name}=..." for name in each["needs"])
        print(printable(f"not looked at: {each['limit']}; say {needs}"))


def _row(row: dict[str, Any]) -> tuple[str, ...]:
    unit = UNITS.get(row["unit"], row["unit"].replace("_", " "))
    numbers = (str(row[name]) for name in ("quota", "used", "held", "left"))
    return (row["limit"], unit, *numbers, _duration(row["whole_in"]))


def _table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Set rows in columns: words to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if index < 2 else cell.rjust(width)  # noqa: PLR2004 - name and unit are words
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]


def _duration(seconds: float) -> str:
    """Write seconds in their two largest units, rounded up; nothing for none."""
    rest = -int(-seconds // 1)
    parts: list[str] = []
    for size, name in PARTS:
        if rest >= size or parts:
            parts.append(f"{rest // size}{name}")
            rest %= size
    return " ".join(parts[:2]) if parts else "-"


def _refused(status: int, answer: dict[str, Any]) -> int:
    return _fail(f"{answer.get('title', status)}: {answer.get('detail', '')}", 1 if status in ANSWERED else 2)


def _fail(message: str, code: int) -> int:
    return fail("limits", printable(message), code)

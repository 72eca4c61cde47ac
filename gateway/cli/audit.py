"""`gateway audit`: prove that an audit log is what was written, and read it.

Shows what the log says, escaped: text in a record may come from an attacker, and a terminal obeys
control characters. Exit codes: 0 intact, 1 not intact, 2 cannot be read.
"""

from __future__ import annotations

import sys
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from gateway.cli.failure import Unusable, fail, of_file, told
from gateway.observe.action import Action
from gateway.observe.chain import MAX_LINE, ChainBroken, Kind, parse
from gateway.observe.chains import worker_files
from gateway.observe.record import Record, Who
from gateway.observe.redact import printable
from gateway.observe.verify_log import verify_log

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from gateway.observe.verify import Report
    from gateway.observe.verify_log import LogReport

PUBLIC: Final = "write it with `openssl pkey -in CHECKPOINT_KEY -pubout -out FILE`"
COLOURS: Final = {"served": "32", "refused": "33", "failed": "31", "client-gone": "36"}


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `audit verify` and `audit show` to the command line."""
    audit = subparsers.add_parser(
        "audit",
        help="verify and read the audit log",
        description="Verify and read the audit log.",
    )
    commands = audit.add_subparsers(required=True, metavar="COMMAND")

    check = commands.add_parser(
        "verify",
        help="prove that no line was changed, removed, added or moved",
        description="Recompute the hash chain over FILE and the full files beside it, and with --key the "
        "signatures of the checkpoints. Where workers wrote chains of their own (gateway.1.jsonl beside "
        "gateway.jsonl), all of them are verified, and that none is missing or cut. "
        "Exit code 0 if everything fits, 1 if not, 2 if FILE cannot be read.",
    )
    check.add_argument("file", metavar="FILE", type=Path, help="the log, for example audit/gateway.jsonl")
    check.add_argument("--key", metavar="PUB", type=Path, help="public key of the checkpoints (PEM, Ed25519)")
    check.add_argument("--pruned", action="store_true", help="the oldest files were deleted on purpose")
    check.set_defaults(run=_verify)

    show = commands.add_parser(
        "show",
        help="read records in a form for people",
        description="Print one line per exchange, and for a refusal a second one that says why; and what "
        "operators did. Of all workers together, by time.",
    )
    show.add_argument("file", metavar="FILE", type=Path, help="the log, for example audit/gateway.jsonl")
    show.add_argument(
        "--last", metavar="N", type=int, default=20, help="how many records (default 20, 0 for all)"
    )
    show.add_argument("--refused", action="store_true", help="only what was not served")
    show.add_argument("--actions", action="store_true", help="only what operators did")
    show.set_defaults(run=_show)


def _verify(args: argparse.Namespace) -> int:
    file: Path = args.file
    try:
        key = None if args.key is None else _public_key(args.key)
        log = verify_log(file, key, is_pruned=args.pruned)
    except OSError as error:
        return _fail(_missing(file) if not file.exists() else of_file(error))
    except Unusable as error:
        return _fail(str(error))
    for problem in log.problems:
        print(printable(f"{problem.file}:{problem.line}: {problem.what}"))  # a statement may be forged
    print(_summary(log, is_signed=key is not None))
    return 0 if log.is_intact else 1


def _summary(log: LogReport, *, is_signed: bool) -> str:
    if not log.is_intact:
        verdict = f"NOT INTACT: {len(log.problems)} problem(s)"
    elif is_signed:
        verdict = "INTACT"
    else:  # the hashes have no secret: whoever writes the file can make them anew
        verdict = (
            "CHAIN INTACT, NOT PROVEN: without --key, who can write the file could have rewritten all of it"
        )
    chains = list(log.chains.items())
    if len(chains) == 1:
        return f"{verdict}\n{_chain(chains[0][1], is_signed=is_signed)}"
    parts = [f"{name}\n{_chain(report, is_signed=is_signed)}" for name, report in chains]
    together = f"{len(chains)} chains; where they end was stated {log.statements} time(s)"
    return "\n".join([verdict, *parts, together])


def _chain(report: Report, *, is_signed: bool) -> str:
    checked = "verified" if is_signed else "seen, not verified (no --key)"
    torn = f"; {report.torn} byte(s) of a line that is not finished" if report.torn else ""
    return (
        f"  {report.lines} lines in {report.files} file(s), numbers {report.first} to {report.last}: "
        f"{report.records} records, "
        f"{report.actions} actions of operators, {report.events} events of the log itself\n"
        f"  {report.checkpoints} checkpoint(s) {checked}; {report.unsigned} line(s) after the last one{torn}"
    )


def _show(args: argparse.Namespace) -> int:
    file: Path = args.file
    most = args.last if args.last > 0 else None
    entries: list[Record | Action] = []
    try:
        chains = [file, *(path for path in worker_files(file) if path.exists())]
        for chain in chains:
            wanted = (entry for entry in _entries(chain) if _is_wanted(entry, args))
            entries.extend(deque(wanted, maxlen=most))
    except OSError as error:
        return _fail(_missing(file) if not file.exists() else of_file(error))
    if len(chains) > 1:  # workers do not wait for each other
        entries.sort(key=lambda entry: entry.time)
        entries = entries[-most:] if most is not None else entries
    if not entries:  # on the error output: who reads the other wants records alone
        print(f"there is nothing to show in {file}", file=sys.stderr)
    is_coloured = sys.stdout.isatty()
    for entry in entries:
        if isinstance(entry, Action):
            print(describe_action(entry, is_coloured=is_coloured))
        else:
            print(describe(entry, is_coloured=is_coloured))
    return 0


def _is_wanted(entry: Record | Action, args: argparse.Namespace) -> bool:
    if isinstance(entry, Action):
        return not args.refused
    return not args.actions and (not args.refused or entry.outcome != "served")


def describe_action(action: Action, *, is_coloured: bool = False) -> str:
    """Put what an operator did into words: what, to whom, and on a second line by whom and why.

    Args:
        action: As it stands in the log.
        is_coloured: Use ANSI colours.
    """
    moment = action.time[:19].replace("T", " ")
    title = f"{printable(action.action):<11}"
    if is_coloured:
        title = f"\x1b[35m{title}\x1b[0m"
    target = f"{action.target} {action.value}" if action.target else ""
    why = f": {action.reason}" if action.reason else ""
    what = "" if action.action == "lifted" else f"  ends {action.cut} running"
    name = f"{action.revocation} "
    if action.limit:
        of = "".join(f", {word} {value}" for word, value in action.known.items())
        what, name = f"  {_taken(action)} of {action.limit}{of}", ""
    return (
        f"{printable(moment)}  ---  {title}{printable(f'  {target}{what}')}\n"
        f"{' ' * 26}{printable(f'{name}by {action.by}{why}')}"
    )


def _taken(action: Action) -> str:
    """Say how much was taken off what was used."""
    asked = "all" if action.asked is None else str(action.asked)
    if action.taken is None:
        return f"perhaps {asked}"
    return f"{action.taken}" if str(action.taken) == asked else f"{action.taken} ({asked} asked)"


def describe(record: Record, *, is_coloured: bool = False) -> str:
    """Put a record into words: one line, and a second one if it was not served.

    Args:
        record: As it stands in the log; attacker-controlled in parts.
        is_coloured: Use ANSI colours.
    """
    # the time without its date's T and Z reads better, and the day stays visible
    moment = record.time[:19].replace("T", " ")
    outcome = f"{printable(record.outcome):<11}"
    if is_coloured:
        outcome = f"\x1b[{COLOURS.get(record.outcome, '0')}m{outcome}\x1b[0m"
    target = f"{record.method or '-'} {record.path or '(no request)'}"
    model = f" [{record.model}]" if record.model is not None else ""
    took = "" if record.us is None else _duration(record.us.total)
    tokens = "" if record.output_tokens is None else f"  {record.output_tokens} tokens"
    line = f"{printable(moment)}  {record.status or '---'}  {outcome}"
    line += printable(f"  {_name(record):<28}  {target}{model}  {took}{tokens}")
    why = _why(record)
    return f"{line}\n{' ' * 26}{printable(why)}" if why else line


def _why(record: Record) -> str:
    if record.reason is None:
        return ""
    rule = f" by {record.rule}" if record.rule is not None else ""
    note = f": {record.note}" if record.note else ""
    fault = f" ({record.fault})" if record.fault is not None else ""
    return f"{record.reason}{rule}{note}{fault}  id {record.id}"


def _name(record: Record) -> str:
    if not bytes(record.who):
        return f"({record.peer})" if record.peer else "(nobody)"
    try:
        who = msgspec.json.decode(record.who, type=Who)
    except msgspec.DecodeError:
        return "(unreadable)"
    return who.key  # the whole: an issuer has its own alice, and it is what `gateway revoke --subject` takes


def _duration(micros: int) -> str:
    if micros < 1000:  # noqa: PLR2004 - one millisecond
        return f"{micros} us"
    return f"{micros / 1000:.1f} ms" if micros < 1_000_000 else f"{micros / 1_000_000:.1f} s"  # noqa: PLR2004


def _entries(path: Path) -> Iterator[Record | Action]:
    decode = msgspec.json.Decoder(Record).decode
    decode_action = msgspec.json.Decoder(Action).decode
    with path.open("rb") as file:
        number = 0
        while raw := file.readline(MAX_LINE + 1):
            number += 1
            try:
                line = parse(raw)
                if line.kind is Kind.RECORD:
                    yield decode(line.payload)
                elif line.kind is Kind.ACTION:
                    yield decode_action(line.payload)
            except (ChainBroken, msgspec.DecodeError):
                print(f"{path}:{number}: not a record; run `gateway audit verify`", file=sys.stderr)


def _public_key(path: Path) -> Ed25519PublicKey:
    try:
        key = load_pem_public_key(path.read_bytes())
    except OSError as failure:
        raise Unusable(of_file(failure)) from None
    except (ValueError, UnsupportedAlgorithm):
        raise Unusable(told(f"{path} is not a public key in PEM", PUBLIC)) from None
    if not isinstance(key, Ed25519PublicKey):
        raise Unusable(told(f"{path} is another kind of key: checkpoints are signed with Ed25519", PUBLIC))
    return key


def _missing(file: Path) -> str:
    mend = "give what the configuration calls `audit.path`; a gateway makes it when it starts"
    return told(f"there is no file {file}", mend)


def _fail(message: str) -> int:
    return fail("audit", message, 2)

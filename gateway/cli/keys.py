"""`gateway keys`: the gateway's own keys, for clients that can do no OAuth.

A key is printed once, when it is made. What is stored, listed and logged is its id; a running gateway reads
the file again within a second or two.
"""

from __future__ import annotations

import argparse
import ipaddress
import secrets
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, final

import msgspec
from pydantic import TypeAdapter, ValidationError

from gateway.cli.failure import Unusable, fail, of_file, thumbprint, told
from gateway.config.errors import ConfigurationError
from gateway.config.load import load
from gateway.config.quantities import Duration
from gateway.core.gateway_key import ID_CHARACTERS, SECRET_BYTES, compose, new_id
from gateway.credentials.clock import SystemClock
from gateway.credentials.gateway_keys import make_blind
from gateway.credentials.key_records import (
    Record,
    Secret,
    alone,
    find_misfit,
    moment,
    read_records,
    write_records,
)
from gateway.credentials.secrets import SecretError, resolve_secret

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

EPILOG: Final = """\
examples:
  gateway keys create --config gateway.yaml --subject nightly-report --role batch --expires 90d
      prints the key, once; use it as the API key of any OpenAI or Anthropic client
  gateway keys create --config gateway.yaml --subject ci --role batch --network 10.2.0.0/16 \\
      --certificate certs/ci.pem
      good from that network alone, and beside that client certificate alone
  gateway keys list --config gateway.yaml
  gateway keys rotate ID --config gateway.yaml --overlap 24h
      prints a new key of the same id; the old one is good for another 24 hours
  gateway keys revoke ID --config gateway.yaml
      a running gateway refuses it within two seconds

The configuration names the file and the pepper: `identity.keys`. Exit codes: 0 done, 1 the answer is no
(no such key or role, configuration not fit to run), 2 it could not be done.
"""
DEFAULT_LIFE: Final = "90d"
DEFAULT_OVERLAP: Final = "24h"
DAY: Final = 86400.0


class _No(Exception):
    """The answer is no; the text says why."""


@final
@dataclass(frozen=True, slots=True)
class _Place:
    """What the configuration says about gateway keys."""

    file: Path
    roles: frozenset[str]
    longest: float
    blind: Callable[[bytes], bytes]


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the program's parser."""
    parser = subparsers.add_parser(
        "keys",
        help="make, list, rotate and revoke gateway keys",
        description="Keys of the gateway's own, for clients that can do no OAuth.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--config", type=Path, required=True, metavar="FILE", help="the gateway's YAML file")
    _add_create(actions.add_parser("create", parents=[shared], help="make a key and print it, once"))
    lister = actions.add_parser("list", parents=[shared], help="list all keys, without secrets")
    lister.add_argument("--json", action="store_true", help="one JSON object a line, digests left out")
    lister.set_defaults(run=_run(_list))
    rotate = actions.add_parser("rotate", parents=[shared], help="make a new secret for a key and print it")
    rotate.add_argument("id", help="the key's id")
    rotate.add_argument(
        "--overlap", type=_duration, default=DEFAULT_OVERLAP, help="how long the old secret is good (24h)"
    )
    rotate.add_argument(
        "--expires", type=_duration, help="life of the key from now; its end stays if not given"
    )
    rotate.set_defaults(run=_run(_rotate))
    revoke = actions.add_parser("revoke", parents=[shared], help="remove a key: it is refused at once")
    revoke.add_argument("id", help="the key's id")
    revoke.set_defaults(run=_run(_revoke))


def _add_create(create: argparse.ArgumentParser) -> None:
    create.add_argument("--subject", required=True, help="whose it is; the caller's name is `key|SUBJECT`")
    create.add_argument("--role", action="append", required=True, help="a role of the configuration; repeat")
    create.add_argument("--group", action="append", default=[], help="a group, as of a token; repeat")
    create.add_argument("--scope", action="append", default=[], help="a scope, as of a token; repeat")
    create.add_argument("--expires", type=_duration, default=DEFAULT_LIFE, help="its life (90d)")
    create.add_argument(
        "--network", action="append", default=[], type=_network, metavar="CIDR", help="where from; repeat"
    )
    create.add_argument(
        "--certificate",
        action="append",
        default=[],
        type=Path,
        metavar="PEM",
        help="good beside this client certificate alone; repeat",
    )
    create.add_argument(
        "--spiffe",
        action="append",
        default=[],
        metavar="ID",
        help="or beside one with this SPIFFE ID; repeat",
    )
    create.add_argument("--note", default="", help="for people")
    create.set_defaults(run=_run(_create))


def _duration(text: str) -> float:
    try:
        seconds: float = TypeAdapter(Duration).validate_python(text)
    except ValidationError:
        raise argparse.ArgumentTypeError(f"`{text}` is no time: write it like `90d` or `12h`") from None
    return seconds


def _network(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text))
    except ValueError:
        wanted = "write it like `10.2.0.0/16`, with nothing set behind the prefix"
        raise argparse.ArgumentTypeError(f"`{text}` is no network: {wanted}") from None


def _run(action: Callable[[argparse.Namespace, _Place], None]) -> Callable[[argparse.Namespace], int]:
    """Let an action raise what goes wrong; say it, and turn it into an exit code."""

    def run(options: argparse.Namespace) -> int:
        try:
            action(options, _place(options.config))
        except SecretError as no:
            return fail("keys", told(str(no), no.mend), 1)
        except (_No, ConfigurationError, ValueError) as no:
            return fail("keys", str(no), 1)
        except Unusable as failure:
            return fail("keys", str(failure), 2)
        except OSError as failure:
            return fail("keys", of_file(failure), 2)
        return 0

    return run


def _place(config: Path) -> _Place:
    settings = load(config, SystemClock()).settings
    keys = settings.identity.keys
    if keys is None:
        raise _No(
            told(
                f"{config} has no section `identity.keys`",
                "add `keys: {file: ..., pepper: ...}` to `identity`",
            )
        )
    pepper = resolve_secret(keys.pepper.text, config.parent.absolute())
    return _Place(keys.file, frozenset(settings.roles), keys.max_lifetime, make_blind(pepper))


def _now() -> float:
    return SystemClock().wall()


def _create(options: argparse.Namespace, place: _Place) -> None:
    now = _now()
    text = compose(new_id(secrets.token_bytes(ID_CHARACTERS)), secrets.token_bytes(SECRET_BYTES))
    record = Record(
        id=text.split("_")[1],
        subject=options.subject,
        roles=tuple(options.role),
        created=moment(now),
        expires=moment(now + options.expires),
        secrets=(Secret(place.blind(text.encode()).hex(), moment(now)),),
        groups=tuple(options.group),
        scopes=tuple(options.scope),
        certificates=tuple(thumbprint(file) for file in options.certificate),
        spiffe_ids=tuple(options.spiffe),
        networks=tuple(options.network),
        note=options.note,
    )
    record = _checked(record, place)
    with alone(place.file):
        write_records(place.file, (*read_records(place.file), record))
    _show(text, record, "made; this is the only time that it is shown")


def _rotate(options: argparse.Namespace, place: _Place) -> None:
    now = _now()
    with alone(place.file):
        records = read_records(place.file)
        old = _find(records, options.id)
        text = compose(old.id, secrets.token_bytes(SECRET_BYTES))
        current = Secret(place.blind(text.encode()).hex(), moment(now))
        before = msgspec.structs.replace(old.secrets[0], ends=moment(now + options.overlap))
        expires = old.expires if options.expires is None else moment(now + options.expires)
        if not moment(now) < expires:
            raise _No(f"the key {old.id} has expired; `--expires 90d` gives it a new life")
        new = _checked(msgspec.structs.replace(old, secrets=(current, before), expires=expires), place)
        write_records(place.file, [new if record is old else record for record in records])
    _show(text, new, f"replaced; the secret before it ends {before.ends:%Y-%m-%d %H:%M} UTC")


def _revoke(options: argparse.Namespace, place: _Place) -> None:
    with alone(place.file):
        records = read_records(place.file)
        old = _find(records, options.id)
        write_records(place.file, [record for record in records if record is not old])
    print(f"{old.id} of {old.subject}: revoked", file=sys.stderr)


def _list(options: argparse.Namespace, place: _Place) -> None:
    records = read_records(place.file)
    if options.json:
        for record in records:
            public = msgspec.structs.replace(
                record, secrets=tuple(msgspec.structs.replace(one, digest="") for one in record.secrets)
            )
            print(msgspec.json.encode(public).decode())
        return
    print(f"{'ID':20}  {'STATE':10}  {'EXPIRES':10}  {'SUBJECT':24}  {'ROLES':24}  LIMITED TO")
    for record in records:
        bounds = ", ".join([*record.networks, *record.spiffe_ids, *record.certificates])
        print(
            f"{record.id:20}  {_state(record):10}  {record.expires:%Y-%m-%d}  {record.subject:24}  "
            f"{','.join(record.roles):24}  {bounds or '-'}"
        )


def _state(record: Record) -> str:
    now = moment(_now())
    if record.expires <= now:
        return "expired"
    if any(one.ends is not None and one.ends > now for one in record.secrets):
        return "rotating"
    return "active"


def _find(records: Sequence[Record], id: str) -> Record:
    for record in records:
        if record.id == id:
            return record
    raise _No("there is no such key; `gateway keys list` shows the ids")


def _checked(record: Record, place: _Place) -> Record:
    """Refuse what a running gateway would refuse, in words for the command line."""
    unknown = sorted(set(record.roles) - place.roles)
    if unknown:
        known = ", ".join(sorted(place.roles)) or "none"
        raise _No(told(f"there is no role `{unknown[0]}`", f"give one of the configuration's roles: {known}"))
    try:
        record = msgspec.json.decode(msgspec.json.encode(record), type=Record)
    except msgspec.ValidationError as wrong:
        raise _No(f"this cannot be a key: {wrong}") from None
    if find_misfit(record, place.roles, place.longest):
        raise _No(f"a key lives for at most {place.longest / DAY:g} days (`identity.keys.max_lifetime`)")
    return record


def _show(text: str, record: Record, what: str) -> None:
    print(text)
    print(f"{record.id} of {record.subject}: {what}; it expires {record.expires:%Y-%m-%d}", file=sys.stderr)

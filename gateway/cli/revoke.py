"""`gateway revoke`: cut somebody off, now, everywhere."""

from __future__ import annotations

import argparse
import re
import sys
from base64 import urlsafe_b64encode
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from gateway.cli.admin_client import Unreachable, add_options, open_client
from gateway.cli.failure import Unusable, fail, of_file, thumbprint, told
from gateway.config.quantities import DURATION, UNITS
from gateway.credentials.clock import SystemClock
from gateway.observe.redact import printable

if TYPE_CHECKING:
    from gateway.cli.admin_client import AdminClient

EPILOG: Final = """\
Running requests end while they stream, new ones are refused, idle connections of a revoked certificate are
closed; in a fleet everywhere within a second. It survives restarts, until it ends or is lifted.

Somebody (--subject, --client, --identity) is let in again after authenticating anew: what was issued before
now is void, what is issued later is good. With --lock nothing is, until the revocation ends or is lifted.
One credential (--token, --token-id, --key, --certificate, --session) is always locked.
Who has a certificate alone cannot show that it is new: it stays out either way.

examples:
  gateway revoke --config gateway.yaml --subject 'https://idp.example.org|alice' --reason 'laptop stolen'
  gateway revoke --config gateway.yaml --subject 'spiffe://example.org/batch' --lock --expires 2h
  gateway revoke --config gateway.yaml --token leaked.token
  gateway revoke --config gateway.yaml --certificate alice.pem
  gateway revoke --config gateway.yaml --key 'https://idp.example.org|2026-11' --reason 'key leaked'
  gateway revoke --config gateway.yaml --identity 'spiffe://example.org/team-red/*' --lock
Whom a record of the audit log is about stands in its `who`: `key` is the subject, `token`, `token_id`,
`client_id` and `certificate` are what their options take.

Exit codes: 0 done, 1 it holds in this gateway and is not safe yet: say it again, 2 it was not done.
"""
FINGERPRINT: Final = re.compile(r"[A-Za-z0-9_-]{43}")
HEX: Final = re.compile(r"(?:[0-9A-Fa-f]{2}:?){32}")
CREATED, ACCEPTED = 201, 202


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "revoke",
        help="cut somebody off, now",
        description="Cut somebody off, now: an identity, or one of its credentials.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    whom = parser.add_mutually_exclusive_group(required=True)
    whom.add_argument(
        "--subject", metavar="KEY", help="`issuer|subject`, `key|SUBJECT`, SPIFFE ID or distinguished name"
    )
    whom.add_argument("--identity", metavar="PATTERN", help="every key or SPIFFE ID that fits; * is any text")
    whom.add_argument("--client", metavar="CLIENT", help="`issuer|client_id`")
    whom.add_argument("--token", metavar="FILE", help="the token in this file; - reads it from the input")
    whom.add_argument("--token-id", metavar="ID", help="`issuer|jti`, or 16 hex digits of its SHA-256")
    whom.add_argument("--session", metavar="ID", help="`issuer|sid`")
    whom.add_argument(
        "--key", metavar="KEY", help="thumbprint of a proof key, a gateway key's id, or `issuer|kid`"
    )
    whom.add_argument("--certificate", metavar="PEM", help="a PEM file, or its SHA-256 in hex or base64url")
    parser.add_argument("--lock", action="store_true", help="authenticating anew does not help")
    parser.add_argument("--reason", default="", help="for the records; callers never see it")
    parser.add_argument("--expires", metavar="WHEN", help="30m, 2h, 7d; or 2026-12-01T00:00:00Z (never)")
    add_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    try:
        wanted = _wanted(options)
    except (Unusable, ValueError) as error:
        return _fail(f"{error}\nnothing was revoked")
    client = open_client(options)
    if isinstance(client, str):
        return _fail(f"{client}\nnothing was revoked")
    try:
        status, answer = client.ask("POST", "/v1/revocations", wanted)
    except Unreachable as error:
        return _fail(f"{error}\nnothing was revoked")
    if status not in {CREATED, ACCEPTED}:
        return _fail(f"{answer.get('title', status)}: {answer.get('detail', '')}\nnothing was revoked")
    return _tell(wanted, answer, client)


def _tell(wanted: dict[str, Any], answer: dict[str, Any], client: AdminClient) -> int:
    print(f"revoked {wanted['target']} {printable(wanted['value'])}")
    print(f"  id {answer['id']}; to lift it: gateway revocations lift {answer['id']} --config FILE")
    where = " in the process that answered" if client.is_fleet else ""
    print(f"  running requests ended{where}: {answer['cut']}")
    if not answer["stored"]:
        print(
            "  NOT SAFE YET: it holds in this gateway, but its disk or the fleet's store does not have it.\n"
            "  Say it again, here or to each gateway with --admin; see docs/revocation.md",
            file=sys.stderr,
        )
        return 1
    if client.is_fleet:
        print("  its other workers and the other gateways follow within a second")
    return 0


def _wanted(options: argparse.Namespace) -> dict[str, Any]:
    """Make the body of the call.

    Raises:
        ValueError: A time is none.
        Unusable: A file cannot be used.
    """
    target, value = _target(options)
    wanted: dict[str, Any] = {"target": target, "value": value}
    if options.lock:
        wanted["lock"] = True
    if options.reason:
        wanted["reason"] = options.reason
    if options.expires is not None:
        wanted["expires"] = moment(options.expires, SystemClock().wall())
    return wanted


def _target(options: argparse.Namespace) -> tuple[str, str]:
    if options.token is not None:
        return "token", sha256(_token(options.token).strip().encode()).hexdigest()[:16]
    if options.token_id is not None:
        return "token", options.token_id
    if options.certificate is not None:
        return "certificate", _fingerprint(options.certificate)
    for name in ("subject", "identity", "client", "session", "key"):
        value = getattr(options, name)
        if value is not None:
            return name, value
    raise AssertionError("argparse demands one")


def _token(name: str) -> str:
    if name == "-":
        return sys.stdin.read()
    try:
        return Path(name).read_text()
    except FileNotFoundError:
        mend = "give a file that holds the token, or `-` and the token on the input"
        raise Unusable(told(f"there is no file {name}", mend)) from None
    except OSError as failure:
        raise Unusable(of_file(failure)) from None


def _fingerprint(text: str) -> str:
    if FINGERPRINT.fullmatch(text):
        return text
    if HEX.fullmatch(text):
        return urlsafe_b64encode(bytes.fromhex(text.replace(":", ""))).rstrip(b"=").decode()
    return thumbprint(Path(text))


def moment(text: str, now: float) -> float:
    """Return a time: a duration from now, or a date.

    Raises:
        ValueError: It is neither.
    """
    if re.fullmatch(DURATION.strip("^$"), text):
        number = text.rstrip("mshd")
        return now + float(number) * UNITS[text[len(number) :]]
    try:
        date = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"`{text}` is no time: write 30m, 2h, 7d or 2026-12-01T00:00:00Z") from None
    return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()


def _fail(message: str) -> int:
    return fail("revoke", message, 2)

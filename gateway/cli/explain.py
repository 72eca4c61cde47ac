"""`gateway explain`: what would be decided about a request, rule by rule, and why."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
from cryptography.hazmat.primitives.serialization import Encoding

from gateway.app.explanation import Explanation, NoSuch, Question, explain_request
from gateway.cli.check import compile_file
from gateway.cli.failure import fail, of_file
from gateway.cli.values import pairs
from gateway.core.identity import CERTIFICATE_CONFIRMATION, KEY_CONFIRMATION
from gateway.core.prompt import Prompt
from gateway.core.refusal import Refusal, Refused
from gateway.credentials.certificate_files import read_certificates
from gateway.credentials.certificates import read_certificate
from gateway.credentials.tls import TlsError
from gateway.observe.redact import printable
from gateway.stages.refuse.public import PUBLIC

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.core.identity import PeerCertificate
    from gateway.stages.authorize.explain import Explained

EPILOG: Final = """\
Reads the configuration, and whom and what you describe. Opens no socket, verifies no credential, charges no
limit, and inspects no body. Every rule is asked, those too that a request would not come to.

examples:
  gateway explain --config gateway.yaml --route chat --subject alice --group ml-research --model llama-3-8b
  gateway explain --config gateway.yaml --route chat --certificate certs/batch.pem --model llama-3-8b \\
      --max-tokens 2000 --at 2026-12-24T22:30:00+01:00
  gateway explain --config gateway.yaml --method POST --path /v1/chat/completions --claim 'amr=["pwd"]'
  gateway explain --config gateway.yaml --route chat --role researcher --address 10.1.2.3 --risk 0.9 --json

Exit codes: 0 it would be allowed, 1 it would be refused, 2 it cannot be told.
"""
ANY_THUMBPRINT: Final = "A" * 43
WORDS: Final = {True: "yes", False: "no", None: "cannot be said"}
APPLIES: Final = {True: "applies", False: "does not apply", None: "cannot be evaluated"}


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "explain",
        help="what would be decided about a request, and why",
        description="Explain a decision: what every rule of a route says of a request.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config", type=Path, required=True, help="the YAML file")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.add_argument("--at", type=_moment, metavar="TIME", help="RFC 3339, with its zone (now)")
    where = parser.add_argument_group("where to")
    where.add_argument("--route", help="name of the route; else --method and --path are matched")
    where.add_argument("--method", help="(a method of the route)")
    where.add_argument("--path", help="(the route's)")
    _add_caller(
        parser.add_argument_group(
            "who: with --subject, --group, --scope, --claim or --bound a token is shown"
        )
    )
    _add_prompt(parser.add_argument_group("what the body asks for"))
    parser.set_defaults(run=run)


def _add_caller(who: argparse._ArgumentGroup) -> None:
    who.add_argument("--subject", help="claim sub (somebody)")
    who.add_argument("--issuer", help="claim iss (the configured one, if there is one)")
    who.add_argument("--group", action="append", default=[], help="of claim groups; repeat")
    who.add_argument("--scope", action="append", default=[], help="of claim scope; repeat")
    who.add_argument("--claim", action="append", default=[], metavar="NAME=JSON", help="any claim; repeat")
    who.add_argument(
        "--bound", action="store_true", help="the token is bound to the certificate, or without one to a key"
    )
    who.add_argument("--certificate", type=Path, metavar="PEM", help="the client certificate")
    who.add_argument("--role", action="append", default=[], help="one more role; repeat")
    who.add_argument("--address", default="127.0.0.1", help="the client's address (127.0.0.1)")
    who.add_argument("--risk", type=float, default=0.0, metavar="SCORE", help="from 0 to 1 (0)")


def _add_prompt(what: argparse._ArgumentGroup) -> None:
    what.add_argument("--model", help="(none)")
    what.add_argument("--max-tokens", type=int, metavar="N", help="(not sent)")
    what.add_argument("--stream", action="store_true", help="a streamed answer is asked for")
    what.add_argument("--n", type=int, default=1, help="answers (1)")
    what.add_argument("--messages", type=int, default=1, metavar="N", help="(1)")
    what.add_argument("--tools", type=int, default=0, metavar="N", help="(0)")
    what.add_argument("--temperature", type=float, metavar="T", help="(not sent)")
    what.add_argument("--size", type=int, default=0, metavar="BYTES", help="of the body (0)")


def _moment(text: str) -> float:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = datetime.min  # noqa: DTZ901 - no moment at all
    if moment.tzinfo is None:
        raise argparse.ArgumentTypeError(f"`{text}` is no time such as 2026-12-24T22:30:00+01:00")
    return moment.timestamp()


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    compiled = compile_file(options.config)
    if compiled is None:
        return 2
    try:
        explanation = explain_request(compiled[0], _question(options))
    except (NoSuch, TlsError, OSError) as wrong:
        return fail("explain", of_file(wrong) if isinstance(wrong, OSError) else str(wrong), 2)
    except Refused as refused:
        return fail("explain", f"no identity can be made of this: {_why(refused.refusal)}", 2)
    print(_json(explanation) if options.json else "\n".join(_lines(explanation, options)))
    return 1 if isinstance(explanation.verdict, Refusal) else 0


def _question(options: argparse.Namespace) -> Question:
    return Question(
        now=datetime.now(UTC).timestamp() if options.at is None else options.at,
        route=options.route,
        method=options.method,
        path=options.path,
        claims=_claims(options),
        certificate=None if options.certificate is None else _certificate(options.certificate),
        roles=frozenset(options.role),
        address=options.address,
        prompt=Prompt(
            options.model,
            stream=options.stream,
            output_cap=options.max_tokens,
            choices=options.n,
            messages=options.messages,
            tools=options.tools,
            temperature=options.temperature,
            size=options.size,
        ),
        risk=options.risk,
    )


def _claims(options: argparse.Namespace) -> dict[str, object] | None:
    claims = pairs(options.claim)
    for name, value in (("sub", options.subject), ("iss", options.issuer)):
        if value is not None:
            claims[name] = value
    if options.group:
        claims["groups"] = options.group
    if options.scope:
        claims["scope"] = " ".join(options.scope)
    if options.bound:
        claims["cnf"] = _confirmation(options.certificate)
    return claims or None


def _confirmation(certificate: Path | None) -> dict[str, str]:
    if certificate is None:
        return {KEY_CONFIRMATION: ANY_THUMBPRINT}
    return {CERTIFICATE_CONFIRMATION: _certificate(certificate).fingerprint}


def _certificate(path: Path) -> PeerCertificate:
    certificate = read_certificate(read_certificates(path)[0].public_bytes(Encoding.DER), is_svid=False)
    if isinstance(certificate, Refusal):
        raise NoSuch(f"{path} is no client certificate: {_why(certificate)}")
    return certificate


def _why(refusal: Refusal) -> str:
    said = refusal.note or refusal.detail
    return f"{refusal.reason.value}{f': {said}' if said else ''}"


def _lines(explanation: Explanation, options: argparse.Namespace) -> Iterator[str]:
    identity, route = explanation.identity, explanation.route
    yield f"who     {printable(identity.key)}"
    yield f"shows   {', '.join(identity.methods) or 'nothing'}"
    yield f"roles   {', '.join(sorted(identity.roles)) or 'none'}"
    if options.at is not None:
        yield f"at      {datetime.fromtimestamp(options.at, UTC):%A, %Y-%m-%d %H:%M:%S} UTC"
    yield f"route   {'none that method and path lead to' if route is None else f'{route.name}: {route.path}'}"
    for rule in explanation.rules:
        yield ""
        yield from _rule(rule)
    yield ""
    verdict = explanation.verdict
    if isinstance(verdict, str):
        yield f"allowed by rule '{verdict}'"
        return
    public = PUBLIC[verdict.reason]
    yield f"refused: {printable(_why(verdict))}"
    yield f"the client reads {public.status} {public.word}"


def _rule(rule: Explained) -> Iterator[str]:
    yield f"{rule.effect.value:6}  {rule.name}: {APPLIES[rule.applies]}"
    for part in rule.parts:
        yield f"          {part.name:9} {WORDS[part.holds]:4} {' '.join(part.wants.split())}"
        for name, value in part.sees.items():
            said = "absent" if value is None else printable(msgspec.json.encode(value).decode())
            yield f"{'':25}{name} = {said}"


def _json(explanation: Explanation) -> str:
    verdict, identity, route = explanation.verdict, explanation.identity, explanation.route
    is_refused = isinstance(verdict, Refusal)
    document: dict[str, object] = {
        "who": identity.key,
        "roles": sorted(identity.roles),
        "route": None if route is None else route.name,
        "rules": [
            {"name": rule.name, "effect": rule.effect.value, "applies": rule.applies, "parts": rule.parts}
            for rule in explanation.rules
        ],
        "allowed": not is_refused,
        "rule": verdict.rule if isinstance(verdict, Refusal) else verdict,
        "reason": verdict.reason.value if isinstance(verdict, Refusal) else None,
        "note": (verdict.note or verdict.detail) if isinstance(verdict, Refusal) else None,
        "status": PUBLIC[verdict.reason].status if isinstance(verdict, Refusal) else None,
    }
    return msgspec.json.format(msgspec.json.encode(document)).decode()

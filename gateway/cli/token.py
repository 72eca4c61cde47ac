"""`gateway token`: a development token issuer on the command line. See `credentials.development`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

from gateway.cli.failure import Unusable, fail, of_file, thumbprint, told
from gateway.cli.token_proof import add_proof, holder
from gateway.cli.values import pairs
from gateway.credentials.development import DevelopmentIssuer
from gateway.credentials.signing import ALGORITHMS

EPILOG: Final = """\
examples:
  gateway token keys --issuer https://idp.example.org
      a signing key and its public key set in tokens/; the configuration names the set:
      identity.issuers[].jwks: file:tokens/jwks.json
  gateway token mint --subject alice --group ml-research --scope models:chat
  gateway token mint --bind-certificate certs/batch.pem
      good only over a connection with that client certificate (RFC 8705)
  gateway token mint --bind-key client.key > token
  gateway token proof --key client.key --token token --url https://localhost:8443/v1/chat/completions
      good only with a new proof of the key for every request (RFC 9449); docs/proofs.md shows how to send it
  gateway token mint --claim department='"research"' --claim level=3 --claim auth_time=1790000000
      any claim; the value is JSON, or a string if it is none
  gateway token mint --audience somebody-else
  gateway token mint --expires-in=-60 --issued-at 1790000000
  gateway token mint --omit exp --type JWT --kid nobody
      tokens that a gateway must refuse
  curl -H "Authorization: Bearer $(gateway token mint)" ...

For development only.
"""


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the program's parser."""
    parser = subparsers.add_parser(
        "token",
        help="make tokens for development",
        description="Make a signing key and mint access tokens (RFC 9068) for development.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--directory", type=Path, default=Path("tokens"), help="where the key lies (tokens)")
    _add_keys(actions.add_parser("keys", parents=[shared], help="make a signing key and its public key set"))
    _add_mint(actions.add_parser("mint", parents=[shared], help="sign a token and print it"))
    add_proof(actions.add_parser("proof", help="make a proof of possession for one request, and print it"))


def _add_keys(keys: argparse.ArgumentParser) -> None:
    keys.add_argument("--algorithm", choices=ALGORITHMS, default="ES256", help="(ES256)")
    keys.add_argument("--issuer", default="https://idp.example.org", help="(https://idp.example.org)")
    keys.add_argument("--audience", default="model-gateway", help="what tokens are for (model-gateway)")
    keys.add_argument("--kid", help="key id; the key's thumbprint if not given")
    keys.add_argument("--force", action="store_true", help="overwrite what is there")
    keys.set_defaults(run=_keys)


def _add_mint(mint: argparse.ArgumentParser) -> None:
    mint.add_argument("--subject", default="alice", help="sub (alice)")
    mint.add_argument("--issuer", help="iss, if not the key's issuer")
    mint.add_argument("--audience", action="append", help="aud, if not the key's; repeat for a list")
    mint.add_argument("--expires-in", type=int, default=300, metavar="SECONDS", help="exp, from iat (300)")
    mint.add_argument("--issued-at", type=int, metavar="TIME", help="iat, seconds since 1970 (now)")
    mint.add_argument("--not-before", type=int, metavar="TIME", help="nbf, seconds since 1970 (none)")
    mint.add_argument("--group", action="append", default=[], help="groups; repeat")
    mint.add_argument("--scope", action="append", default=[], help="scope; repeat")
    mint.add_argument("--claim", action="append", default=[], metavar="NAME=JSON", help="any claim; repeat")
    mint.add_argument("--bind-certificate", type=Path, metavar="PEM", help="cnf.x5t#S256 of a certificate")
    mint.add_argument(
        "--bind-key", type=Path, metavar="PEM", help="cnf.jkt of a private key; made if there is none"
    )
    mint.add_argument("--type", help="typ (at+jwt)")
    mint.add_argument("--kid", help="kid, if not the key's")
    mint.add_argument(
        "--header", action="append", default=[], metavar="NAME=JSON", help="any header member; repeat"
    )
    mint.add_argument(
        "--omit", action="append", default=[], metavar="NAME", help="leave a claim or header out"
    )
    mint.set_defaults(run=_mint)


def _keys(arguments: argparse.Namespace) -> int:
    try:
        issuer = DevelopmentIssuer.create(
            arguments.directory,
            arguments.algorithm,
            issuer=arguments.issuer,
            audience=arguments.audience,
            kid=arguments.kid,
            force=arguments.force,
        )
    except FileExistsError as existing:
        mend = "`--force` replaces it, and voids its tokens"
        return _fail(told(f"{existing.filename} exists already", mend))
    except OSError as failure:
        return _fail(of_file(failure))
    print(issuer.jwks)
    return 0


def _mint(arguments: argparse.Namespace) -> int:
    headers = pairs(arguments.header)
    if arguments.type is not None:
        headers["typ"] = arguments.type
    if arguments.kid is not None:
        headers["kid"] = arguments.kid
    audience = arguments.audience
    try:
        issuer = DevelopmentIssuer.load(arguments.directory)
        token = issuer.mint(
            arguments.subject,
            issuer=arguments.issuer,
            audience=audience[0] if audience is not None and len(audience) == 1 else audience,
            expires_in=arguments.expires_in,
            not_before=arguments.not_before,
            issued_at=arguments.issued_at,
            groups=arguments.group,
            scopes=arguments.scope,
            bind=thumbprint(arguments.bind_certificate) if arguments.bind_certificate else None,
            bind_key=holder(arguments.bind_key).thumbprint if arguments.bind_key else None,
            claims=pairs(arguments.claim),
            headers=headers,
            omit=arguments.omit,
        )
    except FileNotFoundError as missing:
        return _fail(told(f"there is no file {missing.filename}", "`gateway token keys` makes it"))
    except Unusable as wrong:
        return _fail(str(wrong))
    except OSError as failure:
        return _fail(of_file(failure))
    except ValueError as wrong:
        return _fail(str(wrong))
    print(token)
    return 0


def _fail(message: str) -> int:
    return fail("token", message, 1)

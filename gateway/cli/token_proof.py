"""`gateway token proof`: proofs of possession (RFC 9449) on the command line, to try them by hand."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.cli.failure import fail, of_file, told
from gateway.credentials.clock import SystemClock
from gateway.credentials.development_proof import make_proof
from gateway.credentials.files import PRIVATE, write_new
from gateway.credentials.signing import Signer, generate_key, private_pem

if TYPE_CHECKING:
    import argparse


def add_proof(proof: argparse.ArgumentParser) -> None:
    """Add the options of the action to its parser."""
    proof.add_argument("--key", type=Path, required=True, metavar="PEM", help="the client's private key")
    proof.add_argument("--method", default="POST", help="of the request (POST)")
    proof.add_argument("--url", required=True, help="of the request, without query")
    proof.add_argument(
        "--token", type=Path, required=True, metavar="FILE", help="the access token; - reads standard input"
    )
    proof.add_argument("--nonce", help="from the last answer's DPoP-Nonce")
    proof.add_argument("--issued-at", type=int, metavar="TIME", help="iat, seconds since 1970 (now)")
    proof.set_defaults(run=_proof)


def holder(path: Path) -> Signer:
    """Return the key of a client; made if there is none.

    Raises:
        OSError: The file cannot be read or written.
        ValueError: It is no private key that signs.
    """
    if not path.exists():
        write_new(path, private_pem(generate_key("ES256")), mode=PRIVATE)
    return Signer.from_pem(path.read_bytes())


def _proof(arguments: argparse.Namespace) -> int:
    try:
        signer = Signer.from_pem(arguments.key.read_bytes())
        token = sys.stdin.read() if arguments.token == Path("-") else arguments.token.read_text()
    except FileNotFoundError as missing:
        makes = f"`gateway token mint --bind-key {arguments.key} > FILE` makes key and token"
        return _fail(told(f"there is no file {missing.filename}", makes))
    except OSError as failure:
        return _fail(of_file(failure))
    except ValueError as wrong:
        return _fail(str(wrong))
    at = SystemClock().wall() if arguments.issued_at is None else arguments.issued_at
    print(make_proof(signer, arguments.method, arguments.url, at, token=token.strip(), nonce=arguments.nonce))
    return 0


def _fail(message: str) -> int:
    return fail("token proof", message, 1)

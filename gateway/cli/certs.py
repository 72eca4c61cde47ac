"""`gateway certs`: a development PKI on the command line. Decides nothing; see `credentials.development`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Final

from gateway.credentials.development import AUTHORITIES, LEAF_DAYS, DevelopmentPki

EPILOG: Final = """\
examples:
  gateway certs init
      three authorities in certs/: gateway (its listener), clients, backends
  gateway certs issue gateway --kind server --dns gateway.example.org --dns 127.0.0.1
  gateway certs issue batch --spiffe spiffe://example.org/batch/nightly
      a client certificate: certs/batch.pem and certs/batch.key
  gateway certs issue llama --kind backend --spiffe spiffe://example.org/backend/llama --dns localhost
  gateway certs issue to-llama --authority backends
      what the gateway shows to a backend
  gateway certs revoke certs/batch.pem
      puts it on certs/clients.crl; give that to server.tls.revocation_list

Private keys lie unencrypted in the directory, readable by you alone. For development only.
"""


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the program's parser."""
    parser = subparsers.add_parser(
        "certs",
        help="make certificates for development",
        description="Make and revoke certificates for development.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--directory", type=Path, default=Path("certs"), help="where everything lies (certs)")
    forced = argparse.ArgumentParser(add_help=False)
    forced.add_argument("--force", action="store_true", help="overwrite what is there")

    init = actions.add_parser("init", parents=[shared, forced], help="make the authorities")
    init.add_argument("--days", type=float, default=365, help="how long they are valid (365)")
    init.set_defaults(run=_init)

    issue = actions.add_parser("issue", parents=[shared, forced], help="issue a certificate with a new key")
    issue.add_argument("name", help="file name without suffix, and common name")
    issue.add_argument("--kind", choices=("client", "server", "backend"), default="client", help="(client)")
    issue.add_argument(
        "--dns", action="append", default=[], metavar="NAME", help="DNS name or IP address; repeat"
    )
    issue.add_argument("--spiffe", metavar="ID", help="SPIFFE ID, as URI name")
    issue.add_argument("--common-name", metavar="NAME", help="another common name")
    issue.add_argument("--days", type=float, default=LEAF_DAYS, help=f"how long it is valid ({LEAF_DAYS})")
    issue.add_argument("--authority", choices=AUTHORITIES, help="another authority than the kind's own")
    issue.set_defaults(run=_issue)

    revoke = actions.add_parser("revoke", parents=[shared], help="put certificates on the revocation list")
    revoke.add_argument("certificate", type=Path, nargs="+", help="PEM file")
    revoke.set_defaults(run=_revoke)


def _init(arguments: argparse.Namespace) -> int:
    pki = DevelopmentPki(arguments.directory)
    try:
        pki.init(days=arguments.days, force=arguments.force)
    except FileExistsError as existing:
        return _fail(
            f"{existing.filename or existing} exists already; --force replaces it and voids what it signed"
        )
    except OSError as failure:
        return _fail(f"{failure.filename}: {failure.strerror}")
    for authority in AUTHORITIES:
        print(pki.ca(authority))
    return 0


def _issue(arguments: argparse.Namespace) -> int:
    try:
        issued = DevelopmentPki(arguments.directory).issue(
            arguments.name,
            arguments.kind,
            dns=arguments.dns,
            spiffe=arguments.spiffe,
            common_name=arguments.common_name,
            days=arguments.days,
            authority=arguments.authority,
            force=arguments.force,
        )
    except FileExistsError as existing:
        return _fail(f"{existing.filename} exists already; --force replaces it")
    except FileNotFoundError:
        return _fail(f"there are no authorities in {arguments.directory}; run `gateway certs init` first")
    except OSError as failure:
        return _fail(f"{failure.filename}: {failure.strerror}")
    except ValueError as wrong:
        return _fail(str(wrong))
    print(issued.certificate)
    print(issued.key)
    return 0


def _revoke(arguments: argparse.Namespace) -> int:
    pki = DevelopmentPki(arguments.directory)
    for certificate in arguments.certificate:
        try:
            print(pki.revoke(certificate))
        except OSError as failure:
            return _fail(f"{failure.filename}: {failure.strerror}")
        except ValueError as wrong:
            return _fail(f"{certificate}: {wrong}")
    return 0


def _fail(message: str) -> int:
    print(f"gateway certs: {message}", file=sys.stderr)
    return 1

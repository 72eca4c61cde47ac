"""`gateway certs`: a development PKI on the command line. Decides nothing; see `credentials.development`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

import msgspec
from cryptography.x509 import load_pem_x509_certificates

from gateway.cli.failure import fail, of_file, told
from gateway.credentials.bundles import write_bundle
from gateway.credentials.development import AUTHORITIES, LEAF_DAYS, DevelopmentPki
from gateway.credentials.files import write_new
from gateway.credentials.jwk import parse_set

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
      puts it on certs/clients.crl; give that to server.tls.revocation_list, and for certificates of a
      trust domain to identity.trust_domains.NAME.revocation_list: neither list counts for the other's
  gateway certs bundle --keys tokens/jwks.json
      certs/bundle.json, a SPIFFE bundle of the clients' authority and of those keys; the configuration names
      it: identity.trust_domains.example.org.bundle: file:certs/bundle.json

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

    bundle = actions.add_parser("bundle", parents=[shared], help="write a SPIFFE bundle")
    bundle.add_argument("--authority", choices=AUTHORITIES, default="clients", help="whose (clients)")
    bundle.add_argument(
        "--keys", type=Path, metavar="JWKS", help="public key set that signs JWT-SVIDs; none: none are signed"
    )
    bundle.add_argument("--output", type=Path, metavar="FILE", help="(bundle.json in the directory)")
    bundle.set_defaults(run=_bundle)


def _init(arguments: argparse.Namespace) -> int:
    pki = DevelopmentPki(arguments.directory)
    try:
        pki.init(days=arguments.days, force=arguments.force)
    except FileExistsError as existing:
        mend = "`--force` replaces it, and voids what it signed"
        return _fail(told(f"{existing.filename or existing} exists already", mend))
    except OSError as failure:
        return _fail(of_file(failure))
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
        return _fail(told(f"{existing.filename} exists already", "`--force` replaces it"))
    except FileNotFoundError:
        return _fail(
            told(f"there are no authorities in {arguments.directory}", "run `gateway certs init` first")
        )
    except OSError as failure:
        return _fail(of_file(failure))
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
            return _fail(of_file(failure))
        except ValueError as wrong:
            return _fail(f"{certificate}: {wrong}")
    return 0


def _bundle(arguments: argparse.Namespace) -> int:
    pki = DevelopmentPki(arguments.directory)
    output = arguments.output or arguments.directory / "bundle.json"
    try:
        keys = [] if arguments.keys is None else _public_keys(arguments.keys.read_bytes())
        authorities = load_pem_x509_certificates(pki.ca(arguments.authority).read_bytes())
        sequence = int(pki.clock.wall())  # grows with every bundle
        write_new(output, write_bundle(authorities, keys, sequence=sequence), force=True)
    except OSError as failure:
        return _fail(of_file(failure))
    except ValueError as wrong:
        return _fail(str(wrong))
    print(output)
    return 0


def _public_keys(jwks: bytes) -> list[dict[str, object]]:
    parse_set(jwks)  # or it is none
    entries: list[dict[str, object]] = msgspec.json.decode(jwks)["keys"]
    return entries


def _fail(message: str) -> int:
    return fail("certs", message, 1)

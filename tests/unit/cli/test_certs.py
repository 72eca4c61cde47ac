"""`gateway certs`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from gateway.cli import certs
from gateway.credentials.bundles import parse_bundle
from gateway.credentials.development import DevelopmentIssuer

if TYPE_CHECKING:
    from pathlib import Path


def run(*arguments: str) -> int:
    """Run the command as the program would."""
    parser = argparse.ArgumentParser()
    certs.add(parser.add_subparsers())
    parsed = parser.parse_args(["certs", *arguments])
    return parsed.run(parsed)


def test_init_issue_revoke(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The whole life of a client certificate; each command prints the files it wrote."""
    where = ("--directory", str(tmp_path))
    codes = [
        run("init", *where),
        run("issue", "a", *where, "--spiffe", "spiffe://example.org/a", "--dns", "a.example", "--days", "1"),
        run("issue", "gw", *where, "--kind", "server", "--common-name", "The gateway"),
        run("revoke", *where, str(tmp_path / "a.pem")),
    ]
    leaf = x509.load_pem_x509_certificate((tmp_path / "a.pem").read_bytes())

    assert [0, 0, 0, 0] == codes
    assert 1 == len(list(x509.load_pem_x509_crl((tmp_path / "clients.crl").read_bytes())))
    assert ["a.example"] == leaf.extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    ).value.get_values_for_type(x509.DNSName)
    assert [
        str(tmp_path / name)
        for name in (
            "gateway-ca.pem",
            "clients-ca.pem",
            "backends-ca.pem",
            "a.pem",
            "a.key",
            "gw.pem",
            "gw.key",
            "clients.crl",
        )
    ] == capsys.readouterr().out.split()


def test_faults_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 1 and one sentence that says how to mend it."""
    where = ("--directory", str(tmp_path))
    file = tmp_path / "file"
    file.write_text("x")

    def fails(expected: str, *arguments: str) -> None:
        assert 1 == run(*arguments)
        assert expected in capsys.readouterr().err

    fails("certs init", "issue", "a", *where)
    run("init", *where)
    run("issue", "a", *where)
    fails("--force", "init", *where)
    fails("--force", "issue", "a", *where)
    assert 0 == run("issue", "a", *where, "--force")
    fails("cannot be used: not a directory", "init", "--directory", str(file / "x"))
    fails("cannot be used: not a directory", "issue", "a", "--directory", str(file))
    fails("there is no file", "revoke", *where, str(tmp_path / "none.pem"))
    fails("file:", "revoke", *where, str(file))
    fails("gateway certs: ", "issue", "b", *where, "--spiffe", "\u00e4")


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    """The help has examples."""
    with pytest.raises(SystemExit) as ended:
        run("--help")

    assert 0 == ended.value.code
    assert "gateway certs issue batch" in capsys.readouterr().out


def test_a_bundle(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of the clients' authority, with the keys of a token issuer; what is missing is said."""
    where = ("--directory", str(tmp_path))
    issuer = DevelopmentIssuer.create(tmp_path / "tokens")
    broken = tmp_path / "broken.json"
    broken.write_text("{}")
    codes = [
        run("bundle", *where),
        run("init", *where),
        run("bundle", *where),
        run(
            "bundle",
            *where,
            "--keys",
            str(issuer.jwks),
            "--authority",
            "gateway",
            "--output",
            str(tmp_path / "g"),
        ),
        run("bundle", *where, "--keys", str(broken)),
    ]
    said = capsys.readouterr()
    plain = parse_bundle((tmp_path / "bundle.json").read_bytes())
    full = parse_bundle((tmp_path / "g").read_bytes())
    authorities = {name: (tmp_path / f"{name}-ca.pem").read_bytes() for name in ("clients", "gateway")}

    assert [1, 0, 0, 0, 1] == codes
    assert (authorities["clients"], authorities["gateway"]) == tuple(
        one.authorities[0].public_bytes(Encoding.PEM) for one in (plain, full)
    )
    assert (frozenset(), frozenset({issuer.signer.kid})) == (plain.keys.kids, full.keys.kids)
    assert (full.sequence or 0) > 1_700_000_000
    assert "there is no file" in said.err
    assert "no list of keys" in said.err
    assert said.out.endswith(f"{tmp_path / 'bundle.json'}\n{tmp_path / 'g'}\n")

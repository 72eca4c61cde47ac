"""Files that the settings name: there, readable, valid now, and fitting each other."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa

from gateway.config.checks.material import Files
from tests.unit.config.writing import (
    DAY,
    MOMENT,
    NOW,
    Authority,
    load_variant,
    messages,
    private_pem,
    problems,
    warnings,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SERVER = {
    "certificate": "gateway.pem",
    "private_key": "gateway.key",
    "client_ca": "ca.pem",
    "revocation_list": "clients.crl",
}


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """An authority that has issued everything that the server needs."""
    authority = Authority(tmp_path)
    authority.issue("gateway")
    authority.revoke()
    return authority


def said(authority: Authority, changes: dict[str, object] | None = None) -> list[str]:
    """Return what is wrong, with the directory cut away."""
    found = messages(authority.directory, {"server.tls": SERVER, **(changes or {})})
    return [message.replace(f"{authority.directory}/", "") for _, message in found]


def test_good_files_load_without_warning(authority: Authority) -> None:
    """Nothing is wrong with what the development authority would issue."""
    assert load_variant(authority.directory, {"server.tls": SERVER}).warnings == ()


SPOILED: list[tuple[Callable[[Authority], object], list[str]]] = [
    (lambda ca: (ca.directory / "gateway.pem").unlink(), ["there is no file gateway.pem"]),
    (lambda ca: ca.write("gateway.pem", b""), ["gateway.pem is empty"]),
    (lambda ca: ca.write("gateway.pem", b"hello"), ["gateway.pem holds no readable certificate"]),
    (lambda ca: ca.write("gateway.key", b"hello"), ["gateway.key holds no readable private key"]),
    (
        lambda ca: ca.write("gateway.key", b"x" * (4 * 1024 * 1024 + 1)),
        ["gateway.key is larger than 4194304 bytes"],
    ),
    (
        lambda ca: ca.write("gateway.key", private_pem(ec.generate_private_key(ec.SECP256R1()))),
        ["the private key gateway.key does not belong to the certificate gateway.pem"],
    ),
    (
        lambda ca: ca.write("gateway.key", private_pem(ec.generate_private_key(ec.SECP256R1()), b"pw")),
        ["the private key gateway.key is encrypted"],
    ),
    (
        lambda ca: ca.issue("gateway", key=rsa.generate_private_key(65537, 1024)),  # noqa: S505 - too short on purpose
        ["the RSA key gateway.key has 1024 bits"],
    ),
    (lambda ca: ca.issue("gateway", key=rsa.generate_private_key(65537, 2048)), []),
    (
        lambda ca: ca.write("gateway.key", private_pem(dsa.generate_private_key(2048))),  # type: ignore[arg-type]
        ["gateway.key is a key of a kind that is not taken"],
    ),
    (
        lambda ca: ca.issue("gateway", ends=MOMENT - DAY / 2),
        ["the certificate gateway.pem expired on 2027-01-14 20:00 UTC"],
    ),
    (
        lambda ca: ca.issue("gateway", begins=MOMENT + DAY),
        ["the certificate gateway.pem is not valid before 2027-01-16 08:00 UTC"],
    ),
    (
        lambda ca: ca.write("ca.pem", (ca.directory / "gateway.pem").read_bytes()),
        [
            "ca.pem holds no certificate of an authority",
            "the revocation list clients.crl is signed by none of the authorities in `client_ca`",
        ],
    ),
    (lambda ca: ca.write("clients.crl", b"hello"), ["clients.crl holds no revocation list"]),
    (
        lambda ca: ca.write("clients.crl", b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n"),
        ["clients.crl holds no readable revocation list"],
    ),
    (
        lambda ca: ca.revoke(begins=MOMENT - 2 * DAY, ends=MOMENT - DAY),
        ["the revocation list clients.crl expired on 2027-01-14 08:00 UTC"],
    ),
    (
        lambda ca: ca.revoke(begins=MOMENT + DAY, ends=MOMENT + 2 * DAY),
        ["the revocation list clients.crl is not valid before 2027-01-16 08:00 UTC"],
    ),
    (
        lambda ca: Authority(ca.directory, "other").revoke("clients.crl"),
        ["the revocation list clients.crl is signed by none of the authorities in `client_ca`"],
    ),
    (lambda ca: ca.revoke("two.crl"), []),
]


@pytest.mark.parametrize(("spoil", "expected"), SPOILED)
def test_each_spoiled_file_is_named(
    authority: Authority, spoil: Callable[[Authority], object], expected: list[str]
) -> None:
    """What is wrong with a file stands at the setting that names it, and nothing else is said."""
    spoil(authority)

    assert expected == said(authority)


def test_an_impostor_with_the_same_name_does_not_sign_revocation_lists(authority: Authority) -> None:
    """The signature counts, not the name."""
    other = authority.directory / "elsewhere"
    Authority(other).revoke("clients.crl")
    authority.write("clients.crl", (other / "clients.crl").read_bytes())

    assert said(authority) == [
        "the revocation list clients.crl is signed by none of the authorities in `client_ca`"
    ]


def test_one_valid_authority_in_a_bundle_suffices(authority: Authority) -> None:
    """Old authorities may stay in a bundle while their successor is there."""
    directory = authority.directory
    bundle = (
        authority.issue("old", ends=MOMENT - DAY / 2)[0].read_bytes() + (directory / "ca.pem").read_bytes()
    )
    authority.write("ca.pem", bundle)

    assert said(authority) == []


def test_an_expired_authority_is_refused(authority: Authority) -> None:
    """A bundle of which nothing is valid verifies nobody."""
    authority.write("ca.pem", authority.issue("old", ends=MOMENT - DAY / 2)[0].read_bytes())

    assert "the authority in ca.pem expired on 2027-01-14 20:00 UTC" in said(authority)


def test_what_everybody_may_open_or_expires_soon_is_warned_of(authority: Authority) -> None:
    """The gateway runs, and says what will hurt later."""
    authority.issue("gateway", ends=MOMENT + 2 * DAY)
    (authority.directory / "gateway.key").chmod(0o644)

    assert [
        f"the certificate {authority.directory}/gateway.pem expires on 2027-01-17 08:00 UTC",
        f"every user of this machine may open {authority.directory}/gateway.key",
    ] == warnings(authority.directory, {"server.tls": SERVER})


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"assertions": {"private_key": "p384.key"}}, ["the private key p384.key is of the wrong kind"]),
        ({"assertions": {"private_key": "gateway.key"}}, []),
        ({"assertions": {"private_key": "ed.key"}, "audit.checkpoint_key": "ed.key"}, []),
        ({"assertions": {"private_key": "none.key"}}, ["there is no file none.key"]),
        ({"audit": {"checkpoint_key": "gateway.key"}}, ["the private key gateway.key is of the wrong kind"]),
        ({"admin": {"listen": "127.0.0.1:0", "token": "file:none"}}, ["there is no file none"]),
        (
            {
                "admin": {
                    "listen": "127.0.0.1:0",
                    "tls": {"certificate": "x.pem", "private_key": "gateway.key"},
                }
            },
            ["there is no file x.pem"],
        ),
        ({"identity.issuers.0.jwks": "file:none.json"}, ["there is no file none.json"]),
        ({"identity.issuers.0.jwks_ca": "none.pem"}, ["there is no file none.pem"]),
        ({"routes.0.schema": "none.json"}, ["there is no file none.json"]),
        ({"routes.0.schema": "."}, [". is no file"]),
        ({"backends.local.credential": "file:none"}, ["there is no file none"]),
        ({"state": {"url": "rediss://r/0", "tls": {"ca": "none.pem"}}}, ["there is no file none.pem"]),
        (
            {"state": {"url": "rediss://r/0", "tls": {"ca": "ca.pem", "certificate": "gateway.pem"}}},
            ["`certificate` without `private_key`"],
        ),
        (
            {
                "backends.local": {
                    "endpoints": ["https://10.0.0.1"],
                    "tls": {"ca": "ca.pem", "private_key": "gateway.key"},
                }
            },
            ["`private_key` without `certificate`"],
        ),
        (
            {"backends.local": {"endpoints": ["https://10.0.0.1"], "tls": {"ca": "none.pem"}}},
            ["there is no file none.pem"],
        ),
        ({"audit.path": "ca.pem/audit.jsonl"}, ["ca.pem is no directory"]),
        ({"audit.path": "."}, [". is no file"]),
        ({"audit.path": "new/deep/audit.jsonl"}, []),
        ({"audit.path": "x" * 300}, [f"{'x' * 300} cannot be used: file name too long"]),
        ({"routes.0.schema": "x" * 300}, [f"{'x' * 300} cannot be read: file name too long"]),
    ],
)
def test_every_file_that_a_setting_names_is_looked_at(
    authority: Authority, changes: dict[str, object], expected: list[str]
) -> None:
    """Keys, tokens, key sets, schemas and the audit log: each must be usable."""
    authority.write("ed.key", private_pem(ed25519.Ed25519PrivateKey.generate()))
    authority.write("p384.key", private_pem(ec.generate_private_key(ec.SECP384R1())))
    directory = str(authority.directory)

    assert expected == [message.replace(f"{directory} is", ". is") for message in said(authority, changes)]


def test_who_may_open_a_key_that_signs_is_looked_at(authority: Authority) -> None:
    """Whoever has it makes assertions."""
    authority.write("ed.key", private_pem(ed25519.Ed25519PrivateKey.generate()), 0o644)

    assert [f"every user of this machine may open {authority.directory}/ed.key"] == warnings(
        authority.directory, {"assertions": {"private_key": "ed.key"}}
    )


def sequence(*parts: bytes) -> bytes:
    """Put DER of at most 255 bytes together."""
    content = b"".join(parts)
    return b"\x30" + (b"\x81" if len(content) >= 0x80 else b"") + bytes([len(content)]) + content


def test_a_list_that_never_ends_is_refused(authority: Authority) -> None:
    """No tool writes one without nextUpdate, and RFC 5280 (section 5.1.2.5) wants it; others may."""
    listed = x509.load_pem_x509_crl((authority.directory / "clients.crl").read_bytes())
    signed = listed.tbs_certlist_bytes
    signed = signed[3 if signed[1] == 0x81 else 2 :]  # the content alone
    begins = signed.index(b"\x17\x0d") + 15  # behind thisUpdate, a UTCTime
    assert b"\x17\x0d" == signed[begins : begins + 2]
    algorithm = bytes.fromhex("300a06082a8648ce3d040302")  # ecdsa-with-SHA256
    endless = sequence(signed[:begins], signed[begins + 15 :])
    signature = authority.key.sign(endless, ec.ECDSA(hashes.SHA256()))
    bits = b"\x03" + bytes([len(signature) + 1, 0]) + signature
    der = sequence(endless, algorithm, bits)
    made = x509.load_der_x509_crl(der).public_bytes(serialization.Encoding.PEM)
    authority.write("clients.crl", made)

    assert ["the revocation list clients.crl never says when it ends (nextUpdate)"] == said(authority)


RANDOM = "head -c 32 /dev/urandom | base64"
PAIR = "for development, `gateway certs init` and `gateway certs issue a{} make both; or correct the path"


@pytest.mark.parametrize(
    ("changes", "mends"),
    [
        (
            {"server.tls": {"certificate": "a.pem", "private_key": "a.key", "client_ca": "b.pem"}},
            [
                *[PAIR.format(" --kind server`")] * 2,
                "for development, `gateway certs init` makes authorities in certs/; or correct the path",
            ],
        ),
        (
            {"admin": {"listen": "127.0.0.1:0", "tls": {"certificate": "a.pem", "private_key": "a.key"}}},
            [PAIR.format(" --kind server`")] * 2,
        ),
        (
            {
                "backends.local": {
                    "endpoints": ["https://10.0.0.1"],
                    "tls": {"ca": "ca.pem", "certificate": "a.pem", "private_key": "gateway.key"},
                }
            },
            [PAIR.format(" --authority backends`")],
        ),
        (
            {
                "state": {
                    "url": "rediss://r/0",
                    "tls": {"ca": "ca.pem", "certificate": "a.pem", "private_key": "gateway.key"},
                }
            },
            [PAIR.format("`")],
        ),
        (
            {"server.tls": {**SERVER, "revocation_list": "none.crl"}},
            ["for development, `gateway certs init` makes certs/clients.crl; or correct the path"],
        ),
        (
            {"audit": {"checkpoint_key": "audit key"}},
            ["`(umask 077; openssl genpkey -algorithm ed25519 -out '{}/audit key')`; or correct the path"],
        ),
        (
            {"identity.issuers.0.jwks": "file:none.json"},
            ["for development, `gateway token keys` makes tokens/jwks.json; or correct the path"],
        ),
        ({"routes.0.schema": "none.json"}, ["make it; or correct the path"]),
        (
            {"admin": {"listen": "127.0.0.1:0", "token": "file:new/none"}},
            [f"`(umask 077; mkdir -p {{0}}/new; {RANDOM} > {{0}}/new/none)`; or correct the path"],
        ),
        (
            {"state": {"url": "redis://127.0.0.1/0", "password": "file:none"}},
            ["write the secret into it: `(umask 077; cat > {}/none)`; or correct the path"],
        ),
        (
            {"backends.local.credential": "file:none"},
            ["write the secret into it: `(umask 077; cat > {}/none)`; or correct the path"],
        ),
    ],
)
def test_how_a_missing_file_comes_to_be(
    authority: Authority, changes: dict[str, object], mends: list[str]
) -> None:
    """What makes it can be copied; a secret that another party knows is not invented."""
    found = problems(authority.directory, changes)

    assert [mend.format(authority.directory) for mend in mends] == [problem.mend for problem in found]


def test_what_cannot_be_written_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The operating system is asked; the administrator may write everywhere, hence the stand-in."""
    monkeypatch.setattr(os, "access", lambda path, mode: False)

    found = [finding.message for finding in Files(NOW).writable(("audit", "path"), tmp_path / "a.jsonl")]

    assert [f"{tmp_path} cannot be written"] == found

"""`certificates`: what a verified client certificate proves, and which ones prove nothing."""

from __future__ import annotations

import gzip
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID as Purpose
from cryptography.x509.oid import NameOID

from gateway.core.identity import PeerCertificate
from gateway.credentials.certificates import (
    AUTHORITY,
    BOTH_PURPOSES,
    PURPOSE,
    UNREADABLE,
    URIS,
    USAGE,
    WEAK,
    read_certificate,
)
from gateway.credentials.development import DevelopmentPki, fingerprint

from .parts import NOW

if TYPE_CHECKING:
    from gateway.core.refusal import Refusal

VECTORS = Path(__file__).parents[2] / "vectors"
KEY = ec.generate_private_key(ec.SECP256R1())
P256 = bytes.fromhex("06082a8648ce3d030107")  # object identifiers of two curves
UNKNOWN_CURVE = bytes.fromhex("06082a8648ce3d030106")
ID = "spiffe://example.org/a"


def usage(*, critical: bool = True, **bits: bool) -> tuple[x509.KeyUsage, bool]:
    """A key usage; digital signature alone unless told otherwise."""
    names = (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    )
    return x509.KeyUsage(**{name: bits.get(name, name == "digital_signature") for name in names}), critical


def make(
    *uris: str,
    dns: tuple[str, ...] = (),
    key: object = KEY,
    key_usage: tuple[x509.KeyUsage, bool] | None = None,
    purposes: list[x509.ObjectIdentifier] | None = None,
    is_authority: bool | None = False,
) -> bytes:
    """A self-signed leaf: the chain is the handshake's business."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "leaf, with comma")])
    start = datetime.fromtimestamp(NOW, UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(0x2A)
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=1))
    )
    if is_authority is not None:
        builder = builder.add_extension(
            x509.BasicConstraints(ca=is_authority, path_length=None), critical=True
        )
    names = [x509.UniformResourceIdentifier(uri) for uri in uris] + [x509.DNSName(one) for one in dns]
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    if key_usage:
        builder = builder.add_extension(*key_usage)
    if purposes is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
    digest = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(key, digest).public_bytes(serialization.Encoding.DER)


def test_an_ordinary_authority_may_issue_for_clients_alone() -> None:
    """Only where trust domains are configured must a SPIFFE ID come with both purposes."""
    der = make(ID, key_usage=usage(), purposes=[Purpose.CLIENT_AUTH])
    found = read_certificate(der, is_svid=False)

    assert isinstance(found, PeerCertificate)
    assert ID == found.spiffe_id


def test_everything_comes_back() -> None:
    """Names, dates, serial and fingerprint as they stand in the certificate."""
    der = make(ID, dns=("a.example",), key_usage=usage(), purposes=[Purpose.CLIENT_AUTH, Purpose.SERVER_AUTH])
    found = read_certificate(der)
    pem = x509.load_der_x509_certificate(der).public_bytes(serialization.Encoding.PEM)

    assert (
        PeerCertificate(
            fingerprint(pem),
            "CN=leaf\\, with comma",
            "CN=leaf\\, with comma",
            "2a",
            (ID,),
            ("a.example",),
            ID,
            NOW,
            NOW + 86400,
        )
        == found
    )


@pytest.mark.parametrize(
    ("der", "expected"),
    [
        (make(), None),
        (make(is_authority=None), None),
        (make(dns=("a.example",), purposes=[Purpose.CLIENT_AUTH]), None),
        (make("https://a.example/x", "https://a.example/y"), None),
        (make(key=ed25519.Ed25519PrivateKey.generate()), None),
        (make(key=rsa.generate_private_key(65537, 2048)), None),
        (make(key=rsa.generate_private_key(65537, 1024)), WEAK),  # noqa: S505
        (make(key=ec.generate_private_key(ec.SECP192R1())), WEAK),
        (make(key=dsa.generate_private_key(2048)), WEAK),
        (make().replace(P256, UNKNOWN_CURVE), WEAK),
        (make(is_authority=True), AUTHORITY),
        (make(purposes=[Purpose.SERVER_AUTH]), PURPOSE),
        (make(purposes=[Purpose.ANY_EXTENDED_KEY_USAGE]), PURPOSE),
        (make(ID, key_usage=usage()), None),
        (make(ID, key_usage=usage(), purposes=[Purpose.CLIENT_AUTH, Purpose.SERVER_AUTH]), None),
        (make(ID, key_usage=usage(), purposes=[Purpose.CLIENT_AUTH]), BOTH_PURPOSES),
        (make(ID, "spiffe://example.org/b", key_usage=usage()), URIS),
        (make(ID, "https://example.org/", key_usage=usage()), URIS),
        (make("https://example.org/", "SPIFFE://example.org/a", key_usage=usage()), URIS),
        (make("spiffe://example.org", key_usage=usage()), URIS),
        (make("spiffe://example.org/", key_usage=usage()), URIS),
        (make("spiffe://Example.org/a", key_usage=usage()), URIS),
        (make("spiffe://example.org/a/", key_usage=usage()), URIS),
        (make("spiffe://example.org/../a", key_usage=usage()), URIS),
        (make("spiffe://example.org/%61", key_usage=usage()), URIS),
        (make("spiffe://example.org/a?b", key_usage=usage()), URIS),
        (make("spiffe://u@example.org:1/a", key_usage=usage()), URIS),
        (make(ID, key_usage=usage(), key=rsa.generate_private_key(65537, 1024)), WEAK),  # noqa: S505
        (make(ID, key_usage=usage(), is_authority=True), AUTHORITY),
        (make(dns=tuple(f"{'a' * 60}.n{number}" for number in range(1000))), UNREADABLE),
        (make(ID), USAGE),
        (make(ID, key_usage=usage(critical=False)), USAGE),
        (make(ID, key_usage=usage(digital_signature=False, key_agreement=True)), USAGE),
        (make(ID, key_usage=usage(key_cert_sign=True)), USAGE),
        (make(ID, key_usage=usage(crl_sign=True)), USAGE),
        (b"", UNREADABLE),
        (b"\x30\x03\x02\x01\x01", UNREADABLE),
        (make() + b"\x00" * 65536, UNREADABLE),
    ],
)
def test_certificates_decide(der: bytes, expected: Refusal | None) -> None:
    """Strong keys, meant for clients, one well-formed workload identity or none."""
    found = read_certificate(der)

    assert (expected is None) == isinstance(found, PeerCertificate)
    assert expected in (None, found)


@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
def test_serials_are_positive() -> None:
    """A certificate without a serial number of its own cannot be revoked."""
    assert UNREADABLE is read_certificate(make().replace(b"\x02\x01\x2a", b"\x02\x01\x00", 1))


def test_development_certificates_are_good(tmp_path: Path) -> None:
    """What our own development authority issues to clients is accepted, what it issues to servers is not."""
    pki = DevelopmentPki(tmp_path)
    pki.init()

    def read(path: Path) -> PeerCertificate | Refusal:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
        return read_certificate(certificate.public_bytes(serialization.Encoding.DER))

    client = read(pki.issue("a", spiffe=ID).certificate)
    assert isinstance(client, PeerCertificate)
    assert ID == client.spiffe_id
    assert PURPOSE is read(pki.issue("b", "server").certificate)
    assert AUTHORITY is read(pki.ca("clients"))


SVIDS = {
    "good-leaf-only.pem": None,
    "good-leaf-and-intermediate.pem": None,
    "wrong-leaf-ca-true.pem": AUTHORITY,
    "wrong-leaf-cert-sign.pem": USAGE,
    "wrong-leaf-crl-sign.pem": USAGE,
    "wrong-leaf-no-digital-signature.pem": USAGE,
    "wrong-leaf-empty-id.pem": None,  # no SPIFFE ID at all: an ordinary certificate, named by its subject
}


def test_reference_svids() -> None:
    """py-spiffe's good and bad SVIDs."""
    for name, expected in SVIDS.items():
        path = VECTORS / "spiffe/svid" / name
        leaf = x509.load_pem_x509_certificates(path.read_bytes())[0]
        found = read_certificate(leaf.public_bytes(serialization.Encoding.DER))

        assert expected in (None, found), name
        assert (expected is None) == isinstance(found, PeerCertificate), name


# Leaf faults of x509-limbo that the handshake leaves to us.
LIMBO = {
    "webpki::forbidden-weak-rsa-in-leaf": WEAK,
    "webpki::forbidden-p192-leaf": WEAK,
    "webpki::forbidden-dsa-leaf": WEAK,
    "rfc5280::eku::ee-wrong-eku": PURPOSE,
    "rfc5280::ca-as-leaf": AUTHORITY,
    "webpki::ee-basicconstraints-ca": AUTHORITY,
    "rfc5280::duplicate-extensions": UNREADABLE,
    "rfc5280::serial::zero": UNREADABLE,
}


@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
def test_limbo_leaves() -> None:
    """No leaf of x509-limbo makes the reader fail, and those of `LIMBO` are refused as said there."""
    packed = (VECTORS / "limbo/limbo-client.json.gz").read_bytes()
    cases = msgspec.json.decode(gzip.decompress(packed))["testcases"]
    found = {}
    for case in cases:
        try:
            leaf = x509.load_pem_x509_certificate(case["peer_certificate"].encode())
        except ValueError:
            continue
        found[case["id"]] = read_certificate(leaf.public_bytes(serialization.Encoding.DER))

    assert {name: found.get(name) for name in LIMBO if name in found} == {
        name: expected for name, expected in LIMBO.items() if name in found
    }

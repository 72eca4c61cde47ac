"""`bundles`: what a trust domain says of itself, and what is no bundle."""

from __future__ import annotations

import ssl
from base64 import b64encode, urlsafe_b64encode
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from gateway.credentials.bundles import MAX_BUNDLE_BYTES, MAX_ENTRIES, BundleError, parse_bundle, write_bundle
from gateway.credentials.signing import Signer, generate_key
from tests.pki import Ca, other_version, unread_names

from .parts import NOW

REFERENCE = Path(__file__).parents[2] / "vectors/spiffe/bundle"
ONE, TWO = Ca("one", NOW), Ca("two", NOW, key=rsa.generate_private_key(65537, 2048))
WEAK = Ca("weak", NOW, key=rsa.generate_private_key(65537, 1024))  # noqa: S505 - on purpose
SIGNER = Signer(generate_key("ES256"))
UNREAD = Ca("u", NOW, more={x509.SubjectAlternativeName: (unread_names(x509.SubjectAlternativeName), False)})
OTHER = other_version(ONE.der)
KEY = {name: value for name, value in SIGNER.jwk.items() if name != "use"}


def x5c(*ders: bytes) -> list[str]:
    """Certificates as a JWK carries them."""
    return [b64encode(der).decode() for der in ders]


def document(*entries: Any, **members: Any) -> bytes:
    """A JWK set."""
    return msgspec.json.encode({"keys": list(entries)} | members)


def test_what_is_written_is_read() -> None:
    """Authorities, keys, sequence and hint, as they were."""
    bundle = parse_bundle(
        write_bundle([ONE.certificate, TWO.certificate], [SIGNER.jwk], sequence=7, refresh_hint=60)
    )

    assert (ONE.certificate, TWO.certificate) == bundle.authorities
    assert bundle.keys.find(SIGNER.kid, "ES256") is not None
    assert (7, 60) == (bundle.sequence, bundle.refresh_hint)
    with pytest.raises(BundleError, match="not RSA"):
        write_bundle([Ca("ed", NOW, key=ed25519.Ed25519PrivateKey.generate()).certificate])


def test_entries_that_do_not_count() -> None:
    """Other uses, none, and authorities without a certificate are ignored; only the first certificate counts."""
    bundle = parse_bundle(
        document(
            {"use": "x509-svid", "kty": "EC"},
            {"use": "x509-svid", "x5c": x5c(ONE.der, TWO.der)},
            {"use": "x509-svid", "x5c": [*x5c(ONE.der), 7]},
            {"use": "wit-svid", **KEY},
            {"use": "wit-svid", "x5c": x5c(TWO.der)},
            {"x5c": x5c(TWO.der)},
            KEY,
            {"use": 7},
            {"use": "jwt-svid", "kty": "EC", "crv": "secp256k1", "kid": "odd"},
            {"use": "jwt-svid", **KEY, "alg": ["ES256"]},
        )
    )

    assert (ONE.certificate, ONE.certificate) == bundle.authorities
    assert frozenset() == bundle.keys.kids
    assert (None, None) == (bundle.sequence, bundle.refresh_hint)


def test_an_empty_bundle_is_a_bundle() -> None:
    """It withdraws everything; one without a list of keys is broken (Trust Domain and Bundle, section 4.1.3)."""
    assert () == parse_bundle(document()).authorities
    with pytest.raises(BundleError, match="no list of keys"):
        parse_bundle(b'{"spiffe_sequence": 1}')


def test_a_pem_file_is_a_bundle_of_authorities() -> None:
    """Without keys for tokens."""
    bundle = parse_bundle(b"\n" + ONE.pem + TWO.pem)

    assert (ONE.certificate, TWO.certificate) == bundle.authorities
    assert bundle.keys.find(SIGNER.kid, "ES256") is None


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b" " * (MAX_BUNDLE_BYTES + 1), "larger than"),
        (b"hello", "neither PEM nor a JSON object"),
        (b'{"keys": [], "keys": []}', "neither PEM nor a JSON object"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "no certificates in PEM form"),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "no certificates in PEM form"),
        (ONE.issue().pem, "not that of an authority"),
        (b'{"keys": {}}', "no list of keys"),
        (b'{"keys": [7]}', "no list of keys"),
        (document(*[{} for _ in range(MAX_ENTRIES + 1)]), "more than"),
        (document({"use": "jwt-svid", **KEY, "d": "x"}), "publishes a secret"),
        (document({"use": "other", "kty": "oct"}), "publishes a secret"),
        (document({"use": "x509-svid", "x5c": x5c(ONE.der), "d": "x"}), "publishes a secret"),
        (document({"use": "jwt-svid", **{k: v for k, v in KEY.items() if k != "kid"}}), "has no `kid`"),
        (document({"use": "jwt-svid", **KEY, "kid": ""}), "has no `kid`"),
        (document({"use": "jwt-svid", **KEY, "x": "AA"}), "wrong length"),
        (document({"use": "jwt-svid", **KEY}, {"use": "jwt-svid", **KEY}), "the same key id"),
        (document({"use": "x509-svid", "x5c": "x"}), "no list of certificates"),
        (document({"use": "x509-svid", "x5c": []}), "no list of certificates"),
        (document({"use": "x509-svid", "x5c": [7]}), "no list of certificates"),
        (document({"use": "x509-svid", "x5c": ["AA-_"]}), "not base64"),
        (document({"use": "x509-svid", "x5c": ["AAA"]}), "no certificate"),
        (document({"use": "x509-svid", "x5c": ["AAAA"]}), "no certificate"),
        (document({"use": "x509-svid", "x5c": [urlsafe_b64encode(ONE.der).decode() + "-"]}), "not base64"),
        (document({"use": "x509-svid", "x5c": x5c(ONE.issue().der)}), "not that of an authority"),
        (
            document({"use": "x509-svid", "x5c": x5c(Ca("x", NOW, more={x509.BasicConstraints: None}).der)}),
            "not that of",
        ),
        (
            document(
                {"use": "x509-svid", "x5c": x5c(Ca("e", NOW, key=ed25519.Ed25519PrivateKey.generate()).der)}
            ),
            "is not RSA",
        ),
        (document({"use": "x509-svid", "x5c": x5c(OTHER)}), "no certificate"),
        (ssl.DER_cert_to_PEM_cert(OTHER).encode(), "no certificates in PEM form"),
        (document({"use": "x509-svid", "x5c": x5c(UNREAD.der)}), "not that of an authority"),
        (UNREAD.pem, "not that of an authority"),
        (document({"use": "x509-svid", "x5c": x5c(WEAK.der)}), "2048 bits or more"),
        (document(spiffe_sequence=-1), "spiffe_sequence"),
        (document(spiffe_sequence=True), "spiffe_sequence"),
        (document(spiffe_refresh_hint="60"), "spiffe_refresh_hint"),
        (document(spiffe_sequence=2**63), "spiffe_sequence"),
    ],
)
def test_what_is_no_bundle(data: bytes, message: str) -> None:
    """Each fault has its sentence, and nothing of the bundle is in it."""
    with pytest.raises(BundleError, match=message):
        parse_bundle(data)


REFERENCES = {
    "spiffebundle-spiffebundle_valid_1.json": 1,
    "spiffebundle-spiffebundle_valid_2.json": 1,
    "spiffebundle-spiffebundle_valid_with_wit.json": 1,
    "spiffebundle-spiffebundle_multiple_x509.json": 1,  # two values of one x5c: the first counts
    "spiffebundle-spiffebundle_missing_kid.json": None,
    "spiffebundle-spiffebundle_no_keys.json": None,
    "x509bundle-cert.pem": None,  # no `basicConstraints`: not authorities
    "x509bundle-certs.pem": None,
    "x509bundle-corrupted.pem": None,
    "x509bundle-empty.pem": None,
    "x509bundle-not-pem.pem": None,
}


def test_reference_bundles() -> None:
    """go-spiffe's and py-spiffe's good and bad ones: how many authorities each has, if it is one."""
    for name, expected in REFERENCES.items():
        path = REFERENCE / name
        if expected is None:
            with pytest.raises(BundleError):
                parse_bundle(path.read_bytes())
        else:
            assert expected == len(parse_bundle(path.read_bytes()).authorities), name

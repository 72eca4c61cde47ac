"""`paths` and `authorities`: which paths count, beyond what the library checks."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID as Purpose

from gateway.core.refusal import Reason, Refusal
from gateway.credentials.authorities import Authorities, is_self_signed
from gateway.credentials.paths import MAX_NAMES, fault, is_soundly_signed, is_strong
from tests.pki import DAY, Ca, new_key, usage

from .parts import NOW

if TYPE_CHECKING:
    from pathlib import Path

ID = "spiffe://example.org/a"
ROOT = Ca("root", NOW)
RSA = rsa.generate_private_key(65537, 2048)


def note(leaf: Any, *sent: Ca, anchors: tuple[Ca, ...] = (ROOT,), domain: str | None = None) -> str | None:
    """Why a path is refused, or None."""
    authorities = Authorities(one.certificate for one in anchors)
    found = authorities.find_path(leaf.certificate, [one.certificate for one in sent], NOW, domain=domain)
    if isinstance(found, Refusal):
        assert Reason.CERTIFICATE_UNTRUSTED is found.reason
        return found.note
    assert leaf.certificate == found[0]
    return None


def between(issuer: Ca = ROOT, **options: Any) -> Ca:
    """An intermediate authority."""
    return Ca("between", NOW, issuer=issuer, **options)


def test_good_paths() -> None:
    """Direct, over intermediates in any order, RSA, another curve, no alternative name at all."""
    one = between()
    two = Ca("two", NOW, issuer=one, key=ec.generate_private_key(ec.SECP384R1()))
    rsa_root = Ca("rsa", NOW, key=RSA)

    assert note(ROOT.issue(ID)) is None
    assert note(ROOT.issue()) is None
    assert note(two.issue(ID), one, two) is None
    assert note(two.issue(ID), two, one) is None
    assert note(ROOT.issue(ID, key=ed25519.Ed25519PrivateKey.generate())) is None
    assert note(rsa_root.issue(ID, key=RSA), anchors=(ROOT, rsa_root)) is None


def test_an_intermediate_is_no_anchor() -> None:
    """It may be left out by clients if it is configured, and counts as long as its root does."""
    one = between()

    assert note(one.issue(ID)) == "no valid path to an authority"
    assert note(one.issue(ID), anchors=(ROOT, one)) is None
    assert note(one.issue(ID), anchors=(one,)) == "there is no authority for it"
    assert not Authorities([]).has_anchor
    assert not Authorities([one.certificate]).has_anchor


def test_two_authorities_of_one_name() -> None:
    """The key counts, not the name."""
    other = Ca("root", NOW)

    assert note(ROOT.issue(ID), anchors=(other, ROOT)) is None
    assert note(ROOT.issue(ID), anchors=(other,)) == "no valid path to an authority"


def test_who_is_self_signed() -> None:
    """The same name twice is no signature."""
    other = Ca("root", NOW)
    named = Ca("root", NOW, issuer=other)

    assert is_self_signed(ROOT.certificate)
    assert not is_self_signed(named.certificate)
    assert not is_self_signed(between().certificate)


def bits(**changes: Any) -> dict[Any, Any]:
    """Extensions that replace the usual ones."""
    names = {
        "basic": x509.BasicConstraints,
        "usage": x509.KeyUsage,
        "purposes": x509.ExtendedKeyUsage,
        "key": x509.SubjectKeyIdentifier,
        "issuer": x509.AuthorityKeyIdentifier,
        "names": x509.SubjectAlternativeName,
        "constraints": x509.NameConstraints,
        "policy": x509.PolicyConstraints,
    }
    return {names[name]: value for name, value in changes.items()}


def uris(*values: str) -> tuple[x509.ExtensionType, bool]:
    """Alternative names."""
    return x509.SubjectAlternativeName([x509.UniformResourceIdentifier(one) for one in values]), False


def permits(*domains: str, critical: bool = True) -> tuple[x509.ExtensionType, bool]:
    """Name constraints."""
    return x509.NameConstraints([x509.DNSName(one) for one in domains], None), critical


LIBRARY = "no valid path to an authority"


@pytest.mark.parametrize(
    ("leaf", "sent", "expected"),
    [
        (lambda: ROOT.issue(ID, days=-1), (), LIBRARY),
        (lambda: ROOT.issue(ID, begins=NOW + 60), (), LIBRARY),
        (lambda: ROOT.issue(ID, more=bits(issuer=None)), (), LIBRARY),
        (
            lambda: ROOT.issue(ID, more=bits(issuer=(Ca("x", NOW).identifier, False))),
            (),
            "does not name the key",
        ),
        (lambda: ROOT.issue(ID, name=None), (), None),
        (lambda: ROOT.issue(ID, more=bits(names=(uris(ID)[0], True))), (), "must be critical exactly"),
        (lambda: ROOT.issue(name=None, more=bits(names=uris(ID))), (), "must be critical exactly"),
        (lambda: ROOT.issue(ID, key=ec.generate_private_key(ec.SECP192R1())), (), "a key is too weak"),
        (lambda: ROOT.issue(ID, serial=1 << 158), (), None),
        (
            lambda: ROOT.issue(ID, more=bits(names=uris(*[f"{ID}{n}" for n in range(MAX_NAMES + 1)]))),
            (),
            "too many names",
        ),
        (
            lambda: ROOT.issue(
                ID,
                more=bits(
                    purposes=(
                        x509.ExtendedKeyUsage([Purpose.CLIENT_AUTH, Purpose.ANY_EXTENDED_KEY_USAGE]),
                        False,
                    )
                ),
            ),
            (),
            "for any purpose",
        ),
        (lambda: ROOT.issue(ID, more=bits(purposes=None)), (), None),
        (
            lambda: ROOT.issue(ID, more=bits(purposes=(x509.ExtendedKeyUsage([Purpose.SERVER_AUTH]), False))),
            (),
            LIBRARY,
        ),
        (lambda: ROOT.issue(ID, more=bits(usage=(usage("key_cert_sign"), True))), (), LIBRARY),
        (
            lambda: ROOT.issue(ID, more=bits(basic=(x509.BasicConstraints(ca=True, path_length=None), True))),
            (),
            LIBRARY,
        ),
    ],
)
def test_leaves(leaf: Any, sent: tuple[Ca, ...], expected: str | None) -> None:
    """What a client's own certificate must not be."""
    found = note(leaf(), *sent)

    assert (expected or "") in (found or "")
    assert (expected is None) == (found is None)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, None),
        ({"path_length": 0}, None),
        ({"more": bits(basic=None)}, LIBRARY),
        ({"more": bits(basic=(x509.BasicConstraints(ca=False, path_length=None), True))}, LIBRARY),
        ({"more": bits(usage=(usage("crl_sign"), True))}, LIBRARY),
        ({"more": bits(usage=None)}, LIBRARY),
        ({"more": bits(key=None)}, "does not name the key of its issuer"),
        ({"more": bits(issuer=None)}, "does not name the key of its issuer"),
        ({"more": bits(constraints=permits("a.example"))}, None),
        ({"more": bits(constraints=permits("b.example"))}, LIBRARY),
        ({"more": bits(constraints=permits("a.example", critical=False))}, "not marked critical"),
        (
            {"more": bits(constraints=permits("a.example", *[f"{n}.example" for n in range(MAX_NAMES)]))},
            "too many constraints",
        ),
        ({"more": bits(policy=(x509.PolicyConstraints(None, 0), False))}, "not marked critical"),
        ({"more": bits(purposes=(x509.ExtendedKeyUsage([Purpose.SERVER_AUTH]), False))}, LIBRARY),
        ({"more": bits(names=uris("spiffe://example.org"))}, None),
        ({"more": bits(names=uris("https://example.org"))}, None),
        ({"more": bits(names=uris("spiffe://other.org"))}, "of another trust domain"),
        ({"more": bits(names=uris("spiffe://example.org/ca"))}, "not that of a trust domain"),
        ({"more": bits(names=uris("spiffe://example.org", "https://a"))}, "not that of a trust domain"),
        ({"more": bits(names=uris("SPIFFE://example.org"))}, "not that of a trust domain"),
    ],
)
def test_intermediates(options: dict[str, Any], expected: str | None) -> None:
    """What an intermediate authority must be, and how far it may speak."""
    one = between(**options)
    found = note(one.issue(ID, dns=["a.example"]), one, domain="example.org")

    assert (expected or "") in (found or "")
    assert (expected is None) == (found is None)


def test_uri_constraints_refuse() -> None:
    """The library knows no constraints on URIs: who is constrained by one is not believed at all."""
    for critical in (True, False):
        constraint = x509.NameConstraints([x509.UniformResourceIdentifier("example.org")], None), critical
        one = between(more=bits(constraints=constraint))

        assert note(one.issue(ID), one) == LIBRARY


def test_path_length_and_depth() -> None:
    """An authority that may have none below has none, and five intermediates are too many."""
    short = between(path_length=0)
    deep = Ca("deep", NOW, issuer=short)
    chain = [ROOT]
    for number in range(5):
        chain.append(Ca(f"ca {number}", NOW, issuer=chain[-1]))

    assert note(deep.issue(ID), short, deep) == LIBRARY
    assert note(chain[4].issue(ID), *chain[1:]) is None
    assert note(chain[5].issue(ID), *chain[1:]) == LIBRARY


def test_an_issuer_is_named_in_full_or_by_its_key() -> None:
    """Whoever adds the issuer's name and number must name the right ones, roots included."""
    identifier = ROOT.identifier.key_identifier

    def named(ca: Ca, serial: int) -> x509.AuthorityKeyIdentifier:
        return x509.AuthorityKeyIdentifier(identifier, [x509.DirectoryName(ca.certificate.issuer)], serial)

    right = named(ROOT, ROOT.certificate.serial_number)
    other = Ca("other", NOW)
    own = Ca("own", NOW, more=bits(issuer=(other.identifier, False)))

    assert note(ROOT.issue(ID, more=bits(issuer=(right, False)))) is None
    for wrong in (named(ROOT, 1), named(other, ROOT.certificate.serial_number)):
        assert (
            note(ROOT.issue(ID, more=bits(issuer=(wrong, False))))
            == "a certificate does not name the key of its issuer"
        )
    assert note(own.issue(ID), anchors=(own,)) == "a root names another key than its own"
    nameless = x509.AuthorityKeyIdentifier(
        None, [x509.DirectoryName(ROOT.name)], ROOT.certificate.serial_number
    )
    assert fault([ROOT.issue(ID, more=bits(issuer=(nameless, False))).certificate, ROOT.certificate], None)
    assert fault([ROOT.issue(ID, more=bits(issuer=None)).certificate, ROOT.certificate], None)
    keyless = Ca("root", NOW, more={x509.SubjectKeyIdentifier: None})
    nothing = x509.AuthorityKeyIdentifier(None, None, None)
    assert fault(
        [keyless.issue(ID, more=bits(issuer=(nothing, False))).certificate, keyless.certificate], None
    )


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (new_key(), True),
        (ed25519.Ed25519PrivateKey.generate(), True),
        (RSA, True),
        (rsa.generate_private_key(65537, 2052), False),
        (rsa.generate_private_key(65537, 1024), False),  # noqa: S505
        (ec.generate_private_key(ec.SECP256K1()), False),
        (dsa.generate_private_key(2048), False),
    ],
)
def test_keys(key: Any, expected: bool) -> None:
    """RSA from 2048 bits in whole bytes, three curves, Ed25519."""
    assert is_strong(key.public_key()) is expected


def openssl(directory: Path, *arguments: str) -> None:
    """Run OpenSSL."""
    subprocess.run(["openssl", *arguments], cwd=directory, check=True, capture_output=True)


def test_signatures_over_broken_hashes(tmp_path: Path) -> None:
    """OpenSSL still makes what the library no longer does: SHA-1 certificates and MD5 ones."""
    openssl(
        tmp_path,
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-keyout",
        "ca.key",
        "-out",
        "ca.pem",
        "-subj",
        "/CN=ca",
        "-addext",
        "basicConstraints=critical,CA:TRUE",
        "-addext",
        "keyUsage=critical,keyCertSign",
        "-days",
        "9000",
    )
    openssl(
        tmp_path,
        "req",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-keyout",
        "leaf.key",
        "-out",
        "leaf.csr",
        "-subj",
        "/CN=leaf",
    )
    (tmp_path / "leaf.ext").write_text(
        "authorityKeyIdentifier=keyid\nsubjectAltName=URI:spiffe://example.org/a\n"
    )
    root = x509.load_pem_x509_certificate((tmp_path / "ca.pem").read_bytes())
    now = root.not_valid_before_utc.timestamp() + 60
    found = {}
    for name in ("sha1", "md5", "sha256"):
        openssl(
            tmp_path,
            "x509",
            "-req",
            "-in",
            "leaf.csr",
            "-CA",
            "ca.pem",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
            f"-{name}",
            "-extfile",
            "leaf.ext",
            "-out",
            f"{name}.pem",
        )
        leaf = x509.load_pem_x509_certificate((tmp_path / f"{name}.pem").read_bytes())
        found[name] = is_soundly_signed(leaf), isinstance(Authorities([root]).find_path(leaf, [], now), tuple)

    assert found == {"sha1": (False, False), "md5": (False, False), "sha256": (True, True)}
    openssl(
        tmp_path,
        *[
            "x509",
            "-req",
            "-in",
            "leaf.csr",
            "-CA",
            "ca.pem",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
            "-out",
            "v1.pem",
        ],
    )
    old = x509.load_pem_x509_certificate((tmp_path / "v1.pem").read_bytes())
    assert fault([old], None) == "a certificate is not of version 3"
    edwards = Ca("edwards", NOW, key=ed25519.Ed25519PrivateKey.generate())
    assert is_soundly_signed(edwards.issue().certificate)


@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
def test_what_only_our_own_rules_see() -> None:
    """Each is tried on a path that the library never saw: versions, numbers, hashes, garbled extensions."""
    leaf = ROOT.issue(ID, serial=0x2A)
    zero = leaf.der.replace(b"\x02\x01\x2a", b"\x02\x01\x00", 1)
    negative = leaf.der.replace(b"\x02\x01\x2a", b"\x02\x01\x80", 1)
    unknown_hash = leaf.der.replace(bytes.fromhex("2a8648ce3d040302"), bytes.fromhex("2a8648ce3d040309"))

    def said(der: bytes) -> str | None:
        return fault([x509.load_der_x509_certificate(der), ROOT.certificate], None)

    assert said(leaf.der) is None
    assert "serial number" in (said(zero) or "")
    assert "serial number" in (said(negative) or "")
    assert "hash" in (said(unknown_hash) or "")
    assert fault([ROOT.issue(ID, serial=1 << 158).certificate, ROOT.certificate], None) is None


def test_extensions_that_cannot_be_read() -> None:
    """Whoever finds it first, nobody is believed for it; a certificate of version 1 has none at all."""
    garbled = x509.UnrecognizedExtension(x509.NameConstraints.oid, b"\x04\x01\x00")
    one = between(more={x509.NameConstraints: (garbled, True)})
    odd = between(
        more={
            x509.PolicyConstraints: (
                x509.UnrecognizedExtension(x509.PolicyConstraints.oid, b"\x05\x00"),
                False,
            )
        }
    )

    assert note(one.issue(ID), one) is not None
    assert note(odd.issue(ID), odd) == "a certificate of the path cannot be read"


def test_dates_are_those_of_the_whole_path() -> None:
    """A leaf that outlives its intermediate is refused as soon as that has ended."""
    one = Ca("soon", NOW - 10 * DAY, issuer=ROOT, days=9.0)
    leaf = one.issue(ID, days=30.0)

    assert note(leaf, one) == LIBRARY

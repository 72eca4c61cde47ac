"""Decides what a certification path may look like beyond what a library checks of it.

The library has built the path and verified signatures, dates, path length, key usage, purposes and
name constraints; `fault` looks at what it lets pass and RFC 5280 or X.509-SVID forbids. Knows no
authority and no revocation.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, SignatureAlgorithmOID

from gateway.core.spiffe import is_spiffe_id, trust_domain

if TYPE_CHECKING:
    from collections.abc import Sequence

MIN_RSA_BITS: Final = 2048
CURVES: Final = frozenset({"secp256r1", "secp384r1", "secp521r1"})
MAX_SERIAL_BITS: Final = 159  # RFC 5280, section 4.1.2.2: 20 octets, and the first bit is the sign
MAX_NAMES: Final = 128  # in one certificate: names times constraints is what a path can make us work
# Hashes of signatures. The library refuses weaker ones too; which ones it takes is not left to it.
HASHES: Final = frozenset({"sha256", "sha384", "sha512"})
# RFC 5280, sections 4.2.1.10, .11 and .14: who does not know one of these must not go on without it.
CRITICAL: Final = (x509.NameConstraints, x509.PolicyConstraints, x509.InhibitAnyPolicy)


def is_strong(key: object) -> bool:
    """Tell whether a public key is of a kind and size that certificates may have here."""
    if isinstance(key, rsa.RSAPublicKey):
        return key.key_size >= MIN_RSA_BITS and key.key_size % 8 == 0
    if isinstance(key, ec.EllipticCurvePublicKey):
        return key.curve.name in CURVES
    return isinstance(key, ed25519.Ed25519PublicKey)


def is_soundly_signed(signed: x509.Certificate | x509.CertificateRevocationList) -> bool:
    """Tell whether a signature is made over a hash that nobody can collide."""
    if signed.signature_algorithm_oid == SignatureAlgorithmOID.ED25519:
        return True
    try:
        algorithm = signed.signature_hash_algorithm
    except UnsupportedAlgorithm:
        algorithm = None
    return algorithm is not None and algorithm.name in HASHES


def names_of(extensions: x509.Extensions) -> x509.SubjectAlternativeName | None:
    """Return the alternative names, or None."""
    try:
        return extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return None


def _key_identifier(extensions: x509.Extensions) -> bytes | None:
    try:
        return extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    except x509.ExtensionNotFound:
        return None


def _is_from(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Tell whether what a certificate says of its issuer's key, it must say something, fits the issuer."""
    try:
        said = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    except x509.ExtensionNotFound:
        return False
    if said.key_identifier is None or said.key_identifier != _key_identifier(issuer.extensions):
        return False
    names, serial = said.authority_cert_issuer, said.authority_cert_serial_number
    is_named = names is None or list(names) == [x509.DirectoryName(issuer.issuer)]
    return is_named and (serial is None or serial == issuer.serial_number)


def _names_issuer_key(certificate: x509.Certificate) -> bool:
    try:
        certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier)
    except x509.ExtensionNotFound:
        return False
    return True


def _common_fault(certificate: x509.Certificate) -> str | None:
    if certificate.version is not x509.Version.v3:
        return "a certificate is not of version 3"
    if not is_strong(certificate.public_key()):
        return "a key is too weak, or of a kind that is not accepted"
    if not is_soundly_signed(certificate):
        return "a signature is made over a hash that is not accepted"
    if not 0 < certificate.serial_number.bit_length() <= MAX_SERIAL_BITS or certificate.serial_number < 0:
        return "a serial number is not positive, or too long"
    extensions = certificate.extensions
    names = names_of(extensions)
    if names is not None and len(list(names)) > MAX_NAMES:
        return "a certificate has too many names"
    for kind in CRITICAL:
        try:
            found = extensions.get_extension_for_class(kind)
        except x509.ExtensionNotFound:
            continue
        if not found.critical:
            return "a constraint is not marked critical"
        if isinstance(found.value, x509.NameConstraints) and _breadth(found.value) > MAX_NAMES:
            return "a certificate has too many constraints"
    return None


def _breadth(constraints: x509.NameConstraints) -> int:
    return len(constraints.permitted_subtrees or ()) + len(constraints.excluded_subtrees or ())


def _authority_fault(authority: x509.Certificate, domain: str | None) -> str | None:
    names = names_of(authority.extensions)
    uris = [] if names is None else names.get_values_for_type(x509.UniformResourceIdentifier)
    for uri in uris:
        if uri[:7].lower() != "spiffe:":
            continue
        # X.509-SVID, section 3.2: an authority's ID has no path, and is of its workloads' trust domain
        if not is_spiffe_id(uri) or uri.count("/") != len("//") or len(uris) != 1:
            return "an authority's SPIFFE ID is not that of a trust domain"
        if domain is not None and trust_domain(uri) != domain:
            return "an authority's SPIFFE ID is of another trust domain"
    return None


def _leaf_fault(leaf: x509.Certificate) -> str | None:
    extensions = leaf.extensions
    try:
        names = extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        pass
    else:
        if names.critical != (not list(leaf.subject)):  # RFC 5280, section 4.2.1.6
            return "the alternative names must be critical exactly if there is no subject"
    try:
        purposes = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return None
    if ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE in purposes:
        return "the certificate is for any purpose whatever"
    return None


def fault(path: Sequence[x509.Certificate], domain: str | None) -> str | None:
    """Look for what forbids a path.

    Args:
        path: Leaf first, trust anchor last, signatures verified.
        domain: Trust domain of the leaf's SPIFFE ID, or None if it has none.

    Returns:
        None, or the first fault: one of our own sentences.

    Raises:
        ValueError: An extension cannot be read; also `x509.DuplicateExtension` and
            `UnsupportedAlgorithm`, which are none.
    """
    for certificate, issuer in pairwise(path):
        if not _is_from(certificate, issuer):
            return "a certificate does not name the key of its issuer"
    anchor = path[-1]
    if _names_issuer_key(anchor) and not _is_from(anchor, anchor):
        return "a root names another key than its own"
    for authority in path[1:]:
        found = _common_fault(authority) or _authority_fault(authority, domain)
        if found is not None:
            return found
    return _common_fault(path[0]) or _leaf_fault(path[0])

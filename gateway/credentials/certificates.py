"""Reads the peer's certificate into a `PeerCertificate`, or says why it proves nothing.

The TLS handshake has verified the chain and that the peer holds the key; what TLS libraries let pass
is refused here: weak keys, certificates for other purposes, and workload certificates that are no
X.509-SVID. Who vouches for it is for `trust` to say.
"""

from __future__ import annotations

import hashlib
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtendedKeyUsageOID

from gateway.core.identity import PeerCertificate
from gateway.core.refusal import Reason, Refusal
from gateway.core.spiffe import is_workload_id
from gateway.credentials.paths import is_strong, names_of
from gateway.credentials.signing import base64url

MAX_CERTIFICATE_BYTES: Final = 64 * 1024


def _refused(detail: str) -> Refusal:
    return Refusal(Reason.CERTIFICATE_REFUSED, detail)


UNREADABLE: Final = _refused("The client certificate cannot be read.")
WEAK: Final = _refused("The client certificate's key is too weak, or of a kind that is not accepted.")
PURPOSE: Final = _refused("The certificate is not meant for clients.")
AUTHORITY: Final = _refused("The client certificate is an authority's own.")
URIS: Final = _refused("A certificate with a SPIFFE ID must have exactly that one URI name, well formed.")
USAGE: Final = _refused("The certificate's key usage is not that of a workload.")


BOTH_PURPOSES: Final = _refused("A workload's certificate must be for clients and for servers alike.")
BOTH: Final = frozenset({ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH})


class _Names(NamedTuple):
    uris: tuple[str, ...] = ()
    dns: tuple[str, ...] = ()


def _names(extensions: x509.Extensions) -> _Names:
    names = names_of(extensions)
    if names is None:
        return _Names()
    return _Names(
        tuple(names.get_values_for_type(x509.UniformResourceIdentifier)),
        tuple(names.get_values_for_type(x509.DNSName)),
    )


def _check_purpose(extensions: x509.Extensions) -> Refusal | None:
    try:
        if extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
            return AUTHORITY
    except x509.ExtensionNotFound:
        pass
    try:
        purposes = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return None
    return None if ExtendedKeyUsageOID.CLIENT_AUTH in purposes else PURPOSE


def _check_workload(uris: tuple[str, ...], extensions: x509.Extensions, *, is_svid: bool) -> Refusal | None:
    """Check what X.509-SVID, sections 2 and 4, demands of a leaf."""
    if len(uris) != 1 or not is_workload_id(uris[0]):
        return URIS
    try:
        usage = extensions.get_extension_for_class(x509.KeyUsage)
    except x509.ExtensionNotFound:
        return USAGE
    if not usage.critical or not usage.value.digital_signature:
        return USAGE
    if usage.value.key_cert_sign or usage.value.crl_sign:
        return USAGE
    try:
        purposes = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return None
    return BOTH_PURPOSES if is_svid and not set(purposes) >= BOTH else None


def read_certificate(der: bytes, *, is_svid: bool = True) -> PeerCertificate | Refusal:
    """Read a client certificate whose chain the handshake has verified.

    Args:
        der: The leaf.
        is_svid: True where trust domains issue SPIFFE IDs: section 4.4 of X.509-SVID then demands both
            purposes. An ordinary authority that names workloads by SPIFFE IDs may issue for clients alone.

    Returns:
        What it proves, or why it proves nothing.
    """
    if len(der) > MAX_CERTIFICATE_BYTES:
        return UNREADABLE
    try:
        certificate = x509.load_der_x509_certificate(der)
        extensions = certificate.extensions
        names = _names(extensions)
        refusal = None if is_strong(certificate.public_key()) else WEAK
        refusal = refusal or _check_purpose(extensions)
        is_workload = any(uri[:7].lower() == "spiffe:" for uri in names.uris)
        if refusal is None and is_workload:
            refusal = _check_workload(names.uris, extensions, is_svid=is_svid)
        if refusal is not None:
            return refusal
        if certificate.serial_number <= 0:  # RFC 5280, section 4.1.2.2
            return UNREADABLE
        return PeerCertificate(
            fingerprint=base64url(hashlib.sha256(der).digest()).decode(),
            subject=certificate.subject.rfc4514_string(),
            issuer=certificate.issuer.rfc4514_string(),
            serial=f"{certificate.serial_number:x}",
            uris=names.uris,
            dns=names.dns,
            spiffe_id=names.uris[0] if is_workload else None,
            not_before=certificate.not_valid_before_utc.timestamp(),
            not_after=certificate.not_valid_after_utc.timestamp(),
        )
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType, x509.InvalidVersion):
        return UNREADABLE
    except UnsupportedAlgorithm:
        return WEAK


def leaf_fingerprint(pem: bytes) -> str:
    """Return `x5t#S256` (RFC 8705, section 3.1) of the first certificate in PEM.

    Raises:
        ValueError: There is none.
    """
    leaf = x509.load_pem_x509_certificates(pem)[0]
    return base64url(leaf.fingerprint(hashes.SHA256())).decode()

"""TLS contexts for both sides of the gateway, and the check of a backend's identity.

Every value that weakens TLS is absent from the signatures: no switch turns verification off.
Sessions are not resumed from tickets; a TLS 1.2 session resumed by id was verified under this very
context, and so under the same authorities and the same revocation list.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Final, Literal

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from gateway.credentials.files import read_bounded

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.core.ports import Clock

ClientCertificate = Literal["required", "optional", "none"]
Version = Literal["1.2", "1.3"]

CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"  # TLS 1.2: forward secrecy and AEAD only (RFC 9325, 4.2)
SIGNING_KEYS: Final = (rsa.RSAPublicKey, ec.EllipticCurvePublicKey, ed25519.Ed25519PublicKey)
VERSIONS: Final = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
VERIFY_MODES: Final = {
    "required": ssl.CERT_REQUIRED,
    "optional": ssl.CERT_OPTIONAL,
    "none": ssl.CERT_NONE,
}


class TlsError(ValueError):
    """A file that TLS cannot use; the text names the file and what is wrong with it."""


def _certificates(path: Path) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(read_bounded(path))
    except OSError as unreadable:
        raise TlsError(f"{path}: {unreadable.strerror}") from unreadable
    except ValueError as malformed:
        raise TlsError(f"{path} has no certificates in PEM form") from malformed


def _check_dates(path: Path, certificate: x509.Certificate, clock: Clock) -> None:
    now = clock.wall()
    if now > certificate.not_valid_after_utc.timestamp():
        raise TlsError(f"{path} expired on {certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC")
    if now < certificate.not_valid_before_utc.timestamp():
        raise TlsError(f"{path} is not valid before {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC")


def _load_own(context: ssl.SSLContext, certificate: Path, private_key: Path, clock: Clock) -> None:
    _check_dates(certificate, _certificates(certificate)[0], clock)
    try:
        # An encrypted key would make OpenSSL ask at the terminal; b"" makes it fail instead.
        context.load_cert_chain(certificate, private_key, password=lambda: b"")
    except ssl.SSLError as unusable:
        if unusable.reason == "KEY_VALUES_MISMATCH":
            raise TlsError(f"{private_key} is not the key of {certificate}") from unusable
        raise TlsError(f"{private_key} is no unencrypted private key in PEM form") from unusable
    except OSError as unreadable:
        raise TlsError(f"{private_key}: {unreadable.strerror}") from unreadable


def _load_authorities(context: ssl.SSLContext, ca: Path, clock: Clock) -> list[x509.Certificate]:
    authorities = _certificates(ca)
    for authority in authorities:
        _check_dates(ca, authority, clock)
    context.load_verify_locations(cafile=ca)
    return authorities


def _load_revocations(
    context: ssl.SSLContext, path: Path, authorities: list[x509.Certificate], clock: Clock
) -> None:
    """Load a revocation list that is signed by one of the authorities and not out of date.

    OpenSSL refuses every handshake once `nextUpdate` has passed: a stale list is no list.
    """
    try:
        revocations = x509.load_pem_x509_crl(read_bounded(path))
    except OSError as unreadable:
        raise TlsError(f"{path}: {unreadable.strerror}") from unreadable
    except ValueError as malformed:
        raise TlsError(f"{path} is no revocation list in PEM form") from malformed
    if not any(_is_signed_by(revocations, authority) for authority in authorities):
        raise TlsError(f"{path} is not signed by any of the client authorities")
    if revocations.next_update_utc is None or clock.wall() > revocations.next_update_utc.timestamp():
        raise TlsError(f"{path} is out of date: its nextUpdate has passed, or it has none")
    context.load_verify_locations(cafile=path)
    context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF


def _is_signed_by(revocations: x509.CertificateRevocationList, authority: x509.Certificate) -> bool:
    if revocations.issuer != authority.subject:
        return False
    try:
        key = authority.public_key()
    except UnsupportedAlgorithm:
        return False
    return isinstance(key, SIGNING_KEYS) and revocations.is_signature_valid(key)


def server_context(
    certificate: Path,
    private_key: Path,
    clock: Clock,
    *,
    client_certificate: ClientCertificate = "required",
    client_ca: Path | None = None,
    revocation_list: Path | None = None,
    minimum_version: Version = "1.2",
) -> ssl.SSLContext:
    """Make the context of a listener.

    Args:
        certificate: PEM chain, leaf first.
        private_key: PEM, unencrypted.
        clock: Time, for dates of certificates and lists.
        client_certificate: Whether clients must, may or cannot show one.
        client_ca: PEM bundle that alone may sign client certificates; needed unless "none".
        revocation_list: PEM list of one of those authorities.
        minimum_version: Oldest TLS version.

    Raises:
        TlsError: A file is missing, malformed, expired, or does not fit the others.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = VERSIONS[minimum_version]
    context.set_ciphers(CIPHERS)
    context.options |= (
        ssl.OP_NO_TICKET
        | ssl.OP_NO_COMPRESSION
        | ssl.OP_NO_RENEGOTIATION
        | ssl.OP_CIPHER_SERVER_PREFERENCE
        | ssl.OP_SINGLE_ECDH_USE
    )
    context.num_tickets = 0  # OP_NO_TICKET says nothing about TLS 1.3
    context.set_alpn_protocols(["http/1.1"])
    _load_own(context, certificate, private_key, clock)
    if client_certificate == "none":
        if client_ca is not None or revocation_list is not None:
            raise TlsError("client authorities are given, but client certificates are not asked for")
        return context
    if client_ca is None:
        raise TlsError("client certificates are asked for, but no authority is given to verify them")
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    authorities = _load_authorities(context, client_ca, clock)
    if revocation_list is not None:
        _load_revocations(context, revocation_list, authorities, clock)
    context.verify_mode = VERIFY_MODES[client_certificate]
    return context


def client_context(
    clock: Clock,
    *,
    ca: Path | None = None,
    certificate: Path | None = None,
    private_key: Path | None = None,
    is_identity_checked_later: bool = False,
) -> ssl.SSLContext:
    """Make the context for connections to one backend.

    Args:
        clock: Time, for dates of certificates.
        ca: PEM bundle that alone may sign the backend's certificate; None: the system's.
        certificate: PEM chain that the gateway shows, or None.
        private_key: Its key.
        is_identity_checked_later: True where `check_server_identity` replaces the host name check;
            needs `ca`, as any public authority could sign any identity.

    Raises:
        TlsError: A file is missing, malformed, expired, or does not fit the others.
    """
    if is_identity_checked_later and ca is None:
        raise TlsError("an expected identity needs an authority of its own")
    if (certificate is None) != (private_key is None):
        raise TlsError("a client certificate and its private key go together")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    context.set_alpn_protocols(["http/1.1"])
    context.check_hostname = not is_identity_checked_later
    context.verify_mode = ssl.CERT_REQUIRED
    if ca is None:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    else:
        _load_authorities(context, ca, clock)
    if certificate is not None and private_key is not None:
        _load_own(context, certificate, private_key, clock)
    return context


def check_server_identity(der: bytes, expected: str) -> None:
    """Check that a verified server certificate belongs to who was meant.

    Args:
        der: The leaf that the handshake verified.
        expected: A SPIFFE ID, which must be its only URI name; else one of its DNS names, exactly.

    Raises:
        ValueError: It belongs to somebody else, or cannot be read.
    """
    try:
        extensions = x509.load_der_x509_certificate(der).extensions
        names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound, x509.DuplicateExtension) as nameless:
        raise ValueError("the server's certificate has no readable alternative names") from nameless
    if expected.startswith("spiffe://"):
        is_expected = names.get_values_for_type(x509.UniformResourceIdentifier) == [expected]
    else:
        is_expected = expected.lower() in [name.lower() for name in names.get_values_for_type(x509.DNSName)]
    if not is_expected:
        raise ValueError("the server's certificate belongs to another identity")

"""TLS contexts for both sides of the gateway, and the check of a backend's identity.

Every value that weakens TLS is absent from the signatures: no switch turns verification off.
Sessions are not resumed from tickets; a TLS 1.2 session resumed by id was verified under this very
context. Revocation lists are no part of a context: the peer's chain is verified once more by `trust`,
resumed or not, so that a list, a grace and a reason for the log exist in one place.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from gateway.credentials.certificate_files import (
    TlsError,
    check_dates,
    read_authorities,
    read_certificates,
)
from gateway.credentials.signing import base64url

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from gateway.core.ports import Clock

ClientCertificate = Literal["required", "optional", "none"]
Version = Literal["1.2", "1.3"]

__all__ = ["Dated", "TlsError", "check_server_identity", "client_context", "dated", "server_context"]

NEVER: Final = float("inf")
CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"  # TLS 1.2: forward secrecy and AEAD only (RFC 9325, 4.2)
VERSIONS: Final = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
VERIFY_MODES: Final = {
    "required": ssl.CERT_REQUIRED,
    "optional": ssl.CERT_OPTIONAL,
    "none": ssl.CERT_NONE,
}


@final
class Dated(NamedTuple):
    """A context, and when what it shows ends.

    Args:
        context: For handshakes.
        ends: Earliest end of our own certificate and its chain, seconds since the epoch.
        fingerprint: `x5t#S256` of our own certificate (RFC 8705, section 3.1), or None if it shows none.
    """

    context: ssl.SSLContext
    ends: float
    fingerprint: str | None = None


def dated(context: ssl.SSLContext, certificate: Path | None) -> Dated:
    """Add the end of our own certificates, and which they are, to a context that shows them.

    Raises:
        TlsError: They cannot be read any more.
    """
    if certificate is None:
        return Dated(context, NEVER)
    chain = read_certificates(certificate)
    ends = min(one.not_valid_after_utc.timestamp() for one in chain)
    return Dated(context, ends, base64url(chain[0].fingerprint(hashes.SHA256())).decode())


def _load_own(context: ssl.SSLContext, certificate: Path, private_key: Path, clock: Clock) -> None:
    check_dates(certificate, read_certificates(certificate)[0], clock.wall())
    try:
        # An encrypted key would make OpenSSL ask at the terminal; b"" makes it fail instead.
        context.load_cert_chain(certificate, private_key, password=lambda: b"")
    except ssl.SSLError as unusable:
        if unusable.reason == "KEY_VALUES_MISMATCH":
            raise TlsError(f"{private_key} is not the key of {certificate}") from unusable
        raise TlsError(f"{private_key} is no unencrypted private key in PEM form") from unusable
    except OSError as unreadable:
        raise TlsError(f"{private_key}: {unreadable.strerror}") from unreadable


def _load_authorities(context: ssl.SSLContext, authorities: Iterable[x509.Certificate]) -> None:
    pem = "".join(one.public_bytes(Encoding.PEM).decode() for one in authorities)
    if pem:
        context.load_verify_locations(cadata=pem)


def server_context(
    certificate: Path,
    private_key: Path,
    clock: Clock,
    *,
    client_certificate: ClientCertificate = "required",
    authorities: Sequence[x509.Certificate] = (),
    minimum_version: Version = "1.2",
) -> ssl.SSLContext:
    """Make the context of a listener.

    Args:
        certificate: PEM chain, leaf first.
        private_key: PEM, unencrypted.
        clock: Time, for dates of certificates and lists.
        client_certificate: Whether clients must, may or cannot show one.
        authorities: All that may sign client certificates: which of them may sign which, and what was
            revoked, is decided by `trust` once the handshake is done. None of them: nobody is let in.
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
        if authorities:
            raise TlsError("client authorities are given, but client certificates are not asked for")
        return context
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    _load_authorities(context, authorities)
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
        _load_authorities(context, read_authorities(ca, clock))
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

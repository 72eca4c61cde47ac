"""Reads PEM files for the checks. Every failure is a sentence about the file, never about its content."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING, Final, TypeAlias

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

if TYPE_CHECKING:
    from pathlib import Path

MAX_BYTES: Final = 4 * 1024 * 1024  # a bundle of all public authorities has 250 KiB
RSA_BITS: Final = 2048
PEM_MEND: Final = "give a PEM file: it begins with `-----BEGIN`"

PrivateKey: TypeAlias = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey


class UnusableError(Exception):
    """A file cannot be used.

    Args:
        message: What is wrong with it.
        mend: How to mend it.
    """

    def __init__(self, message: str, mend: str) -> None:
        super().__init__(message)
        self.message = message
        self.mend = mend


class MissingError(UnusableError):
    """There is no such file."""


def read(path: Path) -> bytes:
    """Read a file, bounded.

    Raises:
        MissingError: It is missing.
        UnusableError: It is no regular file, unreadable, empty or too large.
    """
    try:
        if path.exists() and not path.is_file():
            raise UnusableError(f"{path} is no file", "give the path of a file")
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError as fault:
        raise MissingError(f"there is no file {path}", "make it, or correct the path") from fault
    except OSError as fault:
        reason = (fault.strerror or "unknown reason").lower()
        message = f"{path} cannot be read: {reason}"
        raise UnusableError(message, "let the user that runs the gateway read it") from fault
    if not data.strip():
        raise UnusableError(f"{path} is empty", "fill it, or correct the path")
    if len(data) > MAX_BYTES:
        raise UnusableError(f"{path} is larger than {MAX_BYTES} bytes", "give the right file")
    return data


def certificates(path: Path) -> list[x509.Certificate]:
    """Load all certificates of a file, at least one.

    Raises:
        UnusableError: There is none, or one cannot be parsed.
    """
    data = read(path)
    try:
        return x509.load_pem_x509_certificates(data)
    except ValueError as fault:
        raise UnusableError(f"{path} holds no readable certificate", PEM_MEND) from fault


def private_key(path: Path) -> PrivateKey:
    """Load an unencrypted private key that is strong enough.

    Raises:
        UnusableError: There is none, it is encrypted, or it is too weak.
    """
    data = read(path)
    try:
        key = load_pem_private_key(data, None)
    except TypeError as fault:
        mend = "store it unencrypted, readable by the gateway alone"
        raise UnusableError(f"the private key {path} is encrypted", mend) from fault
    except (ValueError, UnsupportedAlgorithm) as fault:
        raise UnusableError(f"{path} holds no readable private key", PEM_MEND) from fault
    if isinstance(key, rsa.RSAPrivateKey):
        if key.key_size < RSA_BITS:
            message = f"the RSA key {path} has {key.key_size} bits"
            raise UnusableError(message, f"make one of at least {RSA_BITS} bits, or an EC key")
        return key
    if isinstance(key, ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey):
        return key
    raise UnusableError(
        f"{path} is a key of a kind that is not taken", "make an EC (P-256), Ed25519 or RSA key"
    )


def revocation_lists(path: Path) -> list[x509.CertificateRevocationList]:
    """Load all revocation lists of a file, at least one.

    Raises:
        UnusableError: There is none, or one cannot be parsed.
    """
    begin, end = b"-----BEGIN X509 CRL-----", b"-----END X509 CRL-----"
    parts = read(path).split(begin)[1:]
    try:
        found = [x509.load_pem_x509_crl(begin + part.partition(end)[0] + end + b"\n") for part in parts]
    except ValueError as fault:
        raise UnusableError(f"{path} holds no readable revocation list", PEM_MEND) from fault
    if not found:
        raise UnusableError(
            f"{path} holds no revocation list", "give a PEM file with `-----BEGIN X509 CRL-----`"
        )
    return found


def is_exposed(path: Path) -> bool:
    """Tell whether everybody on this machine may read or change a file."""
    try:
        return bool(path.stat().st_mode & stat.S_IRWXO)
    except OSError:
        return False

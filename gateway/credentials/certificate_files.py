"""Reads certificates, authorities and revocation lists from PEM files, and says what is wrong with them.

What is out of date or could never vouch is an error here, at load time, not a riddle at each handshake.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from gateway.credentials.authorities import UNREADABLE, Authorities
from gateway.credentials.files import read_bounded
from gateway.credentials.paths import is_strong
from gateway.credentials.revocation_lists import ListError, RevocationList, RevocationLists, parse_lists
from gateway.credentials.trust import Vouchers

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from gateway.core.ports import Clock


class TlsError(ValueError):
    """A file that TLS cannot use; the text names the file and what is wrong with it."""


def _read(path: Path) -> bytes:
    try:
        return read_bounded(path)
    except OSError as unreadable:
        raise TlsError(f"{path}: {unreadable.strerror}") from unreadable
    except ValueError as large:
        raise TlsError(f"{path}: {large}") from large


def read_certificates(path: Path) -> list[x509.Certificate]:
    """Read all certificates of a PEM file, at least one.

    Raises:
        TlsError: It is unreadable, or there is none.
    """
    data = _read(path)
    try:
        return x509.load_pem_x509_certificates(data)
    except UNREADABLE as malformed:
        raise TlsError(f"{path} has no certificates in PEM form") from malformed


def check_dates(path: Path, certificate: x509.Certificate, now: float) -> None:
    """Check that a certificate is valid now.

    Raises:
        TlsError: It is not.
    """
    if now > certificate.not_valid_after_utc.timestamp():
        raise TlsError(f"{path} expired on {certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC")
    if now < certificate.not_valid_before_utc.timestamp():
        raise TlsError(f"{path} is not valid before {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC")


def read_authorities(path: Path, clock: Clock) -> list[x509.Certificate]:
    """Read the authorities of a PEM file, of which one at least is valid now.

    Old ones may stay beside their successors, and those of tomorrow be there already: dates are checked
    for every path.

    Raises:
        TlsError: It is unreadable, or none is valid.
    """
    now = clock.wall()
    found = read_certificates(path)
    begun = [one for one in found if one.not_valid_before_utc.timestamp() <= now]
    if not any(now <= one.not_valid_after_utc.timestamp() for one in begun):
        check_dates(path, found[0], now)
    return found


def _can_vouch(authority: x509.Certificate) -> bool:
    """Tell whether certificates can be verified with an authority's key (no Ed25519: it is in no profile)."""
    try:
        key = authority.public_key()
    except (UnsupportedAlgorithm, ValueError):
        return False
    return isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey) and is_strong(key)


def read_vouchers(ca: Path, lists: Path | None, clock: Clock, grace: float = 0.0) -> Vouchers:
    """Read the authorities that vouch for clients, with their revocation lists.

    Args:
        ca: PEM bundle.
        lists: PEM file of lists; None: revocation is not looked at.
        clock: Time.
        grace: Seconds for which a list counts beyond its nextUpdate.

    Raises:
        TlsError: A file is missing, malformed, out of date, or does not fit the other.
    """
    authorities = Authorities(read_authorities(ca, clock))
    if not authorities.has_anchor:
        raise TlsError(f"{ca} has no self-signed authority: give the root of the intermediates")
    if not all(_can_vouch(one) for one in authorities.certificates):
        raise TlsError(f"{ca} has an authority whose key is not RSA (2048 bits or more) or EC")
    if lists is None:
        return Vouchers(authorities)
    return Vouchers(authorities, read_lists(lists, authorities.certificates, clock, grace))


def read_lists(
    path: Path, authorities: Iterable[x509.Certificate], clock: Clock, grace: float = 0.0
) -> RevocationLists:
    """Read a PEM file of revocation lists, each signed by one of the authorities and not stale.

    Raises:
        TlsError: One cannot be used.
    """
    signers = tuple(authorities)
    now = clock.wall()
    data = _read(path)
    try:
        return RevocationLists(RevocationList(one, signers, now, grace) for one in parse_lists(data))
    except ListError as unusable:
        raise TlsError(f"{path} {unusable}") from unusable

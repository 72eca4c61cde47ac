"""Certificate revocation lists (RFC 5280, section 5): which ones count, and who is on them.

With lists there is no "unknown": every certificate of a path, the anchor apart, must have a list of its
issuer, and the list must not be stale. Delta lists, indirect lists, lists for a part of the certificates
and lists with a critical extension that nothing here understands are refused whole: each of them could
hide a revocation.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple, final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gateway.core.refusal import Reason, Refusal, Source
from gateway.credentials.authorities import UNREADABLE
from gateway.credentials.paths import is_soundly_signed

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

STALE: Final = "Whether the client certificate was revoked cannot be told at the moment."
REVOKED: Final = "The client certificate was revoked."
BEGIN: Final = b"-----BEGIN X509 CRL-----"
END: Final = b"-----END X509 CRL-----"


class ListError(ValueError):
    """A revocation list that cannot be used; the text says why."""


@final
class Link(NamedTuple):
    """What revocation needs to know of one certificate of a path: its issuer's key, and its number."""

    issuer: bytes
    serial: int


def issuer_id(issuer: x509.Certificate) -> bytes:
    """Name an issuer by its distinguished name and its key: two authorities may share a name."""
    key = issuer.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    name = issuer.subject.public_bytes()
    return hashlib.sha256(len(name).to_bytes(4, "big") + name + key).digest()


def links(path: Sequence[x509.Certificate]) -> tuple[Link, ...]:
    """Return one link per certificate of a path, leaf first, without the anchor."""
    return tuple(Link(issuer_id(issuer), certificate.serial_number) for certificate, issuer in pairwise(path))


def parse_lists(pem: bytes) -> tuple[x509.CertificateRevocationList, ...]:
    """Read all lists of a PEM file.

    Raises:
        ListError: There is none, or one is malformed.
    """
    parts = pem.split(BEGIN)[1:]
    if not parts:
        raise ListError("is no revocation list in PEM form")
    try:
        return tuple(x509.load_pem_x509_crl(BEGIN + part.partition(END)[0] + END + b"\n") for part in parts)
    except UNREADABLE as malformed:
        raise ListError("is no revocation list in PEM form") from malformed


def _is_signed_by(revoked: x509.CertificateRevocationList, authority: x509.Certificate) -> bool:
    if revoked.issuer != authority.subject:
        return False
    try:
        key = authority.public_key()
        if not isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey):
            return False
        return revoked.is_signature_valid(key)
    except (ValueError, InvalidSignature, UnsupportedAlgorithm):
        return False


def _may_sign(authority: x509.Certificate) -> bool:
    try:
        return authority.extensions.get_extension_for_class(x509.KeyUsage).value.crl_sign
    except x509.ExtensionNotFound:
        return True  # RFC 5280, section 6.3.3 (f): only a usage that is there restricts
    except UNREADABLE:
        return False


def _number(revoked: x509.CertificateRevocationList) -> int:
    """Check the extensions of a list and its entries; return its number."""
    number: int | None = None
    for extension in revoked.extensions:
        if isinstance(extension.value, x509.DeltaCRLIndicator):
            raise ListError("is a delta list: give the whole one")
        if isinstance(extension.value, x509.IssuingDistributionPoint):
            raise ListError("speaks for a part of the certificates only: give a list for all")
        if extension.critical:
            raise ListError("has a critical extension that is not understood here")
        if isinstance(extension.value, x509.CRLNumber):
            number = extension.value.crl_number
    if number is None:
        raise ListError("has no number (RFC 5280, section 5.2.3)")
    return number


def _serials(revoked: x509.CertificateRevocationList) -> frozenset[int]:
    serials: set[int] = set()
    for entry in revoked:
        if any(extension.critical for extension in entry.extensions):
            raise ListError("has an entry with a critical extension that is not understood here")
        serials.add(entry.serial_number)
    return frozenset(serials)


@final
class RevocationList:
    """One list that may be used.

    Args:
        revoked: The list.
        authorities: Who may have signed it.
        now: Seconds since the epoch.
        grace: Seconds for which it counts beyond its nextUpdate; at most its own period.

    Raises:
        ListError: It may not be used.
    """

    __slots__ = ("begins", "ends", "issuer", "next_update", "number", "serials")

    def __init__(
        self,
        revoked: x509.CertificateRevocationList,
        authorities: Iterable[x509.Certificate],
        now: float,
        grace: float = 0.0,
    ) -> None:
        signers = [one for one in authorities if _is_signed_by(revoked, one)]
        if not signers:
            raise ListError("is not signed by any of the client authorities")
        signers = [one for one in signers if _may_sign(one)]
        if not signers:
            raise ListError("is signed by an authority whose key is not for revocation lists")
        if not is_soundly_signed(revoked):
            raise ListError("is signed over a hash that is not accepted")
        try:
            self.number = _number(revoked)
            self.serials = _serials(revoked)
        except ListError:
            raise
        except UNREADABLE as fault:
            raise ListError("has extensions that cannot be read") from fault
        if revoked.next_update_utc is None:
            raise ListError("is out of date: it has no nextUpdate")
        self.issuer = issuer_id(signers[0])
        self.begins = revoked.last_update_utc.timestamp()
        self.next_update = revoked.next_update_utc.timestamp()
        self.ends = self.next_update + min(grace, max(0.0, self.next_update - self.begins))
        if now < self.begins:
            raise ListError("is not valid yet")
        if now > self.ends:
            raise ListError("is out of date: its nextUpdate has passed")


@final
class RevocationLists:
    """The lists of a set of authorities, the newest of each; immutable.

    Args:
        lists: They.
    """

    __slots__ = ("_by_issuer",)

    def __init__(self, lists: Iterable[RevocationList]) -> None:
        self._by_issuer: dict[bytes, RevocationList] = {}
        for one in lists:
            known = self._by_issuer.get(one.issuer)
            if known is None or (one.number, one.begins) > (known.number, known.begins):
                self._by_issuer[one.issuer] = one

    @property
    def lists(self) -> tuple[RevocationList, ...]:
        """One list per issuer."""
        return tuple(self._by_issuer.values())

    def is_older_than(self, other: RevocationLists) -> bool:
        """Tell whether a list here is older than the other's of the same issuer: it would forget."""
        return any(
            one.number < known.number
            for issuer, one in self._by_issuer.items()
            if (known := other._by_issuer.get(issuer)) is not None
        )

    def check(self, path: Iterable[Link], now: float) -> Refusal | None:
        """Check every certificate of a path.

        Args:
            path: From `links`.
            now: Seconds since the epoch.

        Returns:
            None if none is revoked, or why not: a list that is missing or stale refuses, too.
        """
        for link in path:
            known = self._by_issuer.get(link.issuer)
            if known is None:
                return _stale("there is no revocation list of an issuer of the path")
            if now > known.ends:
                ended = datetime.fromtimestamp(known.next_update, UTC)
                return _stale(f"the revocation list ended at {ended:%Y-%m-%dT%H:%M:%SZ}")
            if link.serial in known.serials:
                return Refusal(Reason.CERTIFICATE_REVOKED, REVOKED, note="on its issuer's revocation list")
        return None


def _stale(note: str) -> Refusal:
    return Refusal(Reason.REVOCATIONS_STALE, STALE, note=note, source=Source.GATEWAY)

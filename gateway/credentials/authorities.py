"""One set of certificate authorities, and the paths that lead to it. Knows no revocation, keeps nothing.

What is self-signed is an anchor; the other certificates of a set only help to find a path to one, as
for OpenSSL, so that an intermediate is never believed longer than its root. The library builds and
verifies a path; `paths` refuses what it lets pass.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.x509.verification import (
    Criticality,
    ExtensionPolicy,
    PolicyBuilder,
    Store,
    VerificationError,
)

from gateway.core.refusal import Reason, Refusal
from gateway.credentials.paths import fault

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Path = tuple[x509.Certificate, ...]

MAX_DEPTH: Final = 4  # intermediate authorities between a leaf and its root
UNREADABLE: Final = (
    ValueError,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
    UnsupportedAlgorithm,
)

# As the library's, but that a client needs no alternative name: its subject may name it.
_LEAF: Final = ExtensionPolicy.webpki_defaults_ee().may_be_present(
    x509.SubjectAlternativeName, Criticality.AGNOSTIC, None
)
_AUTHORITY: Final = ExtensionPolicy.webpki_defaults_ca()
UNTRUSTED: Final = "The client certificate does not lead to an authority that may vouch for it."


def untrusted(note: str) -> Refusal:
    """Say for the record why a path is refused; a client hears no details."""
    return Refusal(Reason.CERTIFICATE_UNTRUSTED, UNTRUSTED, note=note)


def is_self_signed(certificate: x509.Certificate) -> bool:
    """Tell whether a certificate is signed with its own key."""
    if certificate.issuer != certificate.subject:
        return False
    try:
        certificate.verify_directly_issued_by(certificate)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


@final
class Authorities:
    """An immutable set of authorities.

    Args:
        certificates: Roots, and intermediates that clients may leave out.
    """

    __slots__ = ("_store", "certificates", "fingerprints", "helpers")

    def __init__(self, certificates: Iterable[x509.Certificate]) -> None:
        distinct = {one.fingerprint(hashes.SHA256()): one for one in certificates}
        self.certificates = tuple(distinct.values())
        self.fingerprints = frozenset(distinct)
        anchors = [one for one in self.certificates if is_self_signed(one)]
        self.helpers = [one for one in self.certificates if one not in anchors]
        self._store = Store(anchors) if anchors else None

    @property
    def has_anchor(self) -> bool:
        """False if no path can ever lead here."""
        return self._store is not None

    def find_path(
        self,
        leaf: x509.Certificate,
        sent: Sequence[x509.Certificate],
        now: float,
        *,
        domain: str | None = None,
        depth: int = MAX_DEPTH,
    ) -> Path | Refusal:
        """Find and verify a path from a client's certificate to an anchor.

        Args:
            leaf: The certificate whose key the handshake proved.
            sent: What else the client sent; order does not count.
            now: Seconds since the epoch.
            domain: Trust domain of the leaf's SPIFFE ID, or None if it has none.
            depth: Most intermediate authorities.

        Returns:
            The path, leaf first, anchor last; or a refusal with a note for the record.
        """
        if self._store is None:
            return untrusted("there is no authority for it")
        policy = (
            PolicyBuilder()
            .store(self._store)
            .time(datetime.fromtimestamp(now, UTC))
            .max_chain_depth(depth)
            .extension_policies(ca_policy=_AUTHORITY, ee_policy=_LEAF)
        )
        try:
            path = tuple(policy.build_client_verifier().verify(leaf, [*sent, *self.helpers]).chain)
            found = fault(path, domain)
        except VerificationError:  # its text quotes the certificate
            return untrusted("no valid path to an authority")
        except UNREADABLE:
            return untrusted("a certificate of the path cannot be read")
        return path if found is None else untrusted(found)

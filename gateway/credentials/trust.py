"""Whom client certificates are believed from: one immutable snapshot, swapped whole when files change.

A certificate with a SPIFFE ID counts only if the authorities of that very trust domain vouch for it
(SPIFFE Trust Domain and Bundle, section 5), whoever else's authorities the handshake accepted; one
without goes to the authorities of `client_ca`. Revocation lists belong to one set of authorities.
"""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple, final

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from gateway.core.refusal import Reason, Refusal
from gateway.core.spiffe import trust_domain
from gateway.credentials.authorities import MAX_DEPTH, UNREADABLE, Authorities, untrusted
from gateway.credentials.certificates import MAX_CERTIFICATE_BYTES, read_certificate
from gateway.credentials.certificates import UNREADABLE as LEAF_UNREADABLE
from gateway.credentials.revocation_lists import links

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gateway.core.identity import PeerCertificate
    from gateway.credentials.revocation_lists import Link, RevocationLists

MAX_SENT: Final = 16  # certificates that a client may send; more is no chain
EXPIRED: Final = Refusal(Reason.CERTIFICATE_EXPIRED, "The client certificate has expired.")
TOO_MANY: Final = Refusal(Reason.CERTIFICATE_REFUSED, "The client sent too many certificates.")


@final
class Vouchers(NamedTuple):
    """Authorities with the revocation lists that go with them.

    Args:
        authorities: Who vouches.
        revocations: Their lists; None: revocation is not looked at.
    """

    authorities: Authorities
    revocations: RevocationLists | None = None


@final
class Judged(NamedTuple):
    """A certificate that is believed, and all that its belief rests on.

    Args:
        certificate: What it proves; its `not_after` is the earliest end on the path.
        links: What revocation looks at.
        roots: Fingerprints of what was taken from the authorities: the anchor, and helping intermediates.
        begins: Latest beginning on the path, seconds since the epoch.
    """

    certificate: PeerCertificate
    links: tuple[Link, ...]
    roots: frozenset[bytes]
    begins: float


@final
class Trust:
    """Everything that decides on a client certificate.

    Args:
        clients: For certificates without a SPIFFE ID, and for all if there are no trust domains.
        domains: By trust domain; empty: SPIFFE IDs are believed from `clients`.
    """

    __slots__ = ("clients", "domains")

    def __init__(
        self, clients: Vouchers | None = None, domains: Mapping[str, Vouchers] = MappingProxyType({})
    ) -> None:
        self.clients = clients
        self.domains = MappingProxyType(dict(domains))

    @property
    def vouchers(self) -> tuple[Vouchers, ...]:
        """All of them: what the handshake must accept."""
        return (*(() if self.clients is None else (self.clients,)), *self.domains.values())

    def select(self, certificate: PeerCertificate) -> Vouchers | Refusal:
        """Return who may vouch for a certificate."""
        if certificate.spiffe_id is not None and self.domains:
            found = self.domains.get(trust_domain(certificate.spiffe_id))
            return untrusted("its trust domain is not configured") if found is None else found
        return untrusted("no authority without a trust domain") if self.clients is None else self.clients

    def judge(self, chain: Sequence[bytes], now: float, *, depth: int = MAX_DEPTH) -> Judged | Refusal:
        """Verify a chain from scratch.

        Args:
            chain: DER certificates as the client sent them, its own first.
            now: Seconds since the epoch.
            depth: Most intermediate authorities.

        Returns:
            What is believed and why, or why not.
        """
        if not chain:
            return LEAF_UNREADABLE
        if len(chain) > MAX_SENT:
            return TOO_MANY
        read = read_certificate(chain[0], is_svid=bool(self.domains))
        if isinstance(read, Refusal):
            return read
        vouchers = self.select(read)
        if isinstance(vouchers, Refusal):
            return vouchers
        if now > read.not_after:
            return EXPIRED
        certificates = _load(chain)
        if certificates is None:
            return LEAF_UNREADABLE
        leaf, sent = certificates[0], certificates[1:]
        domain = None if read.spiffe_id is None else trust_domain(read.spiffe_id)
        path = vouchers.authorities.find_path(leaf, sent, now, domain=domain, depth=depth)
        if isinstance(path, Refusal):
            return path
        judged = _judged(read, path, sent)
        refusal = self._revoked(judged, vouchers, now)
        return judged if refusal is None else refusal

    def still(self, judged: Judged, now: float) -> Refusal | None:
        """Look at a certificate again that an older snapshot believed, without its signatures.

        Signatures do not change. What does: who may vouch, which lists there are, and the date.

        Returns:
            None if it is believed for the same reasons, or why not: `judge` may still find others.
        """
        certificate = judged.certificate
        if now > certificate.not_after:
            return EXPIRED
        vouchers = self.select(certificate)
        if isinstance(vouchers, Refusal):
            return vouchers
        if not judged.roots <= vouchers.authorities.fingerprints:
            return untrusted("an authority of its path is no longer trusted")
        if now < judged.begins:
            return untrusted("a certificate of its path is not valid yet")
        return self._revoked(judged, vouchers, now)

    @staticmethod
    def _revoked(judged: Judged, vouchers: Vouchers, now: float) -> Refusal | None:
        lists = vouchers.revocations
        return None if lists is None else lists.check(judged.links, now)


def _load(chain: Sequence[bytes]) -> list[x509.Certificate] | None:
    if any(len(der) > MAX_CERTIFICATE_BYTES for der in chain):
        return None
    try:
        return [x509.load_der_x509_certificate(der) for der in chain]
    except UNREADABLE:
        return None


def _judged(
    read: PeerCertificate, path: tuple[x509.Certificate, ...], sent: list[x509.Certificate]
) -> Judged:
    ends = min(one.not_valid_after_utc for one in path).timestamp()
    own = {one.fingerprint(hashes.SHA256()) for one in sent}
    prints = [one.fingerprint(hashes.SHA256()) for one in path]
    # what the client sends itself need not be configured; the anchor must, even if the client sends it
    roots = frozenset(one for one in prints[1:-1] if one not in own) | {prints[-1]}
    return Judged(
        replace(read, not_after=min(read.not_after, ends)),
        links(path),
        roots,
        max(one.not_valid_before_utc for one in path).timestamp(),
    )

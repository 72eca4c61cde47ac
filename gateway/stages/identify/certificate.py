"""Decides whether the peer's certificate still proves somebody. The handshake verified its chain.

A connection may outlive its certificate, so its dates are checked again with every request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gateway.core.refusal import Reason, Refusal

if TYPE_CHECKING:
    from gateway.core.identity import PeerCertificate

EXPIRED: Final = Refusal(Reason.CERTIFICATE_EXPIRED, "The client certificate has expired.")
NOT_YET: Final = Refusal(Reason.CERTIFICATE_EXPIRED, "The client certificate is not valid yet.")
MANY_NAMES: Final = Refusal(
    Reason.CERTIFICATE_REFUSED, "The client certificate's URI names are not exactly one valid SPIFFE ID."
)
NAMELESS: Final = Refusal(Reason.CERTIFICATE_REFUSED, "The client certificate names nobody.")


def check_certificate(certificate: PeerCertificate, now: float) -> Refusal | None:
    """Check dates and workload identity.

    Args:
        certificate: What the handshake proved.
        now: Seconds since the epoch.

    Returns:
        None if it proves somebody now, or why not.
    """
    if now >= certificate.not_after:  # what an identity proves ends then: the same second for all
        return EXPIRED
    if now < certificate.not_before:
        return NOT_YET
    is_workload = any(uri[:7].lower() == "spiffe:" for uri in certificate.uris)
    if is_workload and certificate.uris != (certificate.spiffe_id,):
        return MANY_NAMES
    if not certificate_subject(certificate):
        return NAMELESS
    return None


def certificate_subject(certificate: PeerCertificate) -> str:
    """Name the owner: SPIFFE ID, else distinguished name, else first DNS name, else ""."""
    if certificate.spiffe_id is not None:
        return certificate.spiffe_id
    if certificate.subject:
        return certificate.subject
    return f"dns:{certificate.dns[0]}" if certificate.dns else ""

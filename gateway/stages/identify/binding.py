"""Decides whether a bound token is used by its owner (RFC 8705, section 3; RFC 9449, section 7).

What counts is what the token says, never how it was presented: a token that carries any
confirmation is refused unless exactly that confirmation holds on this very request. So a token bound
to a key is worth nothing under the scheme Bearer, and one that is bound to nothing is not taken under
the scheme DPoP, which would claim a proof that nobody could check.
"""

from __future__ import annotations

import hmac
import re
from typing import TYPE_CHECKING, Final

from gateway.core.identity import CERTIFICATE_CONFIRMATION, KEY_CONFIRMATION
from gateway.core.refusal import Reason, Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.core.identity import PeerCertificate

KNOWN: Final = frozenset({CERTIFICATE_CONFIRMATION, KEY_CONFIRMATION})
_THUMBPRINT: Final = re.compile(r"[A-Za-z0-9_-]{43}")  # base64url SHA-256 (RFC 7638)

UNKNOWN: Final = Refusal(Reason.TOKEN_BINDING, "The token is bound in a way that is not supported here.")
NO_CERTIFICATE: Final = Refusal(
    Reason.TOKEN_BINDING, "The token is bound to a client certificate, and none was presented."
)
OTHER_CERTIFICATE: Final = Refusal(Reason.TOKEN_BINDING, "The token is bound to another client certificate.")
NO_PROOF: Final = Refusal(
    Reason.TOKEN_BINDING, "The token is bound to a key: it is accepted under the scheme DPoP alone."
)
UNBOUND: Final = Refusal(
    Reason.TOKEN_BINDING, "The token is bound to no key: it is not accepted under the scheme DPoP."
)


def proof_key(claims: Mapping[str, object]) -> str | None:
    """Return the thumbprint of the key that a token is bound to, or None; only after `check_binding`."""
    confirmation = claims.get("cnf")
    thumbprint = confirmation.get(KEY_CONFIRMATION) if isinstance(confirmation, dict) else None
    return thumbprint if isinstance(thumbprint, str) else None


def check_binding(
    claims: Mapping[str, object], certificate: PeerCertificate | None, *, has_proof: bool = False
) -> Refusal | None:
    """Check the token's confirmation claim against this connection and the scheme it came under.

    Args:
        claims: Claims of a verified token.
        certificate: The certificate whose key this connection's handshake proved, or None.
        has_proof: True if the request came under the scheme DPoP: its proof is checked by the caller,
            against the thumbprint that the token names, before anybody is believed.

    Returns:
        None if the token has no `cnf`, or one that holds here as far as is known yet; otherwise why
        it does not.
    """
    if "cnf" not in claims:
        return UNBOUND if has_proof else None
    confirmation = claims["cnf"]
    if not isinstance(confirmation, dict) or not confirmation or not KNOWN.issuperset(confirmation):
        return UNKNOWN
    if CERTIFICATE_CONFIRMATION in confirmation:
        refusal = _check_certificate(confirmation[CERTIFICATE_CONFIRMATION], certificate)
        if refusal is not None:
            return refusal
    if KEY_CONFIRMATION not in confirmation:
        return UNBOUND if has_proof else None
    thumbprint = confirmation[KEY_CONFIRMATION]
    if not isinstance(thumbprint, str) or _THUMBPRINT.fullmatch(thumbprint) is None:
        return UNKNOWN
    return None if has_proof else NO_PROOF


def _check_certificate(thumbprint: object, certificate: PeerCertificate | None) -> Refusal | None:
    if not isinstance(thumbprint, str):
        return UNKNOWN
    if certificate is None:
        return NO_CERTIFICATE
    if not hmac.compare_digest(thumbprint.encode(), certificate.fingerprint.encode()):
        return OTHER_CERTIFICATE
    return None

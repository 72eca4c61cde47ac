"""Decides whether a bound token is used by its owner (RFC 8705, section 3).

What counts is what the token says, never how it was presented: a token that carries any
confirmation is refused unless exactly that confirmation holds on this very connection.
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Final

from gateway.core.refusal import Reason, Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.core.identity import PeerCertificate

THUMBPRINT: Final = "x5t#S256"

UNKNOWN: Final = Refusal(Reason.TOKEN_BINDING, "The token is bound in a way that is not supported here.")
NO_CERTIFICATE: Final = Refusal(
    Reason.TOKEN_BINDING, "The token is bound to a client certificate, and none was presented."
)
OTHER_CERTIFICATE: Final = Refusal(Reason.TOKEN_BINDING, "The token is bound to another client certificate.")


def check_binding(claims: Mapping[str, object], certificate: PeerCertificate | None) -> Refusal | None:
    """Check the token's confirmation claim against this connection.

    Args:
        claims: Claims of a verified token.
        certificate: The certificate whose key this connection's handshake proved, or None.

    Returns:
        None if the token has no `cnf`, or one that holds here; otherwise why it does not.
    """
    if "cnf" not in claims:
        return None
    confirmation = claims["cnf"]
    if not isinstance(confirmation, dict) or confirmation.keys() != {THUMBPRINT}:
        return UNKNOWN
    thumbprint = confirmation[THUMBPRINT]
    if not isinstance(thumbprint, str):
        return UNKNOWN
    if certificate is None:
        return NO_CERTIFICATE
    if not hmac.compare_digest(thumbprint.encode(), certificate.fingerprint.encode()):
        return OTHER_CERTIFICATE
    return None

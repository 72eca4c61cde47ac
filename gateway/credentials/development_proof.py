"""Makes proofs of possession (RFC 9449) for development and tests: right ones, and wrong ones on demand."""

from __future__ import annotations

import hashlib
import secrets
from typing import TYPE_CHECKING

from gateway.credentials.signing import base64url

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gateway.credentials.signing import Signer


def make_proof(
    signer: Signer,
    method: str,
    url: str,
    issued_at: float,
    *,
    token: str | None = None,
    nonce: str | None = None,
    claims: Mapping[str, object] | None = None,
    headers: Mapping[str, object] | None = None,
    omit: Iterable[str] = (),
) -> str:
    """Sign a proof of possession for one request.

    Args:
        signer: The client's key.
        method: `htm`.
        url: `htu`: the URL without query and fragment.
        issued_at: `iat`, seconds since the epoch.
        token: Access token that is sent beside it; its digest becomes `ath`.
        nonce: From the last answer's `DPoP-Nonce`.
        claims: More claims, or other values.
        headers: More header members, or other values.
        omit: Claims and header members to leave out.

    Returns:
        The compact proof.
    """
    payload: dict[str, object] = {
        "jti": secrets.token_urlsafe(16),
        "htm": method,
        "htu": url,
        "iat": int(issued_at),
    }
    if token is not None:
        payload["ath"] = base64url(hashlib.sha256(token.encode()).digest()).decode()
    if nonce is not None:
        payload["nonce"] = nonce
    payload |= dict(claims or {})
    header = {"typ": "dpop+jwt", "alg": signer.algorithm, "jwk": signer.public} | dict(headers or {})
    left_out = frozenset(omit)
    return signer.sign(
        {name: value for name, value in payload.items() if name not in left_out},
        {name: value for name, value in header.items() if name not in left_out},
    ).decode()

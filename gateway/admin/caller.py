"""Who calls the operators' listener, for the records: known by the digest of a token, never by the token."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

from aiohttp import hdrs

if TYPE_CHECKING:
    from aiohttp import web


def name_caller(request: web.Request, *, has_token: bool) -> str:
    """Name who calls: by the digest of the token that the guard has checked, and by address.

    Args:
        request: A request that the guard let pass.
        has_token: Whether the guard asks for a token: otherwise nobody proves who calls.
    """
    where = f"from {request.remote or 'a unix socket'}"
    if not has_token:
        return f"nobody proven, {where}"
    token = request.headers[hdrs.AUTHORIZATION].removeprefix("Bearer ")
    return f"operator token {sha256(token.encode()).hexdigest()[:16]}, {where}"

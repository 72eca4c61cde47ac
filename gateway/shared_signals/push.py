"""Delivery by push (RFC 8935): one token per request, acknowledged when it is durable.

An endpoint of the operators' listener. The token proves who sent it; a bearer token may be demanded on
top, so that strangers cannot make the gateway verify signatures. Nothing of a token is echoed.
"""

from __future__ import annotations

import asyncio
from hashlib import sha256
from hmac import compare_digest
from typing import TYPE_CHECKING, Final

import msgspec
from aiohttp import hdrs, web

from gateway.core.ports import StoreUnavailable
from gateway.shared_signals.receiver import Rejected
from gateway.stages.identify.compact import MAX_TOKEN_BYTES

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gateway.shared_signals.receiver import Receiver

MEDIA_TYPE: Final = "application/secevent+jwt"
MAX_WAITING: Final = 16  # tokens verified at once; the transmitter sends the others again
BODY_SECONDS: Final = 10.0  # for a whole token to arrive
RETRY_SECONDS: Final = 1


def push_handler(
    receiver: Receiver, secret: str | None, report: Callable[[str, str], None]
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """Return the handler of a transmitter's push endpoint.

    Args:
        receiver: Takes the tokens.
        secret: Bearer token that the transmitter must send, or None.
        report: Told the error code and the check that failed, for the log.
    """
    expected = None if secret is None else sha256(f"Bearer {secret}".encode()).digest()
    room = asyncio.Semaphore(MAX_WAITING)

    async def push(request: web.Request) -> web.StreamResponse:
        if expected is not None:
            given = request.headers.get(hdrs.AUTHORIZATION, "").encode("utf-8", "surrogateescape")
            if not compare_digest(sha256(given).digest(), expected):
                return _refused(401, "authentication_failed")
        if request.content_type != MEDIA_TYPE:
            return _refused(400, "invalid_request")
        try:  # before a place is taken: who sends slowly must not hold those of others
            async with asyncio.timeout(BODY_SECONDS):
                token = await _body(request)
        except TimeoutError:
            return _refused(408, "invalid_request")
        if token is None:
            return _refused(413, "invalid_request")
        if room.locked():
            return web.Response(status=503, headers={hdrs.RETRY_AFTER: str(RETRY_SECONDS)})
        async with room:
            try:
                await receiver.take(token)
            except Rejected as rejected:
                report(rejected.code, rejected.why)
                return _refused(400, rejected.code)
            except StoreUnavailable:
                return web.Response(status=503, headers={hdrs.RETRY_AFTER: str(RETRY_SECONDS)})
        return web.Response(status=202)

    return push


async def _body(request: web.Request) -> bytes | None:
    """Read the body; None if it is longer than a token can be."""
    body = bytearray()
    async for piece in request.content.iter_any():
        body += piece
        if len(body) > MAX_TOKEN_BYTES:
            return None
    return bytes(body)


def _refused(status: int, code: str) -> web.Response:
    response = web.Response(
        status=status, body=msgspec.json.encode({"err": code}), content_type="application/json"
    )
    response.headers[hdrs.CONTENT_LANGUAGE] = "en"
    if status == 401:  # noqa: PLR2004 - RFC 9110, section 15.5.2
        response.headers[hdrs.WWW_AUTHENTICATE] = 'Bearer realm="signals"'
    return response

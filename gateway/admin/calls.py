"""How operators call, and how they are answered: what all parts of the admin API share.

Bodies are strict JSON. Who calls is known by the digest of the token. A browser is no operator: what carries
an Origin is refused, so that no web page can change anything through somebody's loopback.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec
from aiohttp import hdrs, web

from gateway.core.refusal import Refusal
from gateway.stages.inspect.strict_json import parse

if TYPE_CHECKING:
    from collections.abc import Mapping

T = TypeVar("T")

_encode: Final = msgspec.json.Encoder().encode


def is_browser(request: web.Request) -> bool:
    """Tell whether a web page may have sent it."""
    return hdrs.ORIGIN in request.headers


async def read(request: web.Request, kind: type[T], members: str) -> T | str:
    """Read a body strictly, or say what is wrong with it in our own words.

    Args:
        request: The call.
        kind: What the body must be.
        members: What to say of one that is something else.
    """
    if is_browser(request) or request.content_type != "application/json":
        return "Send Content-Type: application/json, and no Origin."
    document = parse(await request.read())
    if isinstance(document, Refusal):
        return document.detail
    try:
        return msgspec.convert(document[0], kind)
    except msgspec.ValidationError:
        return members


def caller(request: web.Request, *, has_token: bool) -> str:
    """Name who calls: by the digest of the token that the guard has checked, and by address."""
    where = f"from {request.remote or 'a unix socket'}"
    if not has_token:
        return f"operator without token, {where}"
    token = request.headers[hdrs.AUTHORIZATION].removeprefix("Bearer ")
    return f"operator token {sha256(token.encode()).hexdigest()[:16]}, {where}"


def problem(status: int, title: str, detail: str) -> web.Response:
    """Return a problem document (RFC 9457)."""
    document = {"title": title, "status": status, "detail": detail}
    return web.Response(body=_encode(document), status=status, content_type="application/problem+json")


def answer(value: Mapping[str, object], status: int = 200) -> web.Response:
    """Return what was asked for."""
    return web.Response(body=_encode(value), status=status, content_type="application/json")

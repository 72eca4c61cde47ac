"""The operators' listener: health, metrics, keys, status, revocations, events. Never on the data listener.

Decides nothing about requests to models, and changes two things: who is revoked (see `operations`), and what
counts as used of limits (see `limits`). Where several workers serve, this is their supervisor's listener, and
what it does not know one of them answers. Health and the public keys are open to whoever reaches the
listener, endpoints of security events prove their callers themselves; the rest asks for the token, where one
is configured, compared in constant time.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from hashlib import sha256
from hmac import compare_digest
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final, final

import msgspec
from aiohttp import hdrs, web

from gateway.admin.configuration import Configuration, add_configuration
from gateway.admin.limits import LimitOperations, add_limits
from gateway.admin.operations import MAX_BODY, Operations, add_operations

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from aiohttp.typedefs import Handler, Middleware

    from gateway.core.ports import Clock

__all__ = [
    "AdminSources",
    "Configuration",
    "LimitOperations",
    "Operations",
    "build_admin",
    "build_admin_runner",
]

OPEN_PATHS: Final = frozenset({"/livez", "/readyz", "/.well-known/jwks.json"})
SIGNALS: Final = "/signals/"
METRICS_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
KEY_SECONDS: Final = 300  # how long a backend may keep our public keys

_encode: Final = msgspec.json.Encoder().encode


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class AdminSources:
    """Where the answers come from. All but `metrics` run on the loop and must not block.

    Args:
        readiness: Name of each thing that serving needs, and whether it is well.
        metrics: Prometheus text; takes milliseconds, so it runs in a thread.
        keys: The JWK Set of the gateway's own assertions.
        status: Version, uptime, configuration: what an operator asks first.
        operations: What operators may do; None: that is answered elsewhere.
        endpoints: Handlers of POST by path, `/signals/` and a name, that prove whoever calls them on their
            own: security events. Looked up with every request, for a reload changes them.
        clock: Time.
        limits: What operators may see and forgive of limits; None: likewise.
        configuration: What operators may do about the configuration; None: that is answered elsewhere.
    """

    readiness: Callable[[], Mapping[str, bool]]
    metrics: Callable[[], bytes]
    keys: Callable[[], Mapping[str, object]]
    status: Callable[[], Mapping[str, object]]
    operations: Operations | None
    clock: Clock
    endpoints: Mapping[str, Handler] = field(default_factory=dict)
    limits: LimitOperations | None = None
    configuration: Configuration | None = None


def build_admin(
    sources: AdminSources, *, token: str | None = None, elsewhere: Handler | None = None
) -> web.Application:
    """Build the application of the admin listener.

    Args:
        sources: Where the answers come from.
        token: Bearer token that everything but health and keys demands; None demands none, for a loopback
            listener.
        elsewhere: Answers every other path and method, and asks for a token itself; None: nothing does.

    Returns:
        The application; run it with `build_admin_runner`.

    Raises:
        ValueError: The token is empty.
    """
    if token == "":
        raise ValueError("the admin token is empty")
    guard = _guard(token, sources.endpoints, elsewhere)
    app = web.Application(middlewares=[guard], client_max_size=MAX_BODY)
    app.on_response_prepare.append(_strip)

    async def alive(_request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def ready(_request: web.Request) -> web.Response:
        parts = sources.readiness()
        is_ready = all(parts.values())
        return _json({"ready": is_ready, "parts": dict(parts)}, status=200 if is_ready else 503)

    async def metrics(_request: web.Request) -> web.Response:
        text = await asyncio.to_thread(sources.metrics)
        return web.Response(body=text, headers={hdrs.CONTENT_TYPE: METRICS_TYPE})

    async def keys(_request: web.Request) -> web.Response:
        answer = _json(sources.keys())
        answer.headers[hdrs.CACHE_CONTROL] = f"public, max-age={KEY_SECONDS}"
        return answer

    async def status(_request: web.Request) -> web.Response:
        return _json(sources.status())

    app.router.add_get("/livez", alive)
    app.router.add_get("/readyz", ready)
    app.router.add_get("/metrics", metrics)
    app.router.add_get("/.well-known/jwks.json", keys)
    app.router.add_get("/v1/status", status)
    _add_optional(app, sources, elsewhere, has_token=token is not None)
    return app


def _add_optional(
    app: web.Application, sources: AdminSources, elsewhere: Handler | None, *, has_token: bool
) -> None:
    if sources.configuration is not None:
        add_configuration(app, sources.configuration, has_token=has_token)
    if sources.operations is not None:
        add_operations(app, sources.operations, sources.clock, has_token=has_token)
    if sources.limits is not None:
        add_limits(app, sources.limits, has_token=has_token)
    if elsewhere is not None:
        app.router.add_route("*", "/{path:.*}", elsewhere)
    else:
        app.router.add_post(f"{SIGNALS}{{name}}", _endpoint(sources.endpoints))


def build_admin_runner(app: web.Application, *, shutdown_seconds: float = 5.0) -> web.AppRunner:
    """Return the runner of the admin application: no access log, no signal handlers, bounded shutdown."""
    return web.AppRunner(app, handle_signals=False, access_log=None, shutdown_timeout=shutdown_seconds)


def _endpoint(endpoints: Mapping[str, Handler]) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        handler = endpoints.get(request.path)
        if handler is None:
            raise web.HTTPNotFound
        return await handler(request)

    return handle


def _guard(token: str | None, endpoints: Collection[str], elsewhere: Handler | None) -> Middleware:
    # digests have equal lengths: the comparison tells nothing about the token's
    expected = None if token is None else sha256(f"Bearer {token}".encode()).digest()

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        is_ours = elsewhere is None or request.match_info.handler is not elsewhere
        is_open = request.path in OPEN_PATHS or request.path in endpoints
        if expected is not None and is_ours and not is_open:
            given = request.headers.get(hdrs.AUTHORIZATION, "").encode("utf-8", "surrogateescape")
            if not compare_digest(sha256(given).digest(), expected):
                answer = _json({"title": "A credential is required", "status": 401}, status=401)
                answer.headers[hdrs.WWW_AUTHENTICATE] = 'Bearer realm="admin"'
                return answer
        if expected is None and not _proves_itself(request.path) and _is_by_name(request):
            return _json({"title": "This host is not served here", "status": 421}, status=421)
        try:
            return await handler(request)
        except web.HTTPException as refusal:
            return _json({"title": refusal.reason, "status": refusal.status}, status=refusal.status)

    return guard


def _proves_itself(path: str) -> bool:
    """Tell whether what is under a path is for everybody, or proves its callers on its own."""
    return path in OPEN_PATHS or path.startswith(SIGNALS)


def _is_by_name(request: web.Request) -> bool:
    """Tell whether a request came by a name: any web page's own may lead to this address (DNS rebinding)."""
    if not request.remote:  # a unix socket: no browser reaches it
        return False
    name, _, port = request.host.rpartition(":")
    host = name if port.isdecimal() else request.host
    try:
        ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return host.lower() != "localhost"
    return False


def _json(value: object, *, status: int = 200) -> web.Response:
    kind = "application/json" if status in {200, 503} else "application/problem+json"
    return web.Response(body=_encode(value), status=status, content_type=kind)


async def _strip(_request: web.Request, response: web.StreamResponse) -> None:
    """Remove what tells about us, add what keeps answers out of caches and pages."""
    response.headers.pop(hdrs.SERVER, None)
    response.headers.setdefault(hdrs.CACHE_CONTROL, "no-store")
    response.headers["X-Content-Type-Options"] = "nosniff"

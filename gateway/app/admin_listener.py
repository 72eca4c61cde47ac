"""Opens the operators' address: for a process that serves alone, or for the supervisor of several."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog
from aiohttp import web

from gateway.app.listening import said, written

if TYPE_CHECKING:
    from gateway.app.compilation import Compilation
    from gateway.config.addresses import Listen


async def start_admin(runner: web.AppRunner, compilation: Compilation, listen: Listen) -> str:
    """Listen for operators; say so if nobody proves that they are some.

    Args:
        runner: The application, set up.
        compilation: Has TLS and the token.
        listen: Where.

    Returns:
        The address, as the configuration writes it, with its real port.

    Raises:
        OSError: It cannot be listened on.
    """
    if compilation.admin_token is None:
        structlog.get_logger().warning(
            "operators-unproven",
            mend="set `admin.token`: whoever reaches the admin listener may revoke, and lift",
        )
    tls = compilation.admin_tls
    site: web.BaseSite
    if listen.path is not None:
        site = web.UnixSite(runner, str(listen.path), ssl_context=tls)
    else:
        site = web.TCPSite(runner, listen.host, listen.port, ssl_context=tls)
    with said(listen):
        await site.start()
    return written(listen, runner.addresses[0])

"""Opens the operators' address: for a process that serves alone, or for the supervisor of several."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from gateway.app.listening import said, written

if TYPE_CHECKING:
    import ssl

    from gateway.config.addresses import Listen


async def start_admin(runner: web.AppRunner, listen: Listen, tls: ssl.SSLContext | None) -> str:
    """Listen for operators.

    Args:
        runner: The application, set up.
        listen: Where.
        tls: Context, or None.

    Returns:
        The address, as the configuration writes it, with its real port.

    Raises:
        OSError: It cannot be listened on.
    """
    site: web.BaseSite
    if listen.path is not None:
        site = web.UnixSite(runner, str(listen.path), ssl_context=tls)
    else:
        site = web.TCPSite(runner, listen.host, listen.port, ssl_context=tls)
    with said(listen):
        await site.start()
    return written(listen, runner.addresses[0])

"""Tokens for backends come from servers that can be believed, and nothing else takes their place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gateway.config.checks.findings import Finding
from gateway.config.checks.material import Files
from gateway.config.checks.opaque import check_authentication
from gateway.config.checks.servers import check_authorities, check_networks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.config.addresses import Url
    from gateway.config.checks.findings import Subject
    from gateway.config.source import Path

LONGEST: Final = 30.0  # seconds


def check_exchanges(subject: Subject) -> Iterator[Finding]:
    """Check every backend's exchange."""
    files = Files(subject.now)
    for name, backend in subject.settings.backends.items():
        exchange = backend.exchange
        if exchange is None:
            continue
        path: Path = ("backends", name, "exchange")
        if backend.credential is not None:
            message = "the backend would be shown two bearer tokens: its `credential` and the exchanged one"
            yield Finding((*path[:2], "credential"), message, "keep one of the two", (path,), is_key=True)
        if backend.audience is not None:
            message = "`audience` has no effect: this backend gets a token, and no assertion"
            yield Finding((*path[:2], "audience"), message, "remove it", (path,), is_key=True)
        if exchange.endpoint.scheme == "http" and not exchange.endpoint.is_local:
            message = "callers' tokens would be sent in the clear"
            yield Finding((*path, "endpoint"), message, "write `https://`")
        if exchange.timeout > LONGEST:
            message = "a client would wait this long for a server that does not answer"
            yield Finding((*path, "timeout"), message, "write at most `30s`")
        urls: dict[Path, Url | None] = {(*path, "endpoint"): exchange.endpoint}
        yield from check_networks((*path, "networks"), exchange.networks, urls)
        yield from check_authorities((*path, "ca"), exchange.ca, urls)
        yield from files.authorities((*path, "ca"), exchange.ca)
        yield from check_authentication((*path, "authentication"), exchange.authentication, files)

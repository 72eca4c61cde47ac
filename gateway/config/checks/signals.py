"""Transmitters of security events: each can be heard, and speaks for issuers that are there."""

from __future__ import annotations

from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Final

from gateway.config.checks.findings import Finding
from gateway.config.checks.material import Files
from gateway.config.checks.servers import check_authorities, check_networks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.config.addresses import Url
    from gateway.config.checks.findings import Subject
    from gateway.config.signals import Transmitter
    from gateway.config.source import Path

ISSUERS: Final[tuple[str, ...]] = ("identity", "issuers")


def check_signals(subject: Subject) -> Iterator[Finding]:
    """Check every transmitter."""
    settings = subject.settings
    files = Files(subject.now)
    names: set[str] = set()
    for index, one in enumerate(settings.identity.signals):
        path: Path = ("identity", "signals", index)
        if one.name in names:
            yield Finding((*path, "name"), f"`{one.name}` stands twice", "give each its own name")
        names.add(one.name)
        if one.push is None and one.poll is None:
            message = "nothing of this transmitter would ever arrive"
            yield Finding(
                path, message, "add `push: {}`, or `poll: {endpoint: ..., token: ...}`", is_key=True
            )
        if one.push is not None and settings.admin is None:
            message = "there is no operators' listener, which events are pushed to"
            yield Finding((*path, "push"), message, "add `admin: {listen: ...}`", (("admin",),), is_key=True)
        yield from _check_voice(subject, path, one)
        urls = _urls(path, one)
        for place, url in urls.items():
            if url is not None and url.scheme == "http" and not url.is_local:
                message = "whoever sits on the network path could read, hold back or replace what is sent"
                yield Finding(place, message, "write `https://`")
        yield from check_networks((*path, "networks"), one.networks, urls)
        yield from check_authorities((*path, "ca"), one.ca, urls)
        yield from _check_files(path, one, files)


def _check_voice(subject: Subject, path: Path, one: Transmitter) -> Iterator[Finding]:
    known = {issuer.issuer for issuer in subject.settings.identity.issuers}
    if one.speaks_for is None:
        if one.issuer not in known:
            message = f"`{one.issuer}` is no issuer of tokens here: its events would concern nobody"
            mend = "add `speaks_for:` with the issuers whose subjects it may revoke"
            yield Finding((*path, "issuer"), message, mend, (ISSUERS, (*path, "speaks_for")))
        return
    for number, issuer in enumerate(one.speaks_for):
        if issuer not in known and not issuer.startswith("spiffe://"):
            message = f"`{issuer}` is no issuer of tokens here"
            mend = "write one of `identity.issuers`, or `spiffe://` and a trust domain"
            yield Finding((*path, "speaks_for", number), message, mend, (ISSUERS,))


def _urls(path: Path, one: Transmitter) -> dict[Path, Url | None]:
    return {
        (*path, "jwks"): one.jwks,
        (*path, "poll", "endpoint"): None if one.poll is None else one.poll.endpoint,
        (*path, "verification", "endpoint"): None if one.verification is None else one.verification.endpoint,
    }


def _check_files(path: Path, one: Transmitter, files: Files) -> Iterator[Finding]:
    yield from files.authorities((*path, "ca"), one.ca)
    if one.jwks.scheme == "file":
        yield from files.readable((*path, "jwks"), FilePath(one.jwks.path))
    if one.push is not None:
        yield from files.secret((*path, "push", "token"), one.push.token, is_ours=True)
    for key, part in (("poll", one.poll), ("verification", one.verification)):
        yield from files.secret((*path, key, "token"), None if part is None else part.token)

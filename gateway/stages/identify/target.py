"""Decides whether a proof was made for this very URL (RFC 9449, section 4.3, check 9).

Ours is made of the configured origins and the canonical path of the request: never of `Host` or a
forwarded header, which whoever relays a stolen proof can choose. Theirs is normalised by syntax and
scheme (RFC 3986, sections 6.2.2 and 6.2.3), and what no normalisation makes equal is another URL.
"""

from __future__ import annotations

import re
from typing import Final

DEFAULT_PORTS: Final = {"http": "80", "https": "443"}
_URL: Final = re.compile(
    r"(https?)://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]*))?(/[!-~]*)?", re.IGNORECASE | re.ASCII
)
_ESCAPE: Final = re.compile(r"%([0-9A-Fa-f]{2})")
_UNRESERVED: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


def _escape(match: re.Match[str]) -> str:
    """Decode what needs no escape, and write the others in upper case (RFC 3986, section 6.2.2)."""
    character = chr(int(match[1], 16))
    return character if character in _UNRESERVED else match[0].upper()


def _without_dots(path: str) -> str:
    """Remove dot segments (RFC 3986, section 5.2.4) of an absolute path."""
    kept: list[str] = []
    segments = path[1:].split("/")
    for segment in segments:
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    if segments[-1] in {".", ".."}:
        kept.append("")
    return "/" + "/".join(kept)


def normalise(url: str) -> str | None:
    """Normalise an absolute http or https URL, without its query and fragment.

    Args:
        url: `htu` of a proof; attacker-controlled, a few KiB at most.

    Returns:
        The URL in its one spelling, or None if it is none, or names a user.
    """
    match = _URL.fullmatch(url.partition("#")[0].partition("?")[0])
    if match is None:
        return None
    scheme, host, port, path = match.groups()
    scheme = scheme.lower()
    suffix = "" if not port or port == DEFAULT_PORTS[scheme] else f":{port}"
    return f"{scheme}://{host.lower()}{suffix}{_without_dots(_ESCAPE.sub(_escape, path or '/'))}"


def find_target(url: str, origins: tuple[str, ...], path: str) -> str | None:
    """Find the URL of ours that a proof was made for.

    Args:
        url: `htu` of the proof; attacker-controlled.
        origins: Scheme, host and port, as the configuration normalises them.
        path: Canonical path of the request.

    Returns:
        This path at one of our origins if that is what the URL means, or None.
    """
    ours = [origin + path for origin in origins]
    if url in ours:
        return url
    meant = normalise(url)
    return meant if meant in ours else None

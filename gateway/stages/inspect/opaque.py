"""Bytes that nobody reads: they pass exactly, under the route's bounds.

For uploads and protocols that the gateway has no dialect for. Decides nothing; what it says about the
body is its size and digest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from gateway.core.prompt import Prompt

if TYPE_CHECKING:
    from gateway.core.call import Call
    from gateway.stages.inspect.fingerprint import Fingerprint

NAME: Final = "opaque"


@final
class Opaque:
    """Inspector that reads nothing.

    Args:
        fingerprint: Digest of the body.
    """

    __slots__ = ("_fingerprint",)

    def __init__(self, fingerprint: Fingerprint) -> None:
        self._fingerprint = fingerprint

    def __call__(self, body: bytes, call: Call, /) -> tuple[Prompt, bytes, bytes]:
        """Pass a body as it is; see `gateway.core.ports.Inspector`."""
        content_type = call.headers.get(b"content-type", b"")
        if not body:
            return Prompt(), b"", content_type
        return Prompt(size=len(body), fingerprint=self._fingerprint(body)), body, content_type

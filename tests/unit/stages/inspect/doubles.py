"""Small real parts for tests of inspection: calls with the headers that matter."""

from __future__ import annotations

import msgspec

from gateway.core.call import Call
from gateway.core.identity import Peer
from gateway.core.refusal import Reason, Refusal

JSON_HEAD = {b"content-type": b"application/json"}
KEY = b"k" * 32


class NoBody:
    """A body that inspection never reads: it gets the bytes."""

    async def read(self, limit: int, seconds: float, /) -> bytes:
        raise AssertionError


def call(method: str = "POST", headers: dict[bytes, bytes] | None = None, path: str = "/") -> Call:
    """Make a call; JSON by default."""
    return Call("id", method, path, "", JSON_HEAD if headers is None else headers, Peer("::1", 1), NoBody())


def chat(**members: object) -> bytes:
    """Make the smallest chat body, with more members."""
    document: dict[str, object] = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    return msgspec.json.encode(document | members)


def reason(verdict: object) -> Reason | None:
    """Return why a verdict refuses, or None if it does not."""
    return verdict.reason if isinstance(verdict, Refusal) else None

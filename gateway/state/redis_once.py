"""What may be used once in a whole fleet, in Redis or Valkey: one `SET NX PX` per claim.

The server decides who was first. What is not a clear yes or no, an error, a lost connection, a reply
that never came, is no answer: nobody knows, so nobody may go on. A claim whose reply was lost may have
been stored; then whoever tries again with the same name is refused, which is the safe side.

Redis can deny here, or forget early, but what it holds names nobody: keys carry a keyed digest.
"""

from __future__ import annotations

import asyncio
from hashlib import blake2b
from math import ceil
from typing import TYPE_CHECKING, Final, final

import hiredis

from gateway.core.ports import StoreUnavailable
from gateway.state.connection import Answer, pack
from gateway.state.link import FATAL, word

if TYPE_CHECKING:
    from gateway.state.topology import Links

DIGEST_BYTES: Final = 16


@final
class RedisOnce:
    """Names claimed in Redis or Valkey. Implements `gateway.core.ports.Once`.

    Args:
        link: Connections that come back; whoever owns them starts and stops them.
        prefix: What all keys begin with.
        blinding: Key of the digest that stands for a name; the same in the whole fleet. At most 64 bytes.
    """

    __slots__ = ("_blinding", "_link", "_prefix", "unavailable")

    def __init__(self, link: Links, *, prefix: str = "gateway:", blinding: bytes = b"") -> None:
        self._link = link
        self._prefix = prefix.encode()
        self._blinding = blinding
        self.unavailable = 0

    async def claim(self, name: bytes, seconds: float, /) -> bool:
        """Claim a name for a time, over the whole fleet.

        Raises:
            StoreUnavailable: No usable answer in time.
        """
        digest = blake2b(name, digest_size=DIGEST_BYTES, key=self._blinding).hexdigest().encode()
        connection = self._link.at(digest)
        if connection is None:
            raise self._unknown()
        key = b"%b{%b}:once" % (self._prefix, digest)
        answer = Answer(asyncio.get_running_loop())
        connection.send(pack("SET", key, "1", "NX", "PX", max(1, ceil(seconds * 1000.0))), answer)
        reply = await answer.future
        if reply == b"OK":
            return True
        if reply is None:
            return False
        if isinstance(reply, hiredis.ReplyError) and word(reply) in FATAL:
            connection.abort(word(reply))  # nothing better can come from it
        raise self._unknown()

    def _unknown(self) -> StoreUnavailable:
        self.unavailable += 1
        return StoreUnavailable()

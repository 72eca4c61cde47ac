"""What the client sent: one request, its head already framed and canonical.

Made by the wire alone, from bytes that passed every framing rule (docs/behaviour.md). Header names
are lower case; a name that may stand only once does; names the client put in `Connection` are gone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from gateway.core.memo import RequestMemo

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.core.identity import Peer
    from gateway.core.ports import Body


@final
class Call:
    """One request as the wire hands it over. Attacker-controlled, but well framed.

    Args:
        id: Request id of ours, unique over the fleet; the `instance` of every problem document.
        method: Upper-case method.
        path: Canonical path: what is matched is what is forwarded.
        query: Raw query without the question mark, "" if none.
        headers: Lower-case names to values; repeated list headers are joined by ", ".
        peer: The connection's other end.
        body: Reads the body, bounded.
        memo: What was made of this head before; shared by all requests of a connection with this very head.
    """

    __slots__ = ("body", "headers", "id", "memo", "method", "path", "peer", "query")

    def __init__(
        self,
        id: str,
        method: str,
        path: str,
        query: str,
        headers: Mapping[bytes, bytes],
        peer: Peer,
        body: Body,
        memo: RequestMemo | None = None,
    ) -> None:
        self.id = id
        self.method = method
        self.path = path
        self.query = query
        self.headers = headers
        self.peer = peer
        self.body = body
        self.memo = RequestMemo() if memo is None else memo

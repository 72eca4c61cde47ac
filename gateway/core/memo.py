"""What follows from a head alone, kept for as long as a connection repeats that head.

Made by the wire, one per head; filled and read by the stage that each field names. Holds a digest
and field lines, never a decision: who may do what is decided for every request.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, final

if TYPE_CHECKING:
    from gateway.core.route import Route


@final
class RequestMemo:
    """What `identify` and `forward` made of the head of a request.

    Args:
        digest: SHA-256 of the token that it carries; b"": nobody has looked yet.
        route: The route that it was made for; None: nothing was made yet.
        content_type: The content type that it was made for.
        line: Request line with CRLF, as it leaves.
        fields: Field lines that leave, without those that differ from request to request.
        patience: Seconds that the client waits for an answer.
    """

    __slots__ = ("content_type", "digest", "fields", "line", "patience", "route")

    def __init__(self) -> None:
        self.digest = b""
        self.route: Route | None = None
        self.content_type = b""
        self.line = b""
        self.fields = b""
        self.patience = inf


@final
class AnswerMemo:
    """What `forward` made of the head of an answer.

    Args:
        route: The route that `fields` was made for; None: nothing was made yet.
        fields: Field lines that the client gets, without those that differ from answer to answer.
        has_date: True if a Date field is among them.
        content_type: The content type, b"" for none; None: nobody has looked yet.
    """

    __slots__ = ("content_type", "fields", "has_date", "route")

    def __init__(self) -> None:
        self.route: Route | None = None
        self.fields = b""
        self.has_date = False
        self.content_type: bytes | None = None

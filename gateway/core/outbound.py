"""One request as it leaves for a backend: made by `forward` alone, written by the wire."""

from __future__ import annotations

from math import inf
from typing import final


@final
class Outbound:
    """One request as it leaves: everything canonical, nothing of the client's but what is allowed.

    Args:
        backend: Name of the backend.
        line: Request line with CRLF.
        headers: Field lines, each with CRLF, without Host and framing fields.
        body: The whole body.
        is_idempotent: True if the method may be repeated (RFC 9110, section 9.2.2).
        has_no_answer_body: True for HEAD.
        patience: Seconds after which the client does not wait for an answer any more.
    """

    __slots__ = ("backend", "body", "has_no_answer_body", "headers", "is_idempotent", "line", "patience")

    def __init__(
        self,
        backend: str,
        line: bytes,
        headers: bytes,
        body: bytes,
        *,
        is_idempotent: bool = False,
        has_no_answer_body: bool = False,
        patience: float = inf,
    ) -> None:
        self.backend = backend
        self.line = line
        self.headers = headers
        self.body = body
        self.is_idempotent = is_idempotent
        self.has_no_answer_body = has_no_answer_body
        self.patience = patience

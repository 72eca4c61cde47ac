"""The one record of one request. Written by the pipeline alone; read by what observes.

Times are monotonic seconds; a stamp of 0.0 means that the request never came that far.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, final

if TYPE_CHECKING:
    from gateway.core.call import Call
    from gateway.core.identity import Identity, Peer
    from gateway.core.limits import Ledger
    from gateway.core.permit import Permit
    from gateway.core.prompt import Prompt
    from gateway.core.refusal import Refusal
    from gateway.core.route import Route
    from gateway.core.signals import Risk


@final
class Outcome(Enum):
    """How an exchange ended."""

    SERVED = "served"
    REFUSED = "refused"
    FAILED = "failed"  # after the first byte of the answer: the client saw a truncation
    CLIENT_GONE = "client-gone"


@final
class Usage:
    """What an answer used.

    Args:
        input_tokens: As the backend says, or None.
        output_tokens: As the backend says, or None.
        events: Server-sent events seen.
    """

    __slots__ = ("events", "input_tokens", "output_tokens")

    def __init__(self) -> None:
        self.input_tokens: int | None = None
        self.output_tokens: int | None = None
        self.events = 0


@final
class Exchange:
    """Facts of one request, in the order in which they become known."""

    __slots__ = (
        "admitted_at",
        "answered_at",
        "assertion",
        "began_at",
        "bytes_in",
        "bytes_out",
        "call",
        "ended_at",
        "endpoint",
        "entered_at",
        "fault",
        "forwarded_at",
        "id",
        "identified_at",
        "identity",
        "inspected_at",
        "ledger",
        "outcome",
        "peer",
        "permit",
        "prompt",
        "refusal",
        "risk",
        "route",
        "runtime_version",
        "started",
        "status",
        "usage",
    )

    def __init__(self, id: str, peer: Peer, call: Call | None, started: float, began_at: float) -> None:
        self.id = id
        self.peer = peer
        self.call = call  # None: the bytes were no request
        self.started = started  # wall clock, seconds since the epoch
        self.began_at = began_at
        self.identified_at = 0.0
        self.entered_at = 0.0
        self.admitted_at = 0.0
        self.inspected_at = 0.0
        self.forwarded_at = 0.0
        self.answered_at = 0.0
        self.ended_at = 0.0
        self.identity: Identity | None = None
        self.route: Route | None = None
        self.ledger: Ledger | None = None
        self.prompt: Prompt | None = None
        self.permit: Permit | None = None
        self.risk: Risk | None = None
        self.assertion: str | None = None  # jti of the assertion that the backend got
        self.endpoint: str | None = None  # address of the backend's endpoint
        self.status = 0  # what the client got; 0: nothing
        self.bytes_in = 0
        self.bytes_out = 0
        self.usage = Usage()
        self.outcome = Outcome.FAILED
        self.refusal: Refusal | None = None
        self.fault: str | None = None  # class name of an unexpected exception; never its text
        self.runtime_version = ""

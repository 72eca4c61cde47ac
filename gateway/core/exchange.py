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
    """Facts of one request, in the order in which they become known.

    What is not known yet is a default of the class, so that a new exchange costs few assignments.
    """

    identified_at = 0.0
    entered_at = 0.0
    admitted_at = 0.0
    inspected_at = 0.0
    forwarded_at = 0.0
    answered_at = 0.0
    ended_at = 0.0
    identity: Identity | None = None
    route: Route | None = None
    ledger: Ledger | None = None
    prompt: Prompt | None = None
    permit: Permit | None = None
    risk: Risk | None = None
    assertion: str | None = None  # jti of the assertion that the backend got
    endpoint: str | None = None  # address of the backend's endpoint
    status = 0  # what the client got; 0: nothing
    bytes_in = 0
    bytes_out = 0
    refusal: Refusal | None = None
    fault: str | None = None  # class name of an unexpected exception; never its text
    runtime_version = ""

    def __init__(self, id: str, peer: Peer, call: Call | None, started: float, began_at: float) -> None:
        self.id = id
        self.peer = peer
        self.call = call  # None: the bytes were no request
        self.started = started  # wall clock, seconds since the epoch
        self.began_at = began_at
        self.outcome = Outcome.FAILED
        self.usage = Usage()

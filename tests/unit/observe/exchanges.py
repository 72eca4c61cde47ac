"""Exchanges and a clock for the tests of what observes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from gateway.core.call import Call
from gateway.core.exchange import Exchange, Outcome
from gateway.core.identity import Identity, Peer, PeerCertificate
from gateway.core.limits import Ledger, RouteLimits
from gateway.core.permit import issue_entry, issue_permit
from gateway.core.prompt import Prompt
from gateway.core.route import Requirements, Route
from gateway.core.signals import NO_RISK

if TYPE_CHECKING:
    from gateway.core.refusal import Refusal

ID = "0192f3a4b5c6d7e8f90a1b2c3d4e5f60"
UNUSED: Any = None  # ports that nothing here calls

CERTIFICATE = PeerCertificate(
    "fingerprint", "CN=alice", "CN=ca", "01", (), (), None, not_before=0.0, not_after=2e9
)
PEER = Peer("10.0.0.1", 4711, CERTIFICATE, "TLSv1.3")
ALICE = Identity(
    "https://idp.example.org|alice",
    "https://idp.example.org",
    "alice",
    ("jwt", "mtls"),
    frozenset({"researcher"}),
    2e9,
    certificate="fingerprint",
    token="0123456789abcdef",
    token_id="jti-1",
    client_id="app",
)
ANONYMOUS = Identity("anonymous|10.0.0.1", "", "", (), frozenset({"public"}), 2e9)
ROUTE = Route(
    "chat",
    frozenset({"POST"}),
    "/v1/chat/completions",
    "llama",
    "openai.chat",
    Requirements(),
    UNUSED,
    RouteLimits("chat"),
    UNUSED,
    UNUSED,
)


class ManualClock:
    """A clock that only tests move."""

    def __init__(self, wall: float = 1_700_000_000.0, tick: float = 100.0) -> None:
        self.now = wall
        self.ticks = tick

    def wall(self) -> float:
        return self.now

    def tick(self) -> float:
        return self.ticks


def arrived(*, path: str = "/v1/chat/completions", headers: dict[bytes, bytes] | None = None) -> Exchange:
    """Return an exchange whose head was read and nothing more."""
    call = Call(ID, "POST", path, "", headers or {}, PEER, UNUSED)
    ex = Exchange(ID, PEER, call, 1_700_000_000.25, 100.0)
    ex.ended_at = 100.001
    ex.runtime_version = "c0ffee"
    return ex


def refused(refusal: Refusal, *, identity: Identity | None = None, **fields: Any) -> Exchange:
    """Return an exchange that was refused early."""
    ex = arrived(**fields)
    ex.identity = identity
    ex.refusal = refusal
    ex.outcome = Outcome.REFUSED
    return ex


def malformed() -> Exchange:
    """Return an exchange whose bytes were no request."""
    ex = Exchange(ID, replace(PEER, certificate=None, tls=None), None, 1_700_000_000.0, 100.0)
    ex.ended_at = 100.0005
    return ex


def served(*, model: str | None = "llama-3-8b", identity: Identity = ALICE) -> Exchange:
    """Return an exchange that came all the way."""
    ex = arrived(headers={b"traceparent": b"00-" + b"ab" * 16 + b"-" + b"cd" * 8 + b"-01"})
    ex.identity, ex.route = identity, ROUTE
    ex.permit = issue_permit(issue_entry(identity, ROUTE), model, "researchers-by-day")
    ex.prompt = Prompt(model, stream=True, output_cap=64)
    ex.ledger, ex.risk = Ledger(), NO_RISK
    ex.identified_at, ex.entered_at, ex.admitted_at = 100.00001, 100.00003, 100.00006
    ex.inspected_at, ex.forwarded_at = 100.0001, 100.00015
    ex.answered_at, ex.ended_at = 100.2, 100.5
    ex.assertion, ex.endpoint, ex.status = "assertion-1", "10.0.1.5:8000", 200
    ex.bytes_in, ex.bytes_out = 1000, 512
    ex.usage.input_tokens, ex.usage.output_tokens, ex.usage.events = 10, 12, 14
    ex.outcome = Outcome.SERVED
    return ex

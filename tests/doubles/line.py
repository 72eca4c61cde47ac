"""The whole line between doubles: real stages, with one part per stage that a test can make refuse or fail."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from gateway.core.call import Call
from gateway.core.identity import Identity, Peer, PeerCertificate
from gateway.core.limits import RateLimit, RouteLimits
from gateway.core.prompt import Prompt
from gateway.core.route import Requirements, Route, RouteTable
from gateway.core.signals import History, Risk, Signal
from gateway.pipeline import Gateway
from gateway.runtime import Runtime
from gateway.stages.identify import Identification
from gateway.stages.refuse import Problems
from tests.doubles.outside import (
    WALL,
    Failing,
    FakeBackends,
    FakeBody,
    FakeBudgets,
    FakeCounters,
    FakeMeter,
    FakeOnward,
    FakeRecorder,
    FakeReply,
    FakeStore,
    ManualClock,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gateway.core.exchange import Exchange
    from gateway.core.refusal import Refusal

TOKEN = "token-of-the-client"
CERTIFICATE = PeerCertificate(
    "fingerprint", "CN=ada", "CN=ca", "1", (), (), "spiffe://example.org/ada", WALL - 1e6, WALL + 1e6
)
PEER = Peer("10.1.2.3", 50000, CERTIFICATE, "TLSv1.3")
STRANGER = Peer("10.1.2.3", 50000, None, "TLSv1.3")
PATH = "/v1/chat/completions"
ID = "0192f3a4b5c6d7e8f90a1b2c3d4e5f60"


class Headers(Failing):
    """Header fields that can fail to be read: the first thing that `identify` looks at."""

    def __init__(self, fields: Mapping[bytes, bytes], events: list[str]) -> None:
        super().__init__(events)
        self.fields = fields

    def keys(self) -> object:
        """Return the names."""
        self.happen("identify")
        return self.fields.keys()

    def get(self, name: bytes, default: bytes | None = None) -> bytes | None:
        """Return a value."""
        return self.fields.get(name, default)

    def __contains__(self, name: object) -> bool:
        return name in self.fields

    def __getitem__(self, name: bytes) -> bytes:
        return self.fields[name]

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.fields)

    def __len__(self) -> int:
        return len(self.fields)


class Policy(Failing):
    """Rules that allow, unless told otherwise. `fails` concerns `decide`, `fails_early` concerns `enter`."""

    def __init__(self, events: list[str]) -> None:
        super().__init__(events)
        self.early: Refusal | None = None
        self.late: Refusal | None = None
        self.fails_early: BaseException | None = None

    def enter(self, identity: Identity, call: Call, now: float, /) -> Refusal | None:
        """Decide by the head."""
        self.events.append("policy.enter")
        if self.fails_early is not None:
            raise self.fails_early
        return self.early

    def decide(
        self, identity: Identity, call: Call, prompt: Prompt, risk: Risk, now: float, /
    ) -> str | Refusal:
        """Decide by everything."""
        self.happen("policy.decide")
        return self.late or "the-rule"


class Inspector(Failing):
    """Takes every body for a prompt, unless told otherwise."""

    def __init__(self, events: list[str]) -> None:
        super().__init__(events)
        self.refusal: Refusal | None = None

    def __call__(self, body: bytes, call: Call, /) -> tuple[Prompt, bytes, bytes] | Refusal:
        """Look at nothing."""
        self.happen("inspect")
        return self.refusal or (Prompt("tiny", size=len(body)), b'{"canonical":true}', b"application/json")


class Detector(Failing):
    """Says nothing, unless given a strength."""

    name = "detector"

    def __init__(self, events: list[str]) -> None:
        super().__init__(events)
        self.strength: float | None = None

    def __call__(self, history: History, prompt: Prompt, /) -> Signal | None:
        """Speak if it has something to say."""
        self.happen("score")
        return None if self.strength is None else Signal("detector", self.strength, "1 of 1")


class Line:
    """A gateway between doubles, and one request to it.

    Every double is an attribute; `events` has every call in order.
    """

    def __init__(self) -> None:
        self.events: list[str] = []
        self.clock = ManualClock()
        self.store = FakeStore(self.events)
        self.budgets = FakeBudgets(self.events)
        self.counters = FakeCounters(self.events)
        self.onward = FakeOnward(self.events)
        self.backends = FakeBackends(self.events)
        self.recorder = FakeRecorder(self.events)
        self.policy = Policy(self.events)
        self.inspector = Inspector(self.events)
        self.detector = Detector(self.events)
        self.meter = FakeMeter(self.events)
        self.body = FakeBody(b'{"model":"tiny"}', self.events)
        self.reply = FakeReply(self.events)
        self.headers = Headers(MappingProxyType({}), self.events)
        self.reports: list[tuple[Exchange, Exception]] = []
        self.route = Route(
            "chat",
            frozenset({"POST"}),
            PATH,
            "llama",
            "openai.chat",
            Requirements(certificate=True),
            self.policy,
            RouteLimits("chat", (RateLimit("60/minute", 60, 60.0, 10),)),
            self.inspector,
            self.meter,
            (self.detector,),
            0.5,
            request_headers=frozenset({b"accept"}),
            answer_headers=frozenset({b"content-type"}),
        )
        self.gateway = Gateway(self.runtime())
        self.peer = PEER
        self.path = PATH

    def runtime(self, version: str = "version-1") -> Runtime:
        """Return a runtime of these doubles."""
        return Runtime(
            version,
            self.clock,
            Identification(),
            RouteTable([self.route]),
            self.store,
            self.budgets,
            self.counters,
            self.onward,
            self.backends,
            self.recorder,
            Problems(f"urn:{version}:", "test", lambda ex, fault: self.reports.append((ex, fault))),
        )

    def set_route(self, **changes: object) -> None:
        """Replace parts of the route."""
        self.route = replace(self.route, **changes)  # type: ignore[arg-type]  # the caller's field names
        self.gateway.runtime = self.runtime()

    def call(self) -> Call:
        """Return the request."""
        return Call(ID, "POST", self.path, "", self.headers, self.peer, self.body)  # type: ignore[arg-type]  # a mapping as far as anybody looks

    def run(self) -> Exchange:
        """Let the line take the request; return its one record."""
        asyncio.run(self.gateway.handle(self.call(), self.reply))
        return self.record()

    def record(self) -> Exchange:
        """Return the one record."""
        [exchange] = self.recorder.exchanges
        return exchange

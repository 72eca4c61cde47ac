"""Routes: which method and path means which model surface, and everything compiled for it.

One canonical path, decided by the wire, is matched here and forwarded as it is: there is no second
normalisation that could disagree. Matching looks at method and path alone, never at the query.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping  # noqa: TC003 - the compiler reads annotations of classes
from dataclasses import dataclass, field
from typing import Final, final

from gateway.core.budgets import RouteBudgets
from gateway.core.limits import RouteLimits  # noqa: TC001 - the compiler reads annotations of classes
from gateway.core.ports import (  # noqa: TC001 - the compiler reads annotations of classes
    Assurance,
    Detector,
    Inspector,
    MeterFactory,
    Policy,
)

# The one path that is no route: what the gateway says of itself (RFC 9728, section 3.1).
WELL_KNOWN_METADATA: Final = "/.well-known/oauth-protected-resource"


@final
@dataclass(frozen=True)
class Bounds:
    """Bounds of one route. Sizes in bytes, times in seconds.

    Args:
        body: Largest request body.
        body_time: From the first byte of the head to the last of the body.
        connect: To open a connection to an endpoint, TLS included.
        first_byte: From the request sent to the head of the answer.
        idle: Longest silence between two pieces of the answer.
        answer: Largest answer.
        answer_time: Longest answer, from its first byte.
    """

    body: int = 1024 * 1024
    body_time: float = 30.0
    connect: float = 5.0
    first_byte: float = 120.0
    idle: float = 60.0
    answer: int = 64 * 1024 * 1024
    answer_time: float = 600.0


@final
@dataclass(frozen=True)
class Continuous:
    """How what was permitted is verified again while it runs. A revocation always ends it.

    Args:
        ends_at_expiry: It ends when the identity is no longer proven.
        ends_by_policy: It ends when the rules, asked again, would not permit it now.
        every: Seconds between two looks; changes of keys, rules and revocations are looked at when they come.
    """

    ends_at_expiry: bool = True
    ends_by_policy: bool = True
    every: float = 1.0


@final
@dataclass(frozen=True)
class Requirements:
    """What a route demands of the credentials, before any rule is asked.

    Args:
        certificate: A verified client certificate.
        token: A verified token.
        bound: The token is bound to the certificate (RFC 8705) or to a key (RFC 9449).
        binding: To which of the two it is bound, where either is not enough: "certificate" or "key"; "" else.
        scopes: All of these OAuth scopes.
        max_age: The token is at most this many seconds old, or None.
        authentication: How strongly and how recently its user must have authenticated, or None.
        key: A gateway key will do where a token is demanded, if it is all of that.
    """

    certificate: bool = False
    token: bool = False
    bound: bool = False
    binding: str = ""
    scopes: frozenset[str] = frozenset()
    max_age: float | None = None
    authentication: Assurance | None = None
    key: bool = False


@final
@dataclass(frozen=True)
class Route:
    """One route, compiled. Immutable: a request keeps the one it was matched to.

    Args:
        name: Unique name.
        methods: Methods it takes.
        path: Pattern: literal segments, `{name}` for one segment, a last `**` for any rest.
        backend: Name of the backend.
        dialect: Name of the dialect that its bodies are in.
        require: What its credentials must be.
        policy: Its allow and deny rules.
        limits: Its limits.
        inspector: Its body checks.
        meter: Makes the meter that reads usage from an answer.
        detectors: What looks for abnormal behaviour.
        risk_bar: Score at which a request is refused, or None to observe only.
        bounds: Sizes and times.
        request_headers: Lower-case names that go on to the backend, beside the dialect's own.
        answer_headers: Lower-case names that go back to the client.
        budgets: What its requests may use together.
        continuous: How a running exchange is verified again.
        priorities: By role, how urgent its requests are where they have to wait.
    """

    name: str
    methods: frozenset[str]
    path: str
    backend: str
    dialect: str
    require: Requirements
    policy: Policy
    limits: RouteLimits
    inspector: Inspector
    meter: MeterFactory
    detectors: tuple[Detector, ...] = ()
    risk_bar: float | None = None
    bounds: Bounds = field(default_factory=Bounds)
    request_headers: frozenset[bytes] = frozenset()
    answer_headers: frozenset[bytes] = frozenset()
    budgets: RouteBudgets = field(default_factory=RouteBudgets)
    continuous: Continuous = field(default_factory=Continuous)
    priorities: Mapping[str, int] = field(default_factory=dict)

    def priority(self, roles: frozenset[str]) -> int:
        """Return the highest priority that one of some roles has; 0 if none has any."""
        return max([each for role, each in self.priorities.items() if role in roles], default=0)


def pattern_segments(pattern: str) -> tuple[str, ...]:
    """Split a path pattern into its segments."""
    return tuple(pattern[1:].split("/"))


def is_match(pattern: tuple[str, ...], segments: list[str]) -> bool:
    """Tell whether a split path fits a split pattern."""
    if pattern[-1] == "**":
        head = pattern[:-1]
        if len(segments) <= len(head):
            return False
    elif len(pattern) == len(segments):
        head = pattern
    else:
        return False
    return all(
        want == have or (want[:1] == "{" and have != "") for want, have in zip(head, segments, strict=False)
    )


@final
class RouteTable:
    """Finds the route of a request: literal paths first, then patterns in the order given."""

    __slots__ = ("_literal", "_patterns", "routes")

    def __init__(self, routes: Iterable[Route]) -> None:
        self.routes = tuple(routes)
        literal: dict[tuple[str, str], Route] = {}
        patterns: list[tuple[tuple[str, ...], Route]] = []
        for route in self.routes:
            if "{" in route.path or "*" in route.path:
                patterns.append((pattern_segments(route.path), route))
                continue
            for method in route.methods:
                literal.setdefault((method, route.path), route)
        self._literal = literal
        self._patterns = tuple(patterns)

    def match(self, method: str, path: str) -> Route | None:
        """Return the route, or None: unknown and forbidden are refused alike."""
        found = self._literal.get((method, path))
        if found is not None or not self._patterns:
            return found
        segments = path[1:].split("/")
        for pattern, route in self._patterns:
            if method in route.methods and is_match(pattern, segments):
                return route
        return None

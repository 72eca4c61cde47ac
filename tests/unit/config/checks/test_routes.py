"""Every route can be reached, and every rule can hold."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from gateway.config.checks.routes import _hides
from gateway.core.route import is_match, pattern_segments
from tests.unit.config.writing import MINIMAL, REMOVED, messages, warnings

if TYPE_CHECKING:
    from pathlib import Path

CHAT = MINIMAL["routes"][0]  # type: ignore[index]
RULE = {"name": "users", "roles": ["user"]}


def route(path: str, name: str = "other", methods: tuple[str, ...] = ("POST",)) -> dict[str, object]:
    """Make a route of its own path."""
    match = {"methods": list(methods), "path": path}
    return {**CHAT, "name": name, "match": match, "management": []}  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"routes": [CHAT, route("/x", "chat")]}, ('"chat"', "a second route `chat`")),
        ({"routes.0.backend": "lokal"}, ('"lokal"', "there is no backend `lokal`")),
        (
            {"routes.0.deny": [{"name": "users", "when": "true"}]},
            ('"users"', "a second rule `users` in this route"),
        ),
        (
            {"routes": [CHAT, route("/v1/chat/completions")]},
            ('"match"', "POST /v1/chat/completions goes to the route `chat`, which comes first"),
        ),
        (
            {"routes": [route("/v1/**", "all"), route("/v1/{a}/b", methods=("GET", "POST"))]},
            ('"match"', "POST /v1/{a}/b goes to the route `all`, which comes first"),
        ),
        (
            {"routes.0.require": {"certificate": True}},
            ("true", "a client certificate is demanded, but the listener never asks for one"),
        ),
        (
            {"routes.0.require": {"token": {"bound": True}}},
            (
                "true",
                "a bound token is demanded, but neither certificates nor proofs of possession can be shown",
            ),
        ),
        (
            {
                "routes.0.require": {"token": {"bound": "certificate"}},
                "server.origins": ["https://a.example"],
            },
            (
                '"certificate"',
                "a token bound to the client certificate is demanded, but the listener never asks for one",
            ),
        ),
        (
            {"routes.0.require": {"token": {"bound": "key"}}},
            (
                '"key"',
                "a proof of possession is demanded, but no origin is named that it could be made for",
            ),
        ),
        (
            {"routes.0.require": {"authentication": {"proofs": 2}}},
            ("2", "two proofs are demanded, but the listener never asks for a client certificate"),
        ),
        (
            {"routes.0.require": {"authentication": {"acr": ["urn:gateway:acr:two-proofs"]}}},
            ("[", "two proofs are demanded, but the listener never asks for a client certificate"),
        ),
        (
            {"routes.0.require": {"authentication": {}}},
            ('"authentication"', "an authentication is demanded, but nothing of it"),
        ),
        (
            {"routes.0.require": {"authentication": {"max_age": "500ms"}}},
            ('"500ms"', "times of authentications are whole seconds: nobody can be this quick"),
        ),
        ({"routes.0.allow": []}, ('"allow"', "the route `chat` has no allow rule: it refuses everybody")),
        ({"routes.0.allow": REMOVED}, ("{", "the route `chat` has no allow rule: it refuses everybody")),
        ({"routes.0.allow.0.roles": []}, ("[", "an empty list of roles: this rule can never hold")),
        ({"routes.0.allow.0.models": []}, ("[", "an empty list of models: this rule can never hold")),
        (
            {"routes.0.deny": [{"name": "d", "networks": []}]},
            ("[", "an empty list of networks: this rule can never hold"),
        ),
        (
            {"routes.0.allow": [{"name": "all"}]},
            ("{", "the rule `all` has no condition: it allows everybody everything"),
        ),
        (
            {"routes.0.deny": [{"name": "all"}]},
            ("{", "the rule `all` has no condition: it denies everybody everything"),
        ),
        ({"routes.0.allow.0.roles": ["user", "usr"]}, ('"usr"', "there is no role `usr`")),
        (
            {"routes.0.dialect": "opaque", "routes.0.allow.0.models": ["a"]},
            ("[", "requests of the dialect `opaque` name no model: this rule can never hold"),
        ),
        ({"routes.0.limits": {"burst": 5}}, ('"burst"', "`burst` has no effect without `requests`")),
        (
            {"routes.0.limits": {"requests": ["6/minute", "60/hour"], "burst": 61}},
            ("61", "a burst of 61 is more than any of the rates grants"),
        ),
        ({"routes.0.limits": {"requests": ["6/minute", "6/minute"]}}, ("[", "the same rate stands twice")),
        ({"routes.0.risk": {"bar": 0.5}}, ("0.5", "nothing can reach the bar: the route has no detectors")),
        (
            {"routes.0.headers": {"request": ["x-trace", "Authorization"]}},
            ('"Authorization"', "`authorization` is decided by the gateway itself, and never crosses"),
        ),
        (
            {"routes.0.headers": {"model": "Authorization"}},
            ('"Authorization"', "`authorization` is decided by the gateway itself, and names no model"),
        ),
        (
            {"routes.0.headers": {"answer": ["Set-Cookie"]}},
            ('"Set-Cookie"', "`set-cookie` is decided by the gateway itself, and never crosses"),
        ),
        (
            {"routes.0.bounds": {"body": "1GiB"}},
            ('"1GiB"', "one body would be larger than the memory for all bodies together"),
        ),
        (
            {"assertions": {"lifetime": "1s"}},
            ('"1s"', "dates in assertions are whole seconds: this is too short to be of use"),
        ),
        (
            {"state": {"url": "redis://127.0.0.1:6379/0", "on_failure": "local"}},
            ('"local"', "each gateway must know its share of the limits: how many of them are there?"),
        ),
        (
            {"routes.0.headers": {"request": ["X-Gateway-Assertion"]}},
            (
                '"X-Gateway-Assertion"',
                "`x-gateway-assertion` is decided by the gateway itself, and never crosses",
            ),
        ),
        (
            {"routes.0.headers": {"request": ["Accept-Encoding"]}},
            ('"Accept-Encoding"', "`accept-encoding` is decided by the gateway itself, and never crosses"),
        ),
        (
            {"routes.0.headers": {"answer": ["X-Gateway-Assertion"]}},
            (
                '"X-Gateway-Assertion"',
                "`x-gateway-assertion` is decided by the gateway itself, and never crosses",
            ),
        ),
        (
            {"server.bounds": {"connections": 10, "connections_per_address": 11}},
            ("11", "one address may have more connections than all together"),
        ),
    ],
)
def test_what_can_never_come_true_is_refused(
    tmp_path: Path, changes: dict[str, object], expected: tuple[str, str]
) -> None:
    """Each contradiction is refused at the setting that causes it, and it is all that is wrong."""
    assert [expected] == messages(tmp_path, changes)


def test_a_token_without_issuers_is_refused(tmp_path: Path) -> None:
    """A route that demands what nobody can have is told apart from roles that nobody can have."""
    changes: dict[str, object] = {
        "identity": {"anonymous": {"roles": ["user"]}},
        "routes.0.require": {"token": {}},
    }

    assert messages(tmp_path, changes) == [('"token"', "a token is demanded, but no issuer is believed")]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"routes": [CHAT, route("/v1/{a}/completions"), route("/v1/**", "rest")]}, []),
        ({"routes": [CHAT, route("/v1/chat/completions", methods=("GET",))]}, []),
        (
            {
                "routes.0.dialect": "opaque",
                "routes.0.match.path": "/x/{model}",
                "routes.0.allow.0.models": ["a"],
                "routes.0.limits": {"requests": "6/minute", "per": "model"},
            },
            [],
        ),
        (
            {
                "routes.0.dialect": "opaque",
                "routes.0.headers": {"model": "x-model"},
                "routes.0.allow.0.models": ["a"],
            },
            [],
        ),
        ({"routes.0.limits": {"requests": ["6/minute", "60/hour"], "burst": 60, "concurrent": 1}}, []),
        ({"routes.0.risk": {"bar": 0.5, "detectors": ["denied-probing"]}}, []),
        ({"server.bounds": {"connections": 10}}, []),
        (
            {"routes.0.risk": {"detectors": ["denied-probing"]}},
            ["scores are recorded, but nothing is refused: there is no bar"],
        ),
        ({"backends.spare": {"endpoints": ["unix:/s"]}}, ["no route leads to the backend `spare`"]),
    ],
)
def test_what_can_come_true_loads(tmp_path: Path, changes: dict[str, object], expected: list[str]) -> None:
    """A more general pattern may follow a more special one; bursts may be as large as a rate."""
    assert expected == warnings(tmp_path, changes)


PARTS = [[*parts] for size in (1, 2, 3) for parts in itertools.product(["a", "{x}"], repeat=size)]
PATTERNS = ["/" + "/".join([*parts, *rest]) for parts in PARTS for rest in ([], ["**"])] + ["/**"]
PATHS = [[*path] for size in (1, 2, 3, 4, 5) for path in itertools.product(["a", "b"], repeat=size)]


def test_a_route_is_called_hidden_exactly_if_it_never_gets_a_request() -> None:
    """For all small patterns: the first hides the second if, and only if, all paths of the second fit the first."""
    patterns = [pattern for pattern in PATTERNS if "{" in pattern or "*" in pattern]
    fits = {
        pattern: frozenset(n for n, path in enumerate(PATHS) if is_match(pattern_segments(pattern), path))
        for pattern in patterns
    }

    for first, second in itertools.product(patterns, repeat=2):
        assert (fits[second] <= fits[first]) is _hides(first, second), (first, second)


@pytest.mark.parametrize("bound", [True, "key", False])
def test_a_binding_that_can_be_had_is_taken(tmp_path: Path, bound: object) -> None:
    """With an origin, clients can prove a key, and need no certificate."""
    changes = {
        "routes.0.require": {"token": {"bound": bound}},
        "server.origins": ["https://gateway.example.org"],
    }

    assert [] == messages(tmp_path, changes)

"""The stage: a verdict becomes a proof or an exception, and nothing between."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gateway.core.identity import Identity
from gateway.core.limits import RouteLimits
from gateway.core.permit import Entry, issue_entry
from gateway.core.refusal import Reason, Refused
from gateway.core.route import Requirements, Route
from gateway.stages.inspect import inspect
from gateway.stages.inspect.catalog import build_inspector
from gateway.stages.meter import null_meter
from tests.unit.stages.inspect.doubles import KEY, call, chat

if TYPE_CHECKING:
    from gateway.core.ports import Inspector


class NoPolicy:
    """Inspection asks no policy."""

    def enter(self, *facts: object) -> None:
        raise AssertionError

    def decide(self, *facts: object) -> str:
        raise AssertionError


def entry(inspector: Inspector) -> Entry:
    """Make the proof that lets a body be inspected."""
    identity = Identity("k", "i", "s", ("jwt",), frozenset(), 0.0)
    route = Route(
        "r",
        frozenset({"POST"}),
        "/",
        "b",
        "d",
        Requirements(),
        NoPolicy(),
        RouteLimits("r"),
        inspector,
        null_meter,
    )
    return issue_entry(identity, route)


def test_issues_the_proof() -> None:
    """What passed is proven together with the entry, the prompt and the bytes that go on."""
    proof = entry(build_inspector("openai.chat", fingerprint_key=KEY))
    vetted = inspect(proof, call(), b" " + chat())

    assert proof is vetted.entry
    assert ("m", chat(), b"application/json") == (vetted.prompt.model, vetted.body, vetted.content_type)


def test_raises_the_refusal() -> None:
    """What did not pass ends the line with the inspector's reason."""
    with pytest.raises(Refused) as caught:
        inspect(entry(build_inspector("openai.models", fingerprint_key=KEY)), call(), b"x")

    assert Reason.BODY_UNEXPECTED is caught.value.refusal.reason

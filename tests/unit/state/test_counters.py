"""Decayed counters of one process."""

from __future__ import annotations

import pytest

from gateway.core.exchange import Exchange
from gateway.core.identity import Identity, Peer
from gateway.core.prompt import Prompt
from gateway.core.refusal import Reason, Refusal, Source
from gateway.state.counters import DENIALS, MALFORMED, MemoryCounters, ModelBits
from tests.contract.conftest import FakeClock

HALF_LIFE = 600.0
PROMPT = Prompt("llama", fingerprint=7)


def exchange(key: str = "k", *, prompt: Prompt | None = None, reason: Reason | None = None) -> Exchange:
    """An exchange that ended."""
    ended = Exchange("id", Peer("192.0.2.1", 1), None, 0.0, 0.0)
    ended.identity = Identity(key, "issuer", key, ("jwt",), frozenset(), 1e12)
    ended.prompt = prompt
    ended.refusal = None if reason is None else Refusal(reason)
    return ended


def test_counts_a_request_with_itself() -> None:
    """The history that detectors see has this request in it."""
    counters = MemoryCounters(FakeClock())
    counters.request("k", PROMPT)
    history = counters.request("k", Prompt("other", fingerprint=8))

    assert (history.requests, round(history.models), round(history.prompts)) == (2.0, 2, 2)


def test_repeats_are_not_distinct() -> None:
    """The same model and prompt count once; a body without either counts none."""
    counters = MemoryCounters(FakeClock())
    for _ in range(50):
        history = counters.request("k", PROMPT)
    counters.request("k", Prompt())

    assert (history.requests, round(history.models), round(history.prompts)) == (51.0, 1, 1)


def test_counters_halve_in_a_half_life() -> None:
    """Neither the number nor the spacing of looks changes what is left."""
    clock = FakeClock(0.0)
    counters = MemoryCounters(clock, half_life=HALF_LIFE)
    for _ in range(64):
        counters.request("often", PROMPT)
        counters.request("rarely", PROMPT)
    for _ in range(6000):
        clock.now += 0.2
        counters.tally("often")
    often, rarely = counters.tally("often").history, counters.tally("rarely").history

    assert pytest.approx(16.0, rel=0.001) == often.requests
    assert pytest.approx(16.0, rel=0.001) == rarely.requests


def test_every_counter_decays() -> None:
    """None stays for ever."""
    clock = FakeClock(0.0)
    counters = MemoryCounters(clock, half_life=HALF_LIFE)
    history = counters.tally("k").history
    names = (
        "requests",
        "refusals",
        "denials",
        "malformed",
        "credentials",
        "input_bytes",
        "output_bytes",
        "tokens",
    )
    for name in names:
        setattr(history, name, 8.0)
    clock.now += HALF_LIFE
    counters.tally("k")

    assert [getattr(history, name) for name in names] == [4.0] * 8


def test_distinct_things_are_forgotten_after_two_half_lives() -> None:
    """One window later they still count; two windows later they do not."""
    clock = FakeClock(0.0)
    counters = MemoryCounters(clock, half_life=HALF_LIFE)
    sizes = []
    for fingerprint in (1, 2, 3):
        history = counters.request("k", Prompt("m", fingerprint=fingerprint))
        sizes.append(round(history.prompts))
        clock.now += HALF_LIFE
    clock.now += 5 * HALF_LIFE
    sizes.append(round(counters.tally("k").history.prompts))

    assert sizes == [1, 2, 2, 0]


def test_what_an_exchange_used_is_counted() -> None:
    """Bytes both ways, tokens as far as metered."""
    counters = MemoryCounters(FakeClock())
    counters.request("k", PROMPT)
    ended = exchange(prompt=PROMPT)
    ended.bytes_in, ended.bytes_out = 100, 2000
    ended.usage.input_tokens, ended.usage.output_tokens = 5, 50
    counters.outcome(ended)
    counters.outcome(exchange(prompt=PROMPT))
    history = counters.tally("k").history

    assert (history.requests, history.input_bytes, history.output_bytes, history.tokens) == (
        1.0,
        100.0,
        2000.0,
        55.0,
    )


def test_a_request_that_never_had_a_body_counts_once() -> None:
    """Refused at the door is a request too, or the share of refusals would pass 1."""
    counters = MemoryCounters(FakeClock())
    counters.outcome(exchange(reason=Reason.ROUTE_UNKNOWN))
    history = counters.tally("k").history

    assert (history.requests, history.refusals, history.denials) == (1.0, 1.0, 1.0)


@pytest.mark.parametrize("reason", list(Reason))
def test_refusals_are_counted_by_kind(reason: Reason) -> None:
    """Every reason is a denial, malformed, or just a refusal."""
    counters = MemoryCounters(FakeClock())
    counters.outcome(exchange(reason=reason))
    history = counters.tally("k").history

    assert (1.0, float(reason in DENIALS), float(reason in MALFORMED)) == (
        history.refusals,
        history.denials,
        history.malformed,
    )


@pytest.mark.parametrize("source", [Source.GATEWAY, Source.UPSTREAM])
def test_the_faults_of_others_are_not_held_against_an_identity(source: Source) -> None:
    """A backend that dies makes nobody suspicious."""
    counters = MemoryCounters(FakeClock())
    ended = exchange(prompt=PROMPT)
    ended.refusal = Refusal(Reason.BACKEND_DIED, source=source)
    counters.outcome(ended)

    assert counters.tally("k").history.refusals == 0.0


def test_an_exchange_without_identity_counts_for_nobody() -> None:
    """There is nobody to count it for."""
    counters = MemoryCounters(FakeClock())
    ended = exchange()
    ended.identity = None
    counters.outcome(ended)

    assert len(counters) == 0


def test_identities_are_bounded_and_the_stale_go_first() -> None:
    """A newcomer takes the place of somebody longest untouched among a few."""
    clock = FakeClock()
    counters = MemoryCounters(clock, identities=4)
    for key in "abcd":
        counters.request(key, PROMPT)
    clock.now += 10.0
    for key in "acd":
        counters.request(key, PROMPT)
    counters.request("e", PROMPT)
    requests = {key: counters.tally(key).history.requests for key in "acde"}

    assert len(counters) == 4
    assert [pytest.approx(2.0, rel=0.02)] * 3 + [1.0] == list(requests.values())


def test_model_names_come_from_clients_and_are_bounded() -> None:
    """However many names are tried, memory stays; a name keeps its bit, another seed gives others."""
    bits, other = ModelBits(b"seed"), ModelBits(b"other")
    first = [bits[f"model-{index}"] for index in range(5000)]
    again = [bits[f"model-{index}"] for index in range(5000)]

    assert first == again
    assert first != [other[f"model-{index}"] for index in range(5000)]
    assert len(bits._known) <= 4096
    assert {1} == {bit.bit_count() for bit in first}
    assert bits["\ud800"].bit_count() == 1  # JSON can spell what UTF-8 cannot

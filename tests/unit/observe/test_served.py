"""The record of a served exchange is the same, byte for byte, whichever of the two encoders made it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.exchange import Outcome
from gateway.core.identity import Peer
from gateway.core.limits import Ledger
from gateway.core.permit import issue_entry, issue_permit
from gateway.core.prompt import Prompt
from gateway.core.refusal import Reason, Refusal
from gateway.core.signals import Risk, Signal
from gateway.observe import served as module
from gateway.observe.encoder import RecordEncoder
from gateway.observe.served import ServedEncoder
from tests.unit.observe.exchanges import ALICE, PEER, ROUTE, served

if TYPE_CHECKING:
    from gateway.core.exchange import Exchange

TEXT = st.one_of(
    st.sampled_from(("", "a", "\u202e", "\x7f", "\ud800", "x" * 600, '"\\')), st.text(max_size=300)
)
COUNT = st.one_of(st.none(), st.integers(0, 2**53))
SHARED = RecordEncoder()  # keeps what examples before it left, as it does in a process


class Never:
    """Stands where the quick encoder stands, and leaves everything to the other one."""

    def __init__(self) -> None:
        self.time = ServedEncoder().time

    def encode(self, _ex: Exchange, _who: bytes) -> None:
        """Take nothing."""


def slow(ex: Exchange) -> bytes:
    """Encode without kept parts."""
    encoder = RecordEncoder()
    encoder._served = Never()  # type: ignore[assignment]
    return encoder(ex)


@settings(deadline=None, max_examples=400)
@given(
    texts=st.tuples(TEXT, TEXT, TEXT, TEXT, TEXT, TEXT),
    model=st.one_of(st.none(), TEXT),
    fingerprint=st.one_of(st.none(), TEXT),
    tls=st.one_of(st.none(), TEXT),
    stream=st.booleans(),
    numbers=st.tuples(
        st.integers(0, 2**40), st.integers(0, 2**40), COUNT, COUNT, st.integers(0, 9), st.integers(0, 999)
    ),
    started=st.floats(0, 4e9),
    ticks=st.lists(st.floats(0, 1e6), min_size=7, max_size=7),
)
def test_both_encoders_write_the_same(
    texts: tuple[str, ...],
    model: str | None,
    fingerprint: str | None,
    tls: str | None,
    stream: bool,
    numbers: tuple[Any, ...],
    started: float,
    ticks: list[float],
) -> None:
    """Whatever a client or a backend says, and in whatever order exchanges come."""
    ex = served(model=model, identity=replace(ALICE, subject=texts[0]))
    assert ex.call is not None
    certificate = None if fingerprint is None else replace(PEER.certificate, fingerprint=fingerprint)  # type: ignore[type-var]
    ex.peer = Peer(texts[1], 1, certificate, tls)
    ex.call.path, ex.assertion, ex.endpoint, ex.runtime_version = texts[2:]
    ex.prompt = Prompt(model, stream=stream)
    ex.bytes_in, ex.bytes_out, ex.usage.input_tokens, ex.usage.output_tokens, ex.usage.events, ex.status = (
        numbers
    )
    ex.started = started
    (ex.began_at, ex.identified_at, ex.entered_at, ex.admitted_at, ex.inspected_at, ex.forwarded_at, late) = (
        ticks
    )
    ex.answered_at, ex.ended_at = late + 1e-3, late + 2.0

    assert slow(ex) == SHARED(ex)


def refused(ex: Exchange) -> None:
    """Say why, though it was served."""
    ex.refusal = Refusal(Reason.INTERNAL)


def failed(ex: Exchange) -> None:
    """Break off."""
    ex.outcome = Outcome.FAILED


def risky(ex: Exchange) -> None:
    """Raise its risk."""
    ex.risk = Risk(0.5, (Signal("s", 0.5, "e"),))


def local(ex: Exchange) -> None:
    """Answer from the local share."""
    ex.ledger = Ledger(is_local=True)


def named_oddly(ex: Exchange) -> None:
    """Give it an id that JSON has to escape."""
    ex.id = 'a"b'


def named_impossibly(ex: Exchange) -> None:
    """Give it an id that is no text."""
    ex.id = "\ud800"


def without_assertion(ex: Exchange) -> None:
    """Sign nothing."""
    ex.assertion = None


def without_answer(ex: Exchange) -> None:
    """Let it never come so far."""
    ex.answered_at = 0.0


@pytest.mark.parametrize(
    "change",
    [refused, failed, risky, local, named_oddly, named_impossibly, without_assertion, without_answer],
    ids=lambda change: change.__name__,
)
def test_what_is_not_plain_is_left_to_the_other_encoder(change: Any) -> None:
    """Everything but a request that was simply served has more to say."""
    ex = served()
    change(ex)

    assert ServedEncoder().encode(ex, b"{}") is None
    assert slow(ex) == RecordEncoder()(ex)


def test_kept_parts_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients choose paths, models and addresses: none of these can fill the memory."""
    monkeypatch.setattr(module, "MAX_PARTS", 2)
    encoder = ServedEncoder()
    for number in range(5):
        ex = served(model=f"m{number}")
        ex.peer = Peer(f"10.0.0.{number}", 1)
        ex.assertion = f"a{number}"
        assert ex.call is not None
        assert encoder.encode(ex, b"{}") is not None
        ex.call.path = "/" + "x" * 1000
        assert encoder.encode(ex, b"{}") is not None
        assert len(encoder._asked) <= 2
        assert len(encoder._peers) <= 2
        assert len(encoder._texts) <= 2


def test_a_model_without_a_name_is_another_part() -> None:
    """No model, and a model called nothing, are told apart."""
    encoder = ServedEncoder()
    entry = issue_entry(ALICE, ROUTE)
    lines = []
    for model in (None, "", None):
        ex = served(model=model)
        ex.permit = issue_permit(entry, model, "r")
        lines.append(encoder.encode(ex, b"{}"))

    assert lines[0] == lines[2] != lines[1]

"""An answer that outruns what was reserved takes more, or ends."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.core.budgets import Budget, Dimension, Estimate, Hold, Key, Measure, Price
from gateway.core.exchange import Usage
from gateway.core.limits import Ledger
from gateway.core.permit import issue_admission, issue_entry, issue_permit, issue_reservation
from gateway.core.refusal import Reason, Refusal
from gateway.stages.reserve.watch import Watch
from tests.doubles.line import Line
from tests.doubles.outside import FakeBudgets, FakeReply, ManualClock
from tests.unit.stages.authorize.material import an_identity

PER = (Key(Dimension.IDENTITY),)


class CuttingReply(FakeReply):
    """A reply that can be ended from outside."""

    def __init__(self) -> None:
        super().__init__()
        self.cuts: list[Refusal] = []

    def cut(self, refusal: Any, /) -> None:
        """Keep why."""
        self.cuts.append(refusal)


class CountingMeter:
    """Counts pieces as events."""

    def __init__(self, usage: Usage) -> None:
        self.usage = usage
        self.finished = 0

    def feed(self, data: bytes, /) -> None:
        self.usage.events += 1

    def finish(self) -> None:
        self.finished += 1


class Watched:
    """An answer under watch."""

    def __init__(self, measure: Measure, held: int, *, is_extending: bool = True) -> None:
        budget = Budget("chat", "b", measure, 10**6, PER, 60.0, is_extending=is_extending)
        self.hold = Hold(budget, "ada", held)
        self.usage = Usage()
        self.meter = CountingMeter(self.usage)
        self.budgets = FakeBudgets()
        self.reply = CuttingReply()
        self.clock = ManualClock()
        route = Line().route
        entry = issue_entry(an_identity("user"), route)
        estimate = Estimate(10, 40, Price(1_000_000, 1_000_000), is_capped=False)
        reservation = issue_reservation(
            issue_admission(entry, Ledger()), issue_permit(entry, "m", "r"), (self.hold,), estimate
        )
        self.watch = Watch(
            self.meter, self.usage, (self.hold,), reservation, self.budgets, self.reply, self.clock
        )

    def feed(self, count: int, size: int = 100) -> None:
        """Let pieces pass."""
        for _ in range(count):
            self.watch.feed(b"x" * size)


@pytest.mark.parametrize(
    ("measure", "held", "pieces", "expected"),
    [
        (Measure.TOKENS, 50, 40, []),
        (Measure.TOKENS, 50, 41, [257]),
        (Measure.TOKENS, 50, 297, [257]),
        (Measure.TOKENS, 50, 298, [257, 257]),
        (Measure.OUTPUT_TOKENS, 40, 41, [257]),
        (Measure.COST, 50, 41, [257]),
        (Measure.BYTES_OUT, 1000, 11, [65636]),
    ],
)
def test_takes_more_when_it_needs_more(measure: Measure, held: int, pieces: int, expected: list[int]) -> None:
    """Pieces of the budget, as few as possible."""
    watched = Watched(measure, held)
    watched.feed(pieces)

    assert expected == [amount for _, amount in watched.budgets.extended]
    assert [] == watched.reply.cuts


def test_time_is_taken_as_it_passes() -> None:
    """A stream that lasts takes more time."""
    watched = Watched(Measure.STREAM_TIME, 10_000)
    watched.feed(1)
    watched.clock.ticks += 10.5
    watched.feed(1)

    assert 1 == len(watched.budgets.extended)
    assert 20_000 < watched.hold.amount < 21_000


@pytest.mark.parametrize("is_extending", [True, False])
def test_ends_where_there_is_no_more(is_extending: bool) -> None:
    """Once, and every byte still reaches the meter."""
    watched = Watched(Measure.TOKENS, 50, is_extending=is_extending)
    watched.budgets.has_more = False
    watched.feed(60)

    assert [Reason.BUDGET_OUTRUN] == [refusal.reason for refusal in watched.reply.cuts]
    assert 60 == watched.usage.events
    assert is_extending == bool(watched.budgets.extended)


def test_does_not_ask_twice_at_a_time() -> None:
    """While the store has not answered, the answer goes on."""
    watched = Watched(Measure.TOKENS, 50)
    watched.hold.is_growing = True
    watched.feed(60)

    assert [] == watched.budgets.extended


def test_an_answer_that_is_over_is_not_ended() -> None:
    """A refusal that comes late changes nothing."""
    watched = Watched(Measure.TOKENS, 50)
    watched.watch.finish()
    watched.watch._end()

    assert [] == watched.reply.cuts
    assert 1 == watched.meter.finished

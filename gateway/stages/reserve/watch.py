"""Watches an answer that may outrun what was reserved for it, while its bytes pass.

Asks for more in pieces, where the route allows that, and ends the answer where there is no more. Changes
and delays no byte. What it counts is an estimate; what is charged in the end is what the backend says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from gateway.core.budgets import Measure
from gateway.core.refusal import Reason, Refusal
from gateway.stages.reserve.amounts import FIRST_BYTES, FIRST_TIME, MORE_TOKENS, amount, counted

if TYPE_CHECKING:
    from gateway.core.budgets import Budgets, Hold
    from gateway.core.exchange import Usage
    from gateway.core.permit import Reservation
    from gateway.core.ports import Clock, Meter, Reply

ALWAYS: Final = frozenset({Measure.BYTES_OUT})
STREAMED: Final = frozenset(
    {Measure.OUTPUT_TOKENS, Measure.TOKENS, Measure.COST, Measure.BYTES_OUT, Measure.STREAM_TIME}
)
"""What can grow while an answer runs; of an answer that is no stream, its tokens are known too late."""

OUTRUN: Final = "The answer needed more than the budget has."


@final
class Watch:
    """A meter around a meter.

    Args:
        meter: Reads what the answer says about itself.
        usage: Where that goes.
        holds: Those that may have to grow.
        reservation: All that was reserved.
        budgets: Where more can be had.
        reply: What is ended if there is no more.
        clock: Time.
    """

    __slots__ = (
        "_began",
        "_budgets",
        "_clock",
        "_holds",
        "_is_over",
        "_meter",
        "_reply",
        "_reserved",
        "_sent",
        "_usage",
    )

    def __init__(
        self,
        meter: Meter,
        usage: Usage,
        holds: tuple[Hold, ...],
        reservation: Reservation,
        budgets: Budgets,
        reply: Reply,
        clock: Clock,
    ) -> None:
        self._meter = meter
        self._usage = usage
        self._holds = holds
        self._reserved = reservation.estimate
        self._budgets = budgets
        self._reply = reply
        self._clock = clock
        self._began = clock.tick()
        self._sent = 0
        self._is_over = False

    def feed(self, data: bytes, /) -> None:
        """Look at the next piece, and whether what was reserved still covers it."""
        self._meter.feed(data)
        self._sent += len(data)
        if self._is_over:
            return
        produced = counted(self._usage.events, self._sent)
        lasted = int((self._clock.tick() - self._began) * 1000.0)
        given = self._reserved.given
        for hold in self._holds:
            measure = hold.budget.measure
            now = amount(measure, self._reserved, given, produced, self._sent, lasted)
            if now > hold.amount and not hold.is_growing:
                self._grow(hold, now - hold.amount)

    def finish(self) -> None:
        """The answer is over."""
        self._is_over = True
        self._meter.finish()

    def _grow(self, hold: Hold, lacking: int) -> None:
        if not hold.budget.is_extending:
            self._end()
            return
        measure = hold.budget.measure
        piece = amount(measure, self._reserved, 0, MORE_TOKENS, FIRST_BYTES, FIRST_TIME)
        self._budgets.extend(hold, lacking + piece, self._end)

    def _end(self) -> None:
        if not self._is_over:
            self._is_over = True
            self._reply.cut(Refusal(Reason.BUDGET_OUTRUN, OUTRUN))

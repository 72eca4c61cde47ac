"""Commands on their way to accounts in the store, and who waits for their answers.

Decides nothing about requests: brings shares up to date with every answer, and tells whoever waits.
"""

from __future__ import annotations

import asyncio
from math import inf
from typing import TYPE_CHECKING, Final, Protocol, final

import hiredis

from gateway.core.gate import Gate
from gateway.state.link import word

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gateway.core.budgets import Hold
    from gateway.state.connection import Connection, Reply
    from gateway.state.share import Share

FIELDS: Final = 6
"""Words that the script answers per account."""


class Owner(Protocol):
    """Who sends commands."""

    def touch(self, share: Share, /) -> None:
        """A share was brought up to date: it has to be looked at, now or soon."""

    def again(self, ask: Ask, /) -> None:
        """A command has to be sent once more: the server had lost the script."""

    def judge(self, ask: Ask, reply: Reply, /) -> None:
        """A reply was no answer: is the connection of any use?"""


@final
class Drawn:
    """What the server said of one account.

    Args:
        drawn: Units drawn in all.
        room: What there was, before.
        used: What was used.
        idle: What other processes hold and do not use; a second old at most.
        allowance: Of a level: what this process may keep idle.
        reset: Seconds until the quota is whole.
    """

    __slots__ = ("allowance", "drawn", "idle", "reset", "room", "used")

    def __init__(self, drawn: int, room: int, used: int, idle: int, allowance: int, reset: float) -> None:
        self.drawn = drawn
        self.room = room
        self.used = used
        self.idle = idle
        self.allowance = allowance
        self.reset = reset


KIND: Final = (int, int, int, int, int, bytes)


def read(reply: object, count: int) -> list[Drawn] | None:
    """Read the script's answer about so many accounts; None: what is not understood grants nothing."""
    if (
        not isinstance(reply, list)
        or tuple(map(type, reply)) != (int, *KIND * count)
        or reply[0] not in {0, 1}
    ):
        return None
    answers = []
    for at in range(1, len(reply), FIELDS):
        drawn, room, used, idle, allowance, text = reply[at : at + FIELDS]
        try:
            reset = float(text)
        except ValueError:
            return None
        if drawn < 0 or used < 0 or idle < 0 or allowance < 0 or not 0.0 <= reset < inf:
            return None
        answers.append(Drawn(drawn, room, used, idle, allowance, reset))
    return answers


@final
class Part:
    """What one claim has to do with one share.

    Args:
        share: The share.
        amount: What is to be set aside, 0 for a report.
        want: What is drawn beside it.
    """

    __slots__ = ("amount", "answer", "back", "have", "need", "share", "spent", "want")

    def __init__(self, share: Share, amount: int = 0, want: int = 0) -> None:
        self.share = share
        self.amount = amount
        self.want = want
        self.have = 0  # of the amount, what the share had
        self.need = 0  # of the amount, what the server is asked for
        self.back = 0  # what is given back
        self.spent = 0  # what the server is told was spent
        self.answer: Drawn | None = None

    @property
    def is_short(self) -> bool:
        """True if this account had no room for what was needed."""
        return self.answer is not None and self.need > self.answer.room

    @property
    def rest(self) -> int:
        """What the account has room for, our own share included, as far as the server said."""
        return 0 if self.answer is None else self.answer.room + self.share.slack


@final
class Ask:
    """One command on its way, about accounts under one hash tag.

    Args:
        store: Who sent it.
        parts: Of which shares.
        sent: When it left.
        command: As it left.

    Attributes:
        connection: Over which it left; None if there was none.
    """

    __slots__ = (
        "command",
        "connection",
        "done",
        "is_again",
        "is_granted",
        "is_known",
        "is_wanted",
        "parts",
        "sent",
        "store",
    )

    def __init__(self, store: Owner, parts: Sequence[Part], sent: float, command: bytes) -> None:
        self.store = store
        self.parts = parts
        self.sent = sent
        self.command = command
        self.connection: Connection | None = None
        self.is_wanted = True
        self.is_again = False
        self.is_known = False
        self.is_granted = False
        self.done: Callable[[Ask], None] | None = None

    def receive(self, reply: Reply, /) -> None:
        """Take the reply; whoever waits is told when the shares are up to date."""
        if not self.is_again and isinstance(reply, hiredis.ReplyError) and word(reply) == "script-missing":
            self.is_again = True
            self.store.again(self)
            return
        answers = read(reply, len(self.parts))
        if answers is None:
            for part in self.parts:
                part.share.returning -= part.back
                part.share.is_reported = False  # nobody knows whether it ran; the next one makes it good
            self.store.judge(self, reply)
        else:
            self.is_known = True
            self.is_granted = self.is_wanted and isinstance(reply, list) and reply[0] == 1
            for part, answer in zip(self.parts, answers, strict=True):
                self._update(part, answer)
        for part in self.parts:
            self.store.touch(part.share)  # also where whoever wanted it has gone: it goes back
        if self.done is not None:
            self.done(self)

    def _update(self, part: Part, answer: Drawn) -> None:
        share = part.share
        part.answer = answer
        share.returning -= part.back
        share.drawn = max(answer.drawn - share.returning, 0)
        share.confirmed = max(share.confirmed, part.spent)
        share.sent = max(share.sent, self.sent)
        share.allowance = answer.allowance
        if self.is_granted and part.need:
            share.take(part.need)


@final
class Together:
    """Waits for the answers to all commands of one claim.

    Where no task runs the line that waits, it goes on in the very call that brings the last answer.
    """

    __slots__ = ("_future", "_gate", "missing")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.missing = 1  # until all are sent: an answer may come before
        is_driven = asyncio.current_task(loop) is None
        self._gate = Gate() if is_driven else None
        self._future: asyncio.Future[None] | None = None if is_driven else loop.create_future()

    async def wait(self) -> None:
        """Return when all have come."""
        if self._gate is not None:
            await self._gate
        elif self._future is not None:
            await self._future

    def sent(self) -> None:
        """All are sent."""
        self._less()

    def one(self, _ask: Ask) -> None:
        """One more has come."""
        self._less()

    def _less(self) -> None:
        self.missing -= 1
        if self.missing:
            return
        if self._gate is not None:
            self._gate.open()
        elif self._future is not None and not self._future.done():
            self._future.set_result(None)


@final
class Extension:
    """More for a request that runs, on its way.

    Args:
        hold: What is to grow.
        part: Where it comes from: what the share had is set aside already.
        refuse: Called if there is no more.
    """

    __slots__ = ("hold", "part", "refuse")

    def __init__(self, hold: Hold, part: Part, refuse: Callable[[], None]) -> None:
        self.hold = hold
        self.part = part
        self.refuse = refuse

    def done(self, ask: Ask) -> None:
        """The server has answered, or never will."""
        hold, part = self.hold, self.part
        hold.is_growing = False
        if hold.account is not part.share:  # settled meanwhile
            part.share.untake(part.amount if ask.is_granted else part.have)
        elif ask.is_granted:
            hold.amount += part.amount
        elif not ask.is_known:
            self.unknown()
        else:
            part.share.untake(part.have)
            self.refuse()

    def unknown(self) -> None:
        """Nobody knows whether there is more: it depends on the route whether it goes on."""
        part = self.part
        if self.hold.budget.is_local_on_failure:
            part.share.take(part.amount - part.have)
            self.hold.amount += part.amount
        else:
            part.share.untake(part.have)
            self.refuse()


@final
class Ignored:
    """Receives replies that nobody needs."""

    __slots__ = ()

    def receive(self, reply: Reply, /) -> None:
        """Do nothing: a script that could not be loaded shows in the next claim."""


IGNORED: Final = Ignored()

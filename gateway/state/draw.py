"""Commands on their way to an account in the store, and who waits for their answers.

Decides nothing about requests: brings a share up to date with every answer, and tells whoever waits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol, final

import hiredis

from gateway.state.link import word
from gateway.state.share import read

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from gateway.core.budgets import Hold
    from gateway.state.connection import Reply
    from gateway.state.share import Drawn, Share


class Owner(Protocol):
    """Who sends commands."""

    def touch(self, share: Share, /) -> None:
        """A share has to be looked at soon."""

    def again(self, ask: Ask, /) -> None:
        """A command has to be sent once more: the server had lost the script."""

    def judge(self, ask: Ask, reply: Reply, /) -> None:
        """A reply was no answer: is the connection of any use?"""


@final
class Ask:
    """One command on its way, and who waits for it.

    Args:
        store: Who sent it.
        share: Of which share.
        need: Units for a request, 0 for a report.
        back: Units that it gives back.
        sent: When it left.
        spent: What it said was spent.
    """

    __slots__ = (
        "answer",
        "back",
        "command",
        "done",
        "is_again",
        "is_wanted",
        "need",
        "sent",
        "share",
        "spent",
        "store",
    )

    def __init__(self, store: Owner, share: Share, need: int, back: int, sent: float, command: bytes) -> None:
        self.store = store
        self.share = share
        self.need = need
        self.back = back
        self.sent = sent
        self.spent = share.spent
        self.command = command
        self.answer: Drawn | None = None
        self.is_wanted = True
        self.is_again = False
        self.done: Callable[[Ask], None] | None = None

    def receive(self, reply: Reply, /) -> None:
        """Take the reply; whoever waits is told when the share is up to date."""
        if not self.is_again and isinstance(reply, hiredis.ReplyError) and word(reply) == "script-missing":
            self.is_again = True
            self.store.again(self)
            return
        share = self.share
        share.returning -= self.back
        answer = self.answer = read(reply)
        if answer is None:
            share.is_reported = False  # nobody knows whether it ran; the next one makes it good
            self.store.judge(self, reply)
        else:
            share.drawn = max(answer.drawn - share.returning, 0)
            share.confirmed = max(share.confirmed, self.spent)
            share.sent = max(share.sent, self.sent)
            if answer.is_granted and self.is_wanted:
                share.take(self.need)
        self.store.touch(share)  # also where whoever wanted it has gone: it goes back
        if self.done is not None:
            self.done(self)


@final
class Together:
    """Waits for the answers to all commands of one claim."""

    __slots__ = ("future", "missing")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.future: asyncio.Future[None] = loop.create_future()
        self.missing = 1  # until all are sent: an answer may come before

    def sent(self) -> None:
        """All are sent."""
        self._less()

    def one(self, _ask: Ask) -> None:
        """One more has come."""
        self._less()

    def _less(self) -> None:
        self.missing -= 1
        if self.missing == 0 and not self.future.done():
            self.future.set_result(None)


@final
class Extension:
    """More for a request that runs, on its way.

    Args:
        hold: What is to grow.
        share: Where it comes from.
        have: What the share had, already set aside.
        need: What the server is asked for.
        refuse: Called if there is no more.
    """

    __slots__ = ("have", "hold", "need", "refuse", "share")

    def __init__(self, hold: Hold, share: Share, have: int, need: int, refuse: Callable[[], None]) -> None:
        self.hold = hold
        self.share = share
        self.have = have
        self.need = need
        self.refuse = refuse

    def done(self, ask: Ask) -> None:
        """The server has answered, or never will."""
        hold = self.hold
        hold.is_growing = False
        is_granted = ask.answer is not None and ask.answer.is_granted
        if hold.account is not self.share:  # settled meanwhile
            self.share.untake(self.have + self.need if is_granted else self.have)
        elif is_granted:
            hold.amount += self.have + self.need
        elif ask.answer is None:
            self.unknown()
        else:
            self.share.untake(self.have)
            self.refuse()

    def unknown(self) -> None:
        """Nobody knows whether there is more: it depends on the route whether it goes on."""
        if self.hold.budget.is_local_on_failure:
            self.share.take(self.need)
            self.hold.amount += self.have + self.need
        else:
            self.share.untake(self.have)
            self.refuse()


@final
class Ignored:
    """Receives replies that nobody needs."""

    __slots__ = ()

    def receive(self, reply: Reply, /) -> None:
        """Do nothing: a script that could not be loaded shows in the next claim."""


IGNORED: Final = Ignored()

"""Revocations of one process that shares its state with nobody: an index, and a journal on disk.

Implements `core.revoking.RevocationSink`. A revocation holds before it is on disk and is reported only after;
a lift is on disk before it counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from gateway.core.ports import StoreUnavailable
from gateway.core.revocation import check
from gateway.core.revoking import RevocationsFull
from gateway.state.revocation_journal import RevocationsBroken

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.core.revocation import Lift, Revocation
    from gateway.state.revocation_journal import RevocationJournal
    from gateway.state.revocations import RevocationIndex


def begin(index: RevocationIndex, journal: RevocationJournal) -> None:
    """Read a journal into an index, and rewrite it with what still counts. Blocks: at start alone.

    Raises:
        RevocationsBroken: It is damaged, in use, or holds more than may be held.
    """
    index.apply(journal.open())
    if index.left_out:
        journal.close()
        raise RevocationsBroken(
            f"{journal.path} holds more than `revocations.capacity` allows; give it a larger number"
        )
    journal.compact()


def admit(index: RevocationIndex, revocations: Sequence[Revocation]) -> None:
    """Make revocations hold here, all or none.

    Raises:
        ValueError: One is malformed.
        RevocationsFull: There is no room.
    """
    for revocation in revocations:
        check(revocation)
        held = index.get(revocation.id)
        if held is not None and (held.target, held.value) != (revocation.target, revocation.value):
            raise ValueError("the id is another revocation's")
    if not index.room(revocations):
        raise RevocationsFull
    index.apply(revocations)


@final
class LocalRevocations:
    """Keeps the index of one process.

    Args:
        index: What holds.
        journal: Where it is kept.
    """

    __slots__ = ("_journal", "_owed", "index")

    def __init__(self, index: RevocationIndex, journal: RevocationJournal) -> None:
        self.index = index
        self._journal = journal
        self._owed: dict[str, Revocation | Lift] = {}  # holds here, and is not on disk
        index.subscribe(self._note)

    async def start(self) -> None:
        """Read the journal.

        Raises:
            RevocationsBroken: It cannot be continued.
        """
        begin(self.index, self._journal)
        self._owed.clear()
        self.index.complete()

    async def stop(self) -> None:
        """Release the journal."""
        self._journal.close()

    async def add(self, revocations: Sequence[Revocation], /) -> None:
        """Make revocations hold. See `core.revoking.RevocationSink`."""
        admit(self.index, revocations)
        await self._keep()

    async def lift(self, lift: Lift, /) -> None:
        """End a revocation before its time.

        Raises:
            StoreUnavailable: It could not be written down; the revocation holds.
        """
        check(lift)
        await keep(self._journal, (lift,))
        self.index.apply((lift,))
        self._owed.pop(lift.id, None)

    def _note(self, news: tuple[Revocation | Lift, ...]) -> None:
        self._owed.update((change.id, change) for change in news)

    async def _keep(self) -> None:
        owed = list(self._owed.values())
        await keep(self._journal, owed)
        for change in owed:
            if self._owed.get(change.id) is change:
                del self._owed[change.id]


async def keep(journal: RevocationJournal, changes: Sequence[Revocation | Lift]) -> None:
    """Write changes down.

    Raises:
        StoreUnavailable: They are not on disk.
    """
    try:
        await journal.append(changes)
    except OSError:
        raise StoreUnavailable from None

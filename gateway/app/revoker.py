"""Who may say that somebody is no longer believed, and what is written down about it.

Operators come through the admin listener, signals from elsewhere through `add`. Whatever is revoked or lifted
leaves one action in the audit log and one line in the log. Revoking never waits for the audit log to be well;
lifting does: nobody is let in again without a trace.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, final

from gateway.core.ports import StoreUnavailable
from gateway.core.revocation import Lift
from gateway.core.revoking import RevocationsFull
from gateway.observe.action import action
from gateway.state.revocations import RevocationIndex

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from structlog.typing import FilteringBoundLogger

    from gateway.app.revocations import Keeper
    from gateway.core.exchange import Exchange
    from gateway.core.ports import Clock
    from gateway.core.revocation import Revocation
    from gateway.observe.audit import AuditLog
    from gateway.pipeline import Gateway


@final
class Revoker:
    """Takes revocations for one gateway. Implements `core.revoking.RevocationSink` and `admin.Operations`.

    Args:
        keeper: Keeps them.
        gateway: What runs.
        audit: Where each is written down.
        log: Likewise.
        clock: Time.
    """

    def __init__(
        self, keeper: Keeper, gateway: Gateway, audit: AuditLog, log: FilteringBoundLogger, clock: Clock
    ) -> None:
        self._keeper = keeper
        self._gateway = gateway
        self._audit = audit
        self._log = log
        self._clock = clock

    async def add(self, revocations: Sequence[Revocation], /) -> None:
        """Take revocations of a source that names itself in each. See `core.revoking.RevocationSink`."""
        _, is_stored = await self.revoke(revocations)
        if not is_stored:
            raise StoreUnavailable

    async def revoke(self, revocations: Sequence[Revocation], by: str = "") -> tuple[int, bool]:
        """Make revocations hold.

        Args:
            revocations: What.
            by: Who says so; "": each one's source.

        Returns:
            How many running exchanges of this process are ended; and whether all is safe on disk and in
            the store of the fleet: if not, it holds here, and will be handed on.

        Raises:
            ValueError: One is malformed; nothing was done.
            RevocationsFull: There is no room; nothing was done.
        """
        index = self._keeper.index
        news = [each for each in revocations if not index.knows(each)]
        ended = self._concerned(news)
        is_stored = True
        try:
            await self._keeper.add(revocations)
        except RevocationsFull:
            raise
        except StoreUnavailable:
            is_stored = False
        for revocation in news:
            cut = ended[revocation.id]
            self._write("revoked", by or revocation.source, revocation.id, revocation, cut)
        return ended.total(), is_stored

    async def lift(self, ids: Sequence[str], before: float, /) -> None:
        """End revocations of a source that takes them back. See `core.revoking.RevocationSink`."""
        for each in ids:
            revocation = self._keeper.index.get(each)
            if revocation is not None and revocation.at <= before:
                await self._lift(revocation, before, revocation.source)

    async def release(self, id: str, by: str) -> Revocation | None:
        """End a revocation before its time.

        Args:
            id: Its id.
            by: Who says so.

        Returns:
            What was lifted, or None if there is none of this id.

        Raises:
            StoreUnavailable: It may hold on.
        """
        revocation = self._keeper.index.get(id)
        if revocation is not None:
            # clocks differ: whoever lifts means the one that is seen
            await self._lift(revocation, max(self._clock.wall(), revocation.at), by)
        return revocation

    async def _lift(self, revocation: Revocation, at: float, by: str) -> None:
        if not self._audit.is_healthy:
            raise StoreUnavailable
        await self._keeper.lift(Lift(revocation.id, at, revocation.expires))
        self._write("lifted", by, revocation.id, revocation, 0)

    def held(self) -> Iterator[Revocation]:
        """Return what is revoked."""
        return iter(self._keeper.index)

    def state(self) -> dict[str, object]:
        """Return how much is known, and how fresh it is."""
        index = self._keeper.index
        return {
            "held": len(index),
            "version": index.version,
            "current": index.is_current,
            "staleness_seconds": round(min(index.staleness, 1e9), 3),
        }

    def running(self) -> list[Exchange]:
        """Return the exchanges that run and whose identity is known."""
        return [ex for ex in self._gateway.running.values() if ex.identity is not None]

    def _concerned(self, revocations: Sequence[Revocation]) -> Counter[str]:
        """Count the running exchanges that revocations end, each under one that ends it."""
        alone = RevocationIndex(self._clock)
        alone.apply(revocations)
        found = [alone.find(ex.identity) for ex in self.running() if ex.identity is not None]
        return Counter(each.id for each in found if each is not None)

    def _write(self, word: str, by: str, id: str, revocation: Revocation, cut: int) -> None:
        self._audit.append_action(action(word, by, self._clock.wall(), id, revocation, cut))
        self._log.warning(
            word,
            revocation=id,
            by=by,
            target=revocation.target.value,
            value=revocation.value,
            reason=revocation.reason,
            cut=cut,
        )

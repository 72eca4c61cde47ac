"""The role of whatever takes revocations: for operators, and for those who send signals. Decides nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from gateway.core.ports import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.core.revocation import Revocation


class RevocationSink(Protocol):
    """Takes revocations: from operators, and from whoever else may say that somebody is not believed."""

    async def add(self, revocations: Sequence[Revocation], /) -> None:
        """Make revocations hold: in this process before anything is awaited, in the fleet within a second.

        Idempotent by `id`: one that is known, or was lifted, or has ended, changes nothing. Running
        exchanges that are concerned end.

        Args:
            revocations: Ids are 1 to 128 characters of `A-Z a-z 0-9 . _ : ~ -`; reasons and sources are
                printable. Of one id, the one with the latest `at` counts.

        Raises:
            ValueError: An id, a value or a date is malformed; nothing was added.
            RevocationsFull: There is no room; nothing was added.
            StoreUnavailable: They hold in this process, but are not yet safe: not on its disk, or not in
                the store of the fleet. Adding them again is harmless.
        """

    async def lift(self, ids: Sequence[str], before: float, /) -> None:
        """End revocations that were made at or before a time; those that are not there change nothing.

        Args:
            ids: Of the revocations.
            before: Seconds since the epoch; a younger revocation of the same id holds on.

        Raises:
            StoreUnavailable: They may hold on.
        """


class RevocationsFull(StoreUnavailable):
    """As many revocations are held as may be; lift some, or let them end."""

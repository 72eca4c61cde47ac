"""Stage `limit`: is there room for this request?

Asks the store once for all limits of the route and turns the ledger into a proof or a refusal. Does
no arithmetic and keeps no state; a store that does not answer refuses.
"""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, Final

from gateway.core.limits import Ledger
from gateway.core.permit import issue_admission
from gateway.core.ports import StoreUnavailable
from gateway.core.refusal import Reason, Refusal, Refused, Source

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gateway.core.budgets import Hold
    from gateway.core.permit import Admission, Entry
    from gateway.core.ports import Store

NO_LIMITS: Final = Ledger()
"""The ledger of every request on a route without limits: it holds nothing to settle."""

UNAVAILABLE: Final = Refusal(
    Reason.STORE_UNAVAILABLE,
    "Limits cannot be checked at the moment.",
    source=Source.GATEWAY,
    retry_after=1.0,
)


async def limit(entry: Entry, store: Store, ahead: Callable[[], Sequence[Hold]] | None = None) -> Admission:
    """Charge one request of the entry's identity against all limits of its route, or none.

    Args:
        entry: Proof that the identity may use the route.
        store: Keeps the limits; asked once, and not at all if the route has none.
        ahead: Tells what budgets the request may want later; see `Store.admit`.

    Returns:
        Proof that there is room; its ledger must be settled.

    Raises:
        Refused: `RATE_EXCEEDED`, `CONCURRENCY_EXCEEDED`, `BUDGET_HELD` (nothing was charged) or
            `STORE_UNAVAILABLE`.
    """
    limits = entry.route.limits
    if not limits.rates and limits.concurrency is None:
        return issue_admission(entry, NO_LIMITS)
    try:
        ledger = await store.admit(entry.identity.key, limits, ahead)
    except StoreUnavailable:
        raise Refused(UNAVAILABLE) from None
    if ledger.refused is None:
        return issue_admission(entry, ledger)
    raise Refused(_refusal(ledger))


def _refusal(ledger: Ledger) -> Refusal:
    if ledger.is_temporary:
        reason, detail = (
            Reason.BUDGET_HELD,
            "What is left of the limit lies with another part of the gateway.",
        )
    elif ledger.is_concurrency:
        reason, detail = Reason.CONCURRENCY_EXCEEDED, "Too many requests at the same time."
    else:
        seconds = max(1, ceil(ledger.retry_after))
        reason, detail = Reason.RATE_EXCEEDED, f"Too many requests; try again in {seconds} s."
    return Refusal(
        reason,
        detail,
        note="answered by the local share" if ledger.is_local else "",
        retry_after=ledger.retry_after,
        rule=ledger.refused,
        limits=ledger.states,
    )

"""What one process opens once and keeps, whichever configuration it runs: the record, the shared state.

Limits, counters, revocations and what was used once are here, so that no reload forgets any of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, final

import structlog

from gateway.app.revocations import make_keeper
from gateway.app.shared_state import make_budgets, make_once, make_state
from gateway.observe.audit import AuditLog, Signer
from gateway.state.redis import RedisStore
from gateway.state.redis_counters import RedisCounters

if TYPE_CHECKING:
    from contextlib import AsyncExitStack

    from gateway.app.compilation import Compilation
    from gateway.app.revocations import Keeper
    from gateway.app.shared_state import Budgets, Counters, Store
    from gateway.core.ports import Clock, Once


@final
@dataclass(slots=True)
class Ground:
    """The ground that configurations come and go on.

    Args:
        audit: The audit log.
        store: Limits.
        counters: Behaviour.
        budgets: Budgets.
        once: What was used once.
        keeper: Revocations.
    """

    audit: AuditLog
    store: Store
    counters: Counters
    budgets: Budgets
    once: Once
    keeper: Keeper


async def open_ground(
    stack: AsyncExitStack, compilation: Compilation, clock: Clock, *, is_worker: bool
) -> Ground:
    """Open everything; `stack` closes it.

    Args:
        stack: Of the process.
        compilation: What runs first; the parts that this rests on cannot change later.
        clock: Time.
        is_worker: True if other processes have chains of their own beside this one's.

    Raises:
        AuditBroken: The audit log cannot be continued.
        RevocationsBroken: The journal of revocations cannot be continued.
    """
    audit = open_audit(stack, compilation, clock, is_worker=is_worker)
    store, counters = make_state(compilation, clock)
    if isinstance(store, RedisStore):
        stack.push_async_callback(store.stop)
        await store.start()
    if isinstance(counters, RedisCounters):
        stack.push_async_callback(counters.stop)
        await counters.start()
    budgets = make_budgets(compilation, store, clock)
    once = make_once(compilation, store, clock)
    possession = compilation.identification.possession
    if possession is not None:
        possession.once = once
    keeper = make_keeper(compilation, clock)
    stack.push_async_callback(keeper.stop)
    await keeper.start()
    return Ground(audit, store, counters, budgets, once, keeper)


def open_audit(stack: AsyncExitStack, compilation: Compilation, clock: Clock, *, is_worker: bool) -> AuditLog:
    """Open the audit log; `stack` closes it.

    Raises:
        AuditBroken: It cannot be continued.
    """
    settings, key = compilation.settings.audit, compilation.checkpoint_key
    settings.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    log = structlog.get_logger()

    def health(is_healthy: bool) -> None:  # noqa: FBT001 - the audit log's signature
        if is_healthy:
            log.info("audit-back")
        else:
            log.error(
                "audit-lost",
                mend="make room on the disk of the audit log; requests are refused until then",
            )

    audit = AuditLog(
        settings.path,
        clock=clock,
        signer=None if key is None else Signer(key, "checkpoint"),
        sync_every=settings.sync_every,
        max_bytes=settings.rotate_at,
        is_worker=is_worker,
        on_health=health,
    )
    stack.callback(audit.close)
    audit.start()
    return audit

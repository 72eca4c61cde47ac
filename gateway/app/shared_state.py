"""Opens the shared state that the settings name: limits and counters, in memory or in Redis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import structlog

from gateway.state import address
from gateway.state.counters import MemoryCounters
from gateway.state.link import FULL, Server, tls_context
from gateway.state.memory import MemoryStore
from gateway.state.memory_accounts import MemoryAccounts
from gateway.state.memory_budgets import MemoryBudgets
from gateway.state.once import MemoryOnce
from gateway.state.redis import RedisStore
from gateway.state.redis_accounts import RedisAccounts
from gateway.state.redis_budgets import RedisBudgets
from gateway.state.redis_counters import RedisCounters
from gateway.state.redis_once import RedisOnce
from gateway.state.redis_shares import RedisShares

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.app.compilation import Compilation
    from gateway.core.accounts import Accounts
    from gateway.core.ports import Clock

Store = MemoryStore | RedisStore
Budgets = MemoryBudgets | RedisBudgets
Counters = MemoryCounters | RedisCounters

INLINE: Final = "the server refuses SCRIPT LOAD, so every call brings the script along: permit `script|load`"
"""What operators read once if the server loads no scripts."""

MEMORY: Final = "requests are refused for want of memory: raise the server's `maxmemory`"
"""What operators read, once a minute, while that is so."""


def make_state(compilation: Compilation, clock: Clock) -> tuple[Store, Counters]:
    """Make store and counters; those in Redis still have to be started.

    Args:
        compilation: Where they live, and what they keep.
        clock: Time.
    """
    settings = compilation.settings
    behaviour = settings.behaviour
    local = MemoryStore(clock)
    if settings.state.url.scheme == "memory":
        counters = MemoryCounters(
            clock,
            half_life=behaviour.half_life,
            identities=behaviour.identities,
            seed=compilation.blinding,
        )
        return local, counters
    server = server_of(compilation)
    share = 1.0 / (compilation.settings.state.processes or 1)  # demanded where it matters
    shares = RedisShares(server, clock, blinding=compilation.blinding, report=_reporter("limits"))
    return RedisStore(shares, local, share=share), RedisCounters(
        server,
        clock,
        half_life=behaviour.half_life,
        identities=behaviour.identities,
        blinding=compilation.blinding,
        report=_reporter("counters"),
    )


def make_budgets(compilation: Compilation, store: Store, clock: Clock) -> Budgets:
    """Make what keeps budgets; in Redis over the connection of the limits.

    Args:
        compilation: The number of gateway processes.
        store: The store of the limits.
        clock: Time.
    """
    local = MemoryBudgets(clock)
    if not isinstance(store, RedisStore):
        return local
    share = 1.0 / (compilation.settings.state.processes or 1)  # demanded where it matters
    return RedisBudgets(store.shares, local, share=share)


def make_accounts(clock: Clock, store: Store, budgets: Budgets) -> Accounts:
    """Make what operators see and change of limits.

    Args:
        clock: Time.
        store: Keeps those that are charged by the head.
        budgets: Keeps all others.
    """
    if isinstance(store, RedisStore):
        return RedisAccounts(store.shares)
    assert isinstance(budgets, MemoryBudgets)  # noqa: S101 - as `make_budgets` pairs them
    return MemoryAccounts(budgets, store, clock)


def make_once(compilation: Compilation, store: Store, clock: Clock) -> MemoryOnce | RedisOnce:
    """Make what tells whether a proof was used before; in Redis over the connection of the limits.

    Args:
        compilation: What hides the names.
        store: The store of the limits.
        clock: Time.
    """
    if isinstance(store, RedisStore):
        return RedisOnce(store.link, blinding=compilation.blinding)
    return MemoryOnce(clock)


def server_of(compilation: Compilation) -> Server:
    """Return how to reach the store that the settings name.

    Args:
        compilation: They name one.
    """
    state = compilation.settings.state
    tls = state.tls
    context = None
    if state.url.is_tls:
        context = tls_context(
            None if tls is None else str(tls.ca),
            None if tls is None or tls.certificate is None else str(tls.certificate),
            None if tls is None or tls.private_key is None else str(tls.private_key),
        )
    return Server(
        address.parse(state.url.text),
        password=_encoded(compilation.state_password),
        tls=context,
        timeout=state.timeout,
        sentinel_password=_encoded(compilation.sentinel_password),
    )


def _encoded(password: str | None) -> bytes | None:
    return None if password is None else password.encode()


def _reporter(what: str) -> Callable[[str, str], None]:
    def report(event: str, why: str) -> None:
        log = structlog.get_logger()
        if event == "lost":
            log.error("state-lost", what=what, why=why)
        elif event == "inline":
            log.warning("state-scripts-inline", what=what, mend=INLINE)
        elif event == FULL:
            log.error("state-full", what=what, why=f"{event} {why}".rstrip(), mend=MEMORY)
        else:
            log.info("state-back", what=what)

    return report

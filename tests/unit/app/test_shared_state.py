"""Which store the settings mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from gateway.app.shared_state import (
    INLINE,
    MEMORY,
    _reporter,
    make_budgets,
    make_once,
    make_state,
    server_of,
)
from gateway.state.address import SentinelAddress
from gateway.state.counters import MemoryCounters
from gateway.state.memory import MemoryStore
from gateway.state.memory_budgets import MemoryBudgets
from gateway.state.once import MemoryOnce
from gateway.state.redis import RedisStore
from gateway.state.redis_budgets import RedisBudgets
from gateway.state.redis_counters import RedisCounters
from gateway.state.redis_once import RedisOnce
from tests.unit.app.settings import CLOCK, FULL

if TYPE_CHECKING:
    from tests.unit.app.settings import Directory

REDIS = 'state: {url: "redis://gateway@127.0.0.1:1/2", password: "file:secret", timeout: 50ms}\n'
SECURED = """\
state:
  url: rediss://gateway@127.0.0.1:1/0
  password: file:secret
  tls: {ca: certs/backends-ca.pem, certificate: certs/to-backend.pem, private_key: certs/to-backend.key}
"""
WATCHED = """\
state: {url: "redis+sentinel://127.0.0.1:1/m", password: "file:secret", sentinel_password: "file:secret"}
"""
PUBLIC = 'state: {url: "rediss://127.0.0.1:1", password: "file:secret", tls: {ca: certs/backends-ca.pem}}\n'


def test_memory_needs_nothing(directory: Directory) -> None:
    """The embedded default."""
    store, counters = make_state(directory.compile(), CLOCK)

    assert (MemoryStore, MemoryCounters) == (type(store), type(counters))


async def test_redis_is_not_connected_yet(directory: Directory) -> None:
    """Made, and not ready before it was started."""
    store, counters = make_state(directory.compile(FULL + REDIS), CLOCK)

    assert isinstance(store, RedisStore)
    assert isinstance(counters, RedisCounters)
    assert not store.is_ready


@pytest.mark.parametrize(("state", "expected"), [("", MemoryOnce), (REDIS, RedisOnce)])
def test_what_is_used_once_lives_where_limits_do(directory: Directory, state: str, expected: type) -> None:
    """In this process's memory, or in the fleet's store over the same connection."""
    compilation = directory.compile(FULL + state)
    store, _ = make_state(compilation, CLOCK)

    assert expected is type(make_once(compilation, store, CLOCK))


@pytest.mark.parametrize(("state", "expected"), [("", MemoryBudgets), (REDIS, RedisBudgets)])
def test_budgets_live_where_limits_do(directory: Directory, state: str, expected: type) -> None:
    """In this process's memory, or in the fleet's store over the same connection."""
    compilation = directory.compile(FULL + state)
    store, _ = make_state(compilation, CLOCK)
    budgets = make_budgets(compilation, store, CLOCK)

    assert expected is type(budgets)
    assert not isinstance(budgets, RedisBudgets) or (
        isinstance(store, RedisStore) and budgets.shares is store.shares
    )


def test_the_server_is_what_was_written(directory: Directory) -> None:
    """Address, password and time; TLS with our certificate where the URL says so."""
    plain = server_of(directory.compile(FULL + REDIS))
    secured = server_of(directory.compile(FULL + SECURED))
    public = server_of(directory.compile(FULL + PUBLIC))

    assert (b"correct-horse", None, 0.05) == (plain.password, plain.tls, plain.timeout)
    assert None not in {secured.tls, public.tls}


def test_sentinels_have_a_password_of_their_own(directory: Directory) -> None:
    """It is not the servers'."""
    server = server_of(directory.compile(FULL + WATCHED))

    assert (b"correct-horse", b"correct-horse") == (server.password, server.sentinel_password)
    assert isinstance(server.address, SentinelAddress)


def test_a_server_without_a_password(directory: Directory) -> None:
    """None is asked for, none is sent."""
    assert server_of(directory.compile(FULL + 'state: {url: "redis://127.0.0.1:1"}\n')).password is None


def test_a_lost_store_is_said_once_each_way() -> None:
    """As an error with its reason, and as good news; that it loads no scripts as a warning with the mend."""
    with capture_logs() as lines:
        report = _reporter("limits")
        report("lost", "timeout")
        report("back", "")
        report("inline", "")
        report("out-of-memory", "")

    assert [
        {"event": "state-lost", "log_level": "error", "what": "limits", "why": "timeout"},
        {"event": "state-back", "log_level": "info", "what": "limits"},
        {"event": "state-scripts-inline", "log_level": "warning", "what": "limits", "mend": INLINE},
        {
            "event": "state-full",
            "log_level": "error",
            "what": "limits",
            "why": "out-of-memory",
            "mend": MEMORY,
        },
    ] == lines

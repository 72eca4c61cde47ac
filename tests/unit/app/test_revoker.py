"""Who is let in again, and when not."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
import structlog

from gateway.app.revocations import make_keeper
from gateway.app.revoker import Revoker
from gateway.core.ports import StoreUnavailable
from gateway.core.revocation import Revocation, Target
from gateway.observe.audit import AuditLog
from tests.unit.app.settings import CLOCK
from tests.unit.app.test_process import simple

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.app.settings import Directory


async def test_nobody_is_let_in_again_without_a_trace(directory: Directory, tmp_path: Path) -> None:
    """Lifting waits for the audit log to be well; a source takes back only what it said before."""
    audit = AuditLog(tmp_path / "a.jsonl", clock=CLOCK)
    keeper = make_keeper(directory.compile(simple()), CLOCK)
    await keeper.start()
    gateway = cast("Any", SimpleNamespace(running={}))
    revoker = Revoker(keeper, gateway, audit, structlog.get_logger(), CLOCK)
    at = CLOCK.wall() + 5.0  # of a source whose clock goes before ours
    row = Revocation("r-1", Target.SUBJECT, "a|ada", at, at + 1e6)
    await revoker.add([row])
    audit.is_healthy = False
    with pytest.raises(StoreUnavailable):
        await revoker.release("r-1", "operator")
    audit.is_healthy = True
    await revoker.lift(["r-1", "none"], at - 1.0)
    is_held = [keeper.index.get("r-1") is not None]
    await revoker.lift(["r-1"], at)
    is_held.append(keeper.index.get("r-1") is not None)
    await revoker.add([Revocation("r-2", Target.SUBJECT, "a|bob", at, at + 1e6)])
    released = await revoker.release("r-2", "operator")
    await keeper.stop()
    audit.close()

    assert [True, False] == is_held
    assert released is not None
    assert keeper.index.get("r-2") is None


def test_only_memory_alone_is_never_stale(directory: Directory) -> None:
    """What others revoke is not known here once it was not heard for too long."""
    fleet = directory.compile(simple(more='state: {url: "redis://127.0.0.1:9/0"}')).revocations
    alone = directory.compile(simple()).revocations

    assert (True, False) == (alone._bound is None, fleet._bound is None)

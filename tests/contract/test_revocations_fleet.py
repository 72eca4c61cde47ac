"""Revocations between processes, and a store that loses, lies and falls silent: it may deny, never grant."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from gateway.core.ports import StoreUnavailable
from gateway.core.revocation import Lift
from gateway.state import replicated
from gateway.state.address import parse
from gateway.state.link import Server
from gateway.state.sealing import Seal
from tests.contract.conftest import SERVERS, reach
from tests.contract.fleet import NOW, Fleet, revoke, until
from tests.servers import RunningServer, redis_binary, talking, valkey_binary

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test waits for a start that cannot succeed."""
    monkeypatch.setattr(replicated, "START", 0.3)


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RunningServer]:
    """A server that the test may break."""
    binary = redis_binary() if request.param == "redis" else valkey_binary()
    assert binary is not None
    server = RunningServer(binary, tmp_path)
    server.start()
    yield server
    server.stop()


@pytest.fixture
async def fleet(server: RunningServer, tmp_path: Path) -> AsyncIterator[Fleet]:
    """A fleet around it."""
    made = Fleet(tmp_path, reach(server, timeout=1.0))
    yield made
    await made.close()


def names(server: RunningServer, pattern: str = "*") -> list[str]:
    """Return the keys that a server has."""
    found = server.admin("KEYS", pattern)
    assert isinstance(found, list)
    return sorted(name.decode() for name in found)


async def test_everywhere_within_a_second(fleet: Fleet) -> None:
    """A revocation and its lift reach the other processes, which did not wait for them."""
    one, two = await fleet.start("one"), await fleet.start("two")
    await one.keeper.add([revoke("a")])
    there = await until(two.is_revoked)
    await two.keeper.lift(Lift("a", NOW))
    back = await until(lambda: not one.is_revoked())

    assert there < 1.0
    assert back < 1.0


async def test_a_new_process_knows_what_the_fleet_knows(fleet: Fleet) -> None:
    """More than one call and one reply hold, lifted ones included; each with a journal of its own."""
    one = await fleet.start("one")
    await one.keeper.add([revoke(f"r-{number}", f"s-{number}") for number in range(300)])
    await one.keeper.lift(Lift("r-7", NOW))
    two = await fleet.start("two")
    known = two.ids
    await fleet.stop("two")
    two = await fleet.start("two")

    assert one.ids == known == two.ids
    assert 299 == len(known)
    assert two.index.is_current


@pytest.mark.parametrize(
    "loss",
    [
        ("FLUSHALL",),
        ("DEL", "known"),
        ("DEL", "log"),
        ("DEL", "mark"),
        ("DEL", "known", "log", "mark"),
        ("XTRIM",),
    ],
    ids="-".join,
)
async def test_what_the_store_loses_comes_back(
    fleet: Fleet, server: RunningServer, loss: tuple[str, ...]
) -> None:
    """Whatever is removed: nobody is let in, and a process that starts afterwards knows all of it."""
    one, two = await fleet.start("one"), await fleet.start("two")
    await one.keeper.add([revoke("a"), revoke("b", "issuer|bob")])
    await one.keeper.lift(Lift("b", NOW))
    await until(lambda: {"a"} == two.ids)
    if loss == ("XTRIM",):
        server.admin("XTRIM", "gateway:{revocations}:log", "MAXLEN", "0")
    elif loss == ("FLUSHALL",):
        server.admin("FLUSHALL")
    else:
        server.admin("DEL", *(f"gateway:{{revocations}}:{key}" for key in loss[1:]))
    if loss == ("DEL", "known"):  # nothing that is read all the time shows it: the next comparison does
        two.keeper._compare_at = 0.0  # type: ignore[union-attr]  # a fleet's
    await until(lambda: 2 <= int(str(server.admin("HLEN", "gateway:{revocations}:known"))))
    three = await fleet.start("three")
    await three.keeper.add([revoke("c", "issuer|cleo")])
    await until(lambda: all({"a", "c"} == each.ids and each.index.is_current for each in (one, two, three)))

    assert 3 == len(names(server))


async def test_a_restarted_server_is_taught(fleet: Fleet, server: RunningServer) -> None:
    """It comes back with nothing; what was added meanwhile is handed on."""
    one, two = await fleet.start("one"), await fleet.start("two")
    await one.keeper.add([revoke("a")])
    await until(two.is_revoked)
    server.stop()
    await until(lambda: "lost" in one.said and "lost" in two.said)
    with pytest.raises(StoreUnavailable):
        await one.keeper.add([revoke("b", "issuer|bob")])
    with pytest.raises(StoreUnavailable):
        await one.keeper.lift(Lift("a", NOW))
    assert {"a", "b"} == one.ids
    server.start()
    await until(lambda: {"a", "b"} == two.ids and two.index.is_current and one.index.is_current)

    assert "back" in one.said


async def test_a_process_starts_without_the_store(fleet: Fleet, server: RunningServer) -> None:
    """It knows what it knew, believes nobody, and is well once the store is there."""
    one = await fleet.start("one")
    await one.keeper.add([revoke("a")])
    await fleet.stop("one")
    server.stop()
    one = await fleet.start("one")
    assert one.is_revoked()
    assert not one.index.is_current
    server.start()
    await until(lambda: one.index.is_current)

    assert 1 == server.admin("HLEN", "gateway:{revocations}:known")


async def test_a_silent_store_is_believed_for_a_while_only(fleet: Fleet, server: RunningServer) -> None:
    """Frozen, it holds its connections and answers nothing: at the bound nobody is believed; thawed, at once."""
    fleet.bound = 1.0
    one = await fleet.start("one")
    assert one.index.is_current
    server.freeze()
    stale = await until(lambda: not one.index.is_current)
    server.thaw()
    await until(lambda: one.index.is_current)

    assert 0.5 < stale < 5.0


async def test_garbage_is_not_believed(fleet: Fleet, server: RunningServer) -> None:
    """Entries that nobody sealed, copies under other names, odd types: counted, and no revocation is lost."""
    one = await fleet.start("one")
    await one.keeper.add([revoke("a")])
    for field in ("a:a", "l:a", "a:x", "nonsense"):
        server.admin("HSET", "gateway:{revocations}:known", field, "garbage")
    server.admin("XADD", "gateway:{revocations}:log", "*", "c", "garbage", "odd", "fields")
    await until(lambda: one.keeper.forged >= 4)  # type: ignore[union-attr]  # a fleet's
    two = await fleet.start("two")
    await until(lambda: {"a"} == two.ids and one.index.is_current)

    assert {"a"} == one.ids
    assert "forged" in one.said


async def test_a_forged_lift_lifts_nothing(fleet: Fleet, server: RunningServer) -> None:
    """Who has the store and not the secret writes what it likes."""
    one = await fleet.start("one")
    await one.keeper.add([revoke("a")])
    forged = Seal(b"guessed").close(Lift("a", NOW))
    server.admin("HDEL", "gateway:{revocations}:known", "a:a")
    raw = forged.hex()  # this client sends text; what it is does not matter, it opens nothing
    server.admin("HSET", "gateway:{revocations}:known", "l:a", raw)
    server.admin("DEL", "gateway:{revocations}:mark")
    await until(lambda: 1 == server.admin("HEXISTS", "gateway:{revocations}:known", "a:a"))

    assert {"a"} == one.ids


async def test_an_old_entry_played_again_changes_nothing(fleet: Fleet, server: RunningServer) -> None:
    """A revocation that was lifted stays lifted, whatever the store shows."""
    one = await fleet.start("one")
    await one.keeper.add([revoke("a")])
    old = server.admin("HGET", "gateway:{revocations}:known", "a:a")
    assert isinstance(old, bytes)
    await one.keeper.lift(Lift("a", NOW))
    server.admin("HSET", "gateway:{revocations}:known", "a:a", old)  # type: ignore[arg-type]  # bytes are sent as they are
    one.keeper._compare_at = 0.0  # type: ignore[union-attr]  # a fleet's
    two = await fleet.start("two")

    assert set() == one.ids == two.ids


async def test_another_secret_is_noticed(fleet: Fleet, tmp_path: Path) -> None:
    """Two gateways that do not hear each other believe nobody, and say why; until one of them is mended."""
    one = await fleet.start("one")
    other = Fleet(tmp_path, fleet.server)
    other.secret = b"another"
    two = await other.start("two")
    await two.keeper.add([revoke("a")])
    await until(lambda: not one.index.is_current)
    await until(lambda: "foreign" in one.said)
    await other.close()

    assert not one.is_revoked()


async def test_another_secret_is_mended_by_removing_its_keys(
    fleet: Fleet, server: RunningServer, tmp_path: Path
) -> None:
    """The other one is gone for good: its keys are removed, and everything goes on by itself."""
    other = Fleet(tmp_path, fleet.server)
    other.secret = b"another"
    await (await other.start("two")).keeper.add([revoke("a")])
    await other.close()
    one = await fleet.start("one")
    assert not one.index.is_current
    server.admin("DEL", *names(server))
    await until(lambda: one.index.is_current)

    assert set() == one.ids


async def test_scripts_that_are_gone_are_loaded_again(fleet: Fleet, server: RunningServer) -> None:
    """SCRIPT FLUSH costs nothing."""
    one = await fleet.start("one")
    server.admin("SCRIPT", "FLUSH")
    await one.keeper.add([revoke("a")])

    assert 1 == server.admin("HLEN", "gateway:{revocations}:known")


async def test_a_full_store_is_said(fleet: Fleet, server: RunningServer) -> None:
    """What is revoked holds here, the others are told when there is room again, and the log says why."""
    one, two = await fleet.start("one"), await fleet.start("two")
    server.admin("CONFIG", "SET", "maxmemory", "1")
    with pytest.raises(StoreUnavailable):
        await one.keeper.add([revoke("a")])
    said = one.is_revoked(), two.is_revoked(), list(one.said)
    server.admin("CONFIG", "SET", "maxmemory", "0")
    await until(two.is_revoked)

    assert said == (True, False, ["out-of-memory"])


async def test_what_ended_long_ago_is_removed(fleet: Fleet, server: RunningServer) -> None:
    """A day later, when no clock can doubt it; not before."""
    one = await fleet.start("one")
    await one.keeper.add([revoke("a", expires=NOW + 10)])
    fleet.clock.now += 3600
    one.index.end()
    one.keeper._compare_at = 0.0  # type: ignore[union-attr]  # a fleet's
    await one.keeper.add([revoke("b", "issuer|bob")])
    await asyncio.sleep(0)
    kept = server.admin("HLEN", "gateway:{revocations}:known")
    fleet.clock.now += 86_400
    one.keeper._compare_at = 0.0  # type: ignore[union-attr]  # a fleet's
    await until(lambda: 1 == server.admin("HLEN", "gateway:{revocations}:known"))

    assert 2 == kept
    assert {"b"} == one.ids


async def test_more_than_fits_is_not_left_out_in_silence(fleet: Fleet) -> None:
    """A process with less room believes nobody, and says so; with room again, it goes on."""
    one = await fleet.start("one")
    await one.keeper.add([revoke(name, f"s-{name}", expires=NOW + 10) for name in "abc"])
    fleet.capacity = 2
    two = await fleet.start("two")
    is_current = two.index.is_current
    fleet.clock.now += 10
    two.index.end()
    await until(lambda: two.index.is_current)

    assert not is_current
    assert "full" in two.said


async def test_the_store_learns_nothing(fleet: Fleet, server: RunningServer) -> None:
    """Neither who is revoked nor why; and all keys are in one slot of a cluster."""
    one = await fleet.start("one")
    await one.keeper.add([revoke("a", "issuer|somebody-secret")])
    dumped = str(
        [server.admin("HGETALL", "gateway:{revocations}:known"), server.admin("DUMP", names(server)[1])]
    )

    assert "somebody" not in dumped
    assert all("{revocations}" in name for name in names(server))


async def test_a_journal_that_can_not_be_written(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes from others holds, is said to be unkept, and is kept with the next."""
    one, two = await fleet.start("one"), await fleet.start("two")
    real, failing = two.keeper._journal.append, True

    async def append(changes: Any) -> None:
        if failing:
            raise OSError(28, "No space left on device")
        await real(changes)

    monkeypatch.setattr(type(two.keeper._journal), "append", lambda _self, changes: append(changes))
    with pytest.raises(StoreUnavailable):
        await one.keeper.add([revoke("a")])
    await until(lambda: two.is_revoked() and "unkept" in two.said)
    failing = False
    monkeypatch.undo()
    await one.keeper.add([revoke("b", "issuer|bob")])
    await until(lambda: "b" in two.ids and not two.keeper._owed)
    await fleet.stop("two")
    fleet.server, kept = None, None
    kept = await fleet.start("two")

    assert {"a", "b"} == kept.ids


@pytest.mark.parametrize(
    "command",
    [(b"XREVRANGE", b":1\r\n"), (b"XREVRANGE", b"*1\r\n:1\r\n"), (b"HSCAN", b":1\r\n"), (b"XREAD", b":1\r\n"),
     (b"XREAD", b"-ERR no\r\n"), (b"GET", b"-ERR no\r\n"), (b"HSCAN", b"-NOPERM no\r\n")],
)  # fmt: skip
async def test_odd_replies_are_no_news(command: tuple[bytes, bytes], tmp_path: Path) -> None:
    """A server that answers something else is not heard: what is known grows old, and nobody is believed."""
    replies = {
        b"SCRIPT": b"*1\r\n:1\r\n", b"EVALSHA": b"$0\r\n\r\n", b"XREVRANGE": b"*0\r\n", b"PING": b"+PONG\r\n",
        b"HSCAN": b"*2\r\n$1\r\n0\r\n*0\r\n", b"GET": b"$-1\r\n", b"XREAD": b"$-1\r\n",
    }  # fmt: skip
    replies[command[0]] = command[1]
    asked = 0

    def answer(words: list[bytes]) -> bytes:
        nonlocal asked
        asked += words[0] == command[0]
        is_probe = words[0] == b"XREVRANGE" and asked == 1
        return b"*0\r\n" if is_probe else replies[words[0]]

    async with talking(answer) as (url, _):
        fleet = Fleet(tmp_path, Server(parse(url), timeout=1.0), f"{uuid4()}:")
        fleet.bound = 0.01
        one = await fleet.start()
        await until(lambda: "lost" in one.said)
        await until(lambda: not one.index.is_current)
        await fleet.close()

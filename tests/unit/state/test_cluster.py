"""Clusters that misbehave in ways that real ones do not: what they say is bounded and not believed blindly."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, final

import pytest
from redis.crc import key_slot

from gateway.core.limits import RateLimit, RouteLimits
from gateway.core.ports import StoreUnavailable
from gateway.state import cluster
from gateway.state.accounts import TAG_BYTES
from gateway.state.address import Address, ClusterAddress, parse
from gateway.state.cluster import Cluster
from gateway.state.connection import LOST, Answer, pack
from gateway.state.link import Server
from gateway.state.locator import Unlocated
from gateway.state.memory import MemoryStore
from gateway.state.redis import RedisStore
from gateway.state.redis_shares import RedisShares
from gateway.state.slots import SLOTS, SlotOwner, probe_tag, read_redirection, read_slots
from tests.contract.conftest import FakeClock
from tests.contract.test_failures import Reports
from tests.servers import free_port, talking
from tests.unit.state.test_redis import usual

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from gateway.state.connection import Reply

RATED = RouteLimits("rated", (RateLimit("r", 60, 60.0, 10),))
PLACE = ClusterAddress((Address("127.0.0.1", 7000, user="gateway"),))
HERE = PLACE.nodes[0]
HALF = SLOTS // 2


def resp(value: object) -> bytes:
    """Encode a reply."""
    match value:
        case None:
            return b"$-1\r\n"
        case int():
            return b":%d\r\n" % value
        case list():
            return b"*%d\r\n%b" % (len(value), b"".join(map(resp, value)))
        case str():
            return b"$%d\r\n%b\r\n" % (len(value), value.encode())
        case _:
            raise TypeError(value)


@final
class Servers:
    """Two doubles that share the slots, or as a test says."""

    def __init__(self) -> None:
        self.ports: list[int] = []
        self.asked: list[list[list[bytes]]] = []
        self.ranges = [(0, HALF - 1), (HALF, SLOTS - 1)]
        self.answers: dict[int, Callable[[list[bytes]], bytes | None]] = {}

    def answer(self, number: int, words: list[bytes]) -> bytes:
        """Answer as a server of a cluster does."""
        if words[0] == b"CLUSTER":
            return resp(
                [
                    [*slots, ["127.0.0.1", port, "id"]]
                    for slots, port in zip(self.ranges, self.ports, strict=False)
                ]
            )
        more = self.answers.get(number)
        reply = None if more is None or b"probe" in b" ".join(words) else more(words)
        return reply or usual(words)

    def claims(self) -> list[int]:
        """Return how many claims each was sent."""
        return [sum(map(is_claim, asked)) for asked in self.asked]


def is_claim(words: list[bytes]) -> bool:
    """Tell the claims of identities from everything else."""
    return words[0] == b"EVALSHA" and b"{probe" not in words[3]


def tag_of(store: RedisStore, key: str) -> bytes:
    """Return what the keys of an identity begin with."""
    return store.shares.shares._accounts.tag(key)


def made(server: Server, **options: object) -> RedisStore:
    """A store that reports nothing by itself; not started yet."""
    shares = RedisShares(server, FakeClock(), interval=1e6, **options)  # type: ignore[arg-type]  # options
    return RedisStore(shares, MemoryStore(FakeClock()))


@asynccontextmanager
async def opened(servers: Servers, **options: object) -> AsyncIterator[tuple[RedisStore, Cluster, list[str]]]:
    """A store on two doubles, and an identity of each."""
    async with AsyncExitStack() as stack:
        for number in range(2):
            url, asked = await stack.enter_async_context(
                talking(lambda words, number=number: servers.answer(number, words))  # type: ignore[misc]  # bound
            )
            servers.ports.append(int(url.rpartition(":")[2]))
            servers.asked.append(asked)
        server = Server(parse(f"redis+cluster://127.0.0.1:{servers.ports[0]}"), timeout=5.0)
        store = made(server, **options)
        await store.start()
        stack.push_async_callback(store.stop)
        assert isinstance(store.link, Cluster)
        keys = [
            next(key for key in map(str, range(1000)) if (key_slot(tag_of(store, key)) < HALF) is is_low)
            for is_low in (True, False)
        ]
        yield store, store.link, keys


async def test_each_server_is_sent_its_own() -> None:
    """And nothing else."""
    servers = Servers()
    async with opened(servers) as (store, _, keys):
        for key in keys:
            await store.admit(key, RATED)

        assert servers.claims() == [1, 1]


@pytest.mark.parametrize("kind", ["MOVED", "ASK"])
async def test_who_is_sent_in_circles_is_refused(kind: str) -> None:
    """Two servers that name each other are asked a bounded number of times."""
    servers = Servers()
    async with opened(servers) as (store, link, keys):
        slot = key_slot(tag_of(store, keys[0]))
        for number in range(2):
            other = servers.ports[1 - number]
            servers.answers[number] = lambda words, other=other: (
                f"-{kind} {slot} 127.0.0.1:{other}\r\n".encode()  # type: ignore[misc]
                if is_claim(words)
                else None
            )
        with pytest.raises(StoreUnavailable):
            await store.admit(keys[0], RATED)

        assert store.lost == 0
        assert len(link.connections) == 2
        assert sum(servers.claims()) == 1 + cluster.HOPS


async def test_a_password_does_not_follow_everybody() -> None:
    """Without TLS only this machine's servers are connected to, whoever is named."""
    servers = Servers()
    async with opened(servers) as (store, link, keys):
        slot = key_slot(tag_of(store, keys[0]))
        servers.answers[0] = lambda _words: f"-MOVED {slot} 192.0.2.1:6379\r\n".encode()
        with pytest.raises(StoreUnavailable):
            await store.admit(keys[0], RATED)

        assert not link._guests


async def test_what_is_connected_to_because_it_was_named_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that names others without end costs a few connections."""
    monkeypatch.setattr(cluster, "MAX_GUESTS", 3)
    servers = Servers()
    ports = iter(range(1, 100))
    async with opened(servers) as (store, link, keys):
        slot = key_slot(tag_of(store, keys[0]))
        servers.answers[0] = lambda _words: f"-ASK {slot} 127.0.0.1:{next(ports)}\r\n".encode()
        for _ in range(10):
            with pytest.raises(StoreUnavailable):
                await store.admit(keys[0], RATED)

        assert len(link._guests) == 3


async def test_a_fault_where_it_was_sent_on_to_ends_that_connection() -> None:
    """Not the one that the command was first sent over."""
    reports = Reports()
    servers = Servers()
    async with opened(servers, report=reports) as (store, link, keys):
        slot = key_slot(tag_of(store, keys[0]))
        first = link.at(tag_of(store, keys[0]))
        servers.answers[0] = lambda _words: f"-ASK {slot} 127.0.0.1:{servers.ports[1]}\r\n".encode()
        servers.answers[1] = lambda words: b"-READONLY no\r\n" if words[0] == b"EVALSHA" else None
        with pytest.raises(StoreUnavailable):
            await store.admit(keys[0], RATED)
        await reports.until("back")  # the probe is answered

        assert first is link.at(tag_of(store, keys[0]))
    assert ("lost", f"read-only at 127.0.0.1:{servers.ports[1]}") == reports.said[0]


async def test_a_fault_ends_the_connection_that_it_came_over() -> None:
    """Not the one to whoever has the slot by the time that it comes."""
    reports = Reports()
    servers = Servers()
    async with opened(servers, report=reports) as (store, link, keys):
        tag = tag_of(store, keys[0])
        there = link.at(tag_of(store, keys[1]))

        def turned(words: list[bytes]) -> bytes | None:
            if not is_claim(words):
                return None
            link._owners[key_slot(tag)] = link._owners[-1]
            return b"-READONLY no\r\n"

        servers.answers[0] = turned
        with pytest.raises(StoreUnavailable):
            await store.admit(keys[0], RATED)
        await reports.until("back")

        assert there is link.at(tag_of(store, keys[1]))
    assert reports.said[0] == ("lost", f"read-only at 127.0.0.1:{servers.ports[0]}")


async def test_an_ordinary_error_is_the_receivers() -> None:
    """Also from where a command was sent on to: it says nothing about the connection."""
    servers = Servers()
    async with opened(servers) as (store, link, keys):
        connection = link.at(tag_of(store, keys[0]))
        assert connection is not None
        servers.answers[0] = lambda _words: f"-MOVED 0 127.0.0.1:{servers.ports[1]}\r\n".encode()
        servers.answers[1] = lambda _words: b"-WRONGTYPE no\r\n"
        answer = Answer(asyncio.get_running_loop())
        connection.send(pack("GET", "x"), answer)
        reply = await answer.future

        assert str(reply).startswith("WRONGTYPE")
        assert reply is not LOST
        assert len(link.connections) == 2


async def test_slots_that_nobody_has_refuse_alone() -> None:
    """Said, counted, and well again when somebody has them."""
    reports = Reports()
    servers = Servers()
    servers.ranges = [(0, HALF - 1)]
    async with opened(servers, report=reports) as (store, _, keys):
        there = await store.admit(keys[0], RATED)
        with pytest.raises(StoreUnavailable):
            await store.admit(keys[1], RATED)
        lost = store.lost
        servers.ranges = [(0, HALF - 1), (HALF, SLOTS - 1)]
        await reports.until("back")
        again = await store.admit(keys[1], RATED)

    assert (there.refused, lost, again.refused) == (None, 1, None)
    assert reports.said == [("lost", "slots-unserved"), ("back", "")]


async def test_who_took_a_lost_server_s_place_is_asked_for_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not at the next time that it would have been asked for anyway; who lost all slots is left alone."""
    monkeypatch.setattr(cluster, "PAUSE", 0.0)
    reports = Reports()
    servers = Servers()
    async with opened(servers, report=reports) as (store, link, keys):
        lost = link.at(tag_of(store, keys[1]))
        assert lost is not None
        await asyncio.sleep(0.05)  # nothing happens any more
        servers.ranges = [(0, SLOTS - 1)]
        lost.abort("test")
        await reports.until("back")

        assert link.at(tag_of(store, keys[1])) is link.at(tag_of(store, keys[0]))
        assert len(link.connections) == 1
    assert reports.said == [("lost", f"test at 127.0.0.1:{servers.ports[1]}"), ("back", "")]


async def test_a_mistake_of_ours_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rather an alarm than a start that never ends, or a map that silently stays as it is."""

    def mistaken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(cluster, "read_slots", mistaken)
    reports = Reports()
    async with opened(Servers(), report=reports) as (store, _, keys):
        with pytest.raises(StoreUnavailable):
            await store.admit(keys[0], RATED)

    assert reports.said == [("lost", "ZeroDivisionError")]


async def test_nobody_answers() -> None:
    """The start returns, and the reason is known."""
    server = Server(parse(f"redis+cluster://127.0.0.1:{free_port()}"))
    store = made(server)
    await store.start()
    said = store.is_ready, store.why, store.lost
    await store.stop()

    assert said == (False, "unreachable", 1)


async def test_one_server_is_no_cluster() -> None:
    """A server without slots says so, in its own words."""
    disabled = b"-ERR This instance has cluster support disabled\r\n"
    async with talking(lambda words: disabled if words[0] == b"CLUSTER" else b":1\r\n") as (url, _):
        store = made(Server(parse(url.replace("redis:", "redis+cluster:"))))
        await store.start()
        why = store.why
        await store.stop()

    assert why == "no-cluster"


async def test_who_has_a_slot_is_asked_of_another_the_next_time() -> None:
    """One alone may be behind the times."""
    servers = Servers()
    async with opened(servers):
        for asked in servers.asked:
            asked.clear()
        place = parse(f"redis+cluster://127.0.0.1:{servers.ports[0]}")
        assert isinstance(place, ClusterAddress)
        owner = SlotOwner(Server(place), place, b"revocations")
        found = {await owner.locate() for _ in range(4)}
        questions = [sum(words[0] == b"CLUSTER" for words in asked) for asked in servers.asked]

    assert len(found) == 1
    assert questions == [2, 2]


async def test_keys_that_nobody_has_are_nowhere() -> None:
    """Who follows one slot is told so."""
    servers = Servers()
    servers.ranges = [(0, 0)]
    async with opened(servers):
        place = parse(f"redis+cluster://127.0.0.1:{servers.ports[0]}")
        assert isinstance(place, ClusterAddress)
        with pytest.raises(Unlocated, match="slot-unserved"):
            await SlotOwner(Server(place), place, b"revocations").locate()


@pytest.mark.parametrize(
    "reply",
    [
        None,
        1,
        b"OK",
        [1],
        [[0, 1]],
        [[0, 1, []]],
        [[0, 1, [b"127.0.0.1"]]],
        [[0, 1, [b"127.0.0.1", b"7000"]]],
        [[0, 1, [7, 7000]]],
        [[-1, 1, [b"127.0.0.1", 7000]]],
        [[0, SLOTS, [b"127.0.0.1", 7000]]],
        [[2, 1, [b"127.0.0.1", 7000]]],
        LOST,
    ],
)
def test_odd_maps_are_no_maps(reply: Reply) -> None:
    """Nothing is half believed."""
    with pytest.raises(Unlocated, match="no-cluster"):
        read_slots(reply, HERE, PLACE)


def test_a_map_names_no_strangers() -> None:
    """A server in the clear elsewhere; and one that does not know its own name is the one that was asked."""
    with pytest.raises(Unlocated, match="not-encrypted"):
        read_slots([[0, 1, [b"10.0.0.1", 7000]]], HERE, PLACE)

    assert read_slots([[0, 1, [b"", 7001, b"id", []], [b"r", 1]], [3, 3, [None, 7001]]], HERE, PLACE) == {
        Address("127.0.0.1", 7001, user="gateway"): frozenset({0, 1, 3})
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("MOVED 1 10.0.0.1:7001", (True, 1, "10.0.0.1", 7001)),
        ("ASK 16383 ::1:7001", (False, 16383, "::1", 7001)),
        ("MOVED 1 :7001", (True, 1, "127.0.0.1", 7001)),
        ("MOVED 16384 h:1", None),
        ("MOVED x h:1", None),
        ("MOVED 1 h:x", None),
        ("MOVED 1", None),
        ("TRYAGAIN Multiple keys", None),
        ("ERR MOVED 1 h:1", None),
    ],
)
def test_reads_where_a_command_belongs(text: str, expected: tuple[object, ...] | None) -> None:
    """Both kinds, or nothing at all."""
    found = read_redirection(text, HERE, PLACE)
    read = None if found is None else (found.is_lasting, found.slot, found.address.host, found.address.port)

    assert expected == read


def test_a_probe_is_in_one_of_the_slots() -> None:
    """Another one each time, as long as the tags of identities; always the same for a server that has all."""
    some = frozenset(range(100, 400))
    tags = {probe_tag(some) for _ in range(10)}

    assert all(key_slot(tag) in some and len(tag) == 2 * TAG_BYTES for tag in tags)
    assert len(tags) > 1
    assert probe_tag() == probe_tag()
    assert len(probe_tag()) == 2 * TAG_BYTES

"""Renewal: what changes on disk counts at once, for whoever is connected already, too."""

from __future__ import annotations

import asyncio
import ssl
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Self

import pytest
from structlog.testing import capture_logs

from gateway.app.listener import Listener
from gateway.app.peers import Peers, peer_chain, recheck
from gateway.app.renewal import DAY, REPEAT, Renewal
from gateway.config.addresses import Listen
from gateway.core.refusal import Reason, Refusal
from gateway.credentials.chains import Chains
from gateway.credentials.tls import Dated
from gateway.credentials.trust import Trust
from gateway.credentials.watched import Watched
from gateway.wire.downstream import Downstream
from gateway.wire.pool import Pool
from gateway.wire.service import Service
from tests.pki import Ca, Leaf
from tests.unit.app.test_client_trust import NOW, ROOT, SERVER, Files
from tests.unit.wire.parts import GET, Line

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gateway.core.identity import Peer


class Moving:
    """A clock that is moved by hand, from now on."""

    def __init__(self) -> None:
        self.now = NOW

    def wall(self) -> float:
        return self.now

    def tick(self) -> float:
        return self.now


class World:
    """A listener with clients, whose trust is renewed by hand.

    Args:
        files: What it rests on.
    """

    def __init__(self, files: Files) -> None:
        import structlog

        self.files = files
        self.clock = Moving()
        self.chains = Chains(files.trust.trust, self.clock)
        self.refused: list[Refusal] = []
        self.line = Line()
        self.service = Service(self.line, Peers(self.chains, lambda _, refusal: self.refused.append(refusal)))
        self.pool = Pool([])
        self.listener = Listener(lambda: Downstream(self.service), 5.0)  # type: ignore[arg-type,return-value]
        self.bound: list[tuple[str, str]] = []
        self.backends: dict[str, Watched[Dated]] = {}
        self.renewal = Renewal(
            self.clock,
            structlog.get_logger(),
            0.01,
            connections=lambda: self.service.connections,
            pool=self.pool,
            backends=self.backends,
            bind=lambda name, fingerprint: self.bound.append((name, fingerprint)),
            clients=files.trust,
            chains=self.chains,
            domains=files.domains.values(),
        )

    async def __aenter__(self) -> Self:
        name: Any = await self.listener.open(Listen("127.0.0.1", 0), tls=self.files.trust.context)
        self.port = name[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.renewal.stop()
        self.listener.close()
        self.service.abort()
        self.service.close()
        self.pool.close()
        await asyncio.sleep(0.02)

    async def connect(self, leaf: Leaf, *chain: Ca) -> Client:
        """A client that has been let in."""
        context = ssl.create_default_context(cadata=SERVER.pem.decode())
        context.load_cert_chain(*leaf.write(self.files.directory, "client", *chain))
        before = len(self.service.connections)
        made = await asyncio.open_connection("127.0.0.1", self.port, ssl=context, server_hostname="localhost")
        client = Client(*made)
        await until(lambda: len(self.service.connections) > before)
        return client


class Client:
    """One client connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def ask(self) -> bytes:
        """Be served once; nothing if the connection is gone."""
        self.writer.write(GET)
        try:
            return await self.reader.read(4096)
        except OSError:
            return b""

    async def rest(self) -> bytes:
        """Everything until the gateway ends the connection."""
        try:
            async with asyncio.timeout(5):
                return await self.reader.read()
        except OSError:
            return b""
        finally:
            self.writer.transport.abort()


async def until(condition: Callable[[], object]) -> None:
    """Wait for the loop to come so far."""
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0)


OTHER = Ca("other", NOW)


async def test_a_revocation_ends_connections_in_the_same_turn(tmp_path: Path) -> None:
    """Idle ones close, a running line gets the refusal; between the swap and the walk nobody is served."""
    bad, good = ROOT.issue(name="bad"), ROOT.issue(name="good")
    files = Files(tmp_path, lists=ROOT.revoke(number=1))
    async with World(files) as world:
        idle, running, honest = [await world.connect(one) for one in (bad, bad, good)]
        world.line.wait_for = asyncio.get_running_loop().create_future()
        running.writer.write(GET + GET)
        await until(lambda: world.service.active)
        files.write("ca.crl", ROOT.revoke(bad, number=2))
        with capture_logs() as lines:
            world.renewal.apply()
        ended = [connection._reader.is_doomed for connection in world.service.connections]
        refused = list(world.line.refused)
        idle.writer.write(GET)
        answers = await idle.rest(), await running.rest()
        world.line.wait_for = None
        served = await honest.ask()
        honest.writer.transport.abort()

    assert [False, True, True] == sorted(ended)
    assert ["certificate-revoked"] == refused
    assert b"" == answers[0]
    assert answers[1].startswith(b"HTTP/1.1 400")
    assert 1 == answers[1].count(b"HTTP/1.1")
    assert b"Connection: close" in answers[1]
    assert served.startswith(b"HTTP/1.1 200")
    assert 2 == len(world.line.seen)
    assert 2 == world.renewal.ended
    assert ["trust-reloaded", "trust-reloaded", "connection-ended", "connection-ended"] == [
        line["event"] for line in lines
    ]


async def test_new_handshakes_follow(tmp_path: Path) -> None:
    """The listener is replaced by the background task; a new authority's client is let in then."""
    files = Files(tmp_path)
    async with World(files) as world:
        world.renewal.start(world.listener)
        first = await world.connect(ROOT.issue())
        files.write("ca.pem", ROOT.pem + OTHER.pem)
        await until(lambda: world.renewal.reloads == 2 and world.renewal._context is None)
        second = await world.connect(OTHER.issue())
        answers = await first.ask(), await second.ask()
        for each in (first, second):
            each.writer.transport.abort()

    assert all(answer.startswith(b"HTTP/1.1 200") for answer in answers)


async def test_a_listener_that_cannot_be_replaced_is_tried_again(tmp_path: Path) -> None:
    """No descriptors left, say: the old context serves on, it is said, and the next look succeeds."""
    files = Files(tmp_path)
    async with World(files) as world:
        failures = [OSError(24, "Too many open files")]
        replaced: list[ssl.SSLContext] = []

        async def replace(context: ssl.SSLContext) -> None:
            if failures:
                raise failures.pop()
            replaced.append(context)

        world.listener.replace = replace  # type: ignore[method-assign]
        world.renewal._listener = world.listener
        files.write("ca.pem", ROOT.pem + OTHER.pem)
        with capture_logs() as lines:
            await world.renewal._look()
            await world.renewal._look()
            await world.renewal._look()

    assert [files.trust.context] == replaced
    assert ["listener"] == [line["what"] for line in lines if line["event"] == "trust-refused"]


async def test_a_bundle_that_changes_counts_at_once(tmp_path: Path) -> None:
    """Without waiting for the next look at the files."""
    files = Files(tmp_path, domains={"one.example": (OTHER,)})
    async with World(files) as world:
        client = await world.connect(OTHER.issue("spiffe://one.example/a"))
        files.take("one.example")
        rest = await client.rest()

    assert (b"", 1) == (rest, world.renewal.ended)


async def test_what_ends_with_time_ends_without_a_change(tmp_path: Path) -> None:
    """A certificate that expires and a list that goes stale; the latter is said, not too often."""
    short, long = ROOT.issue(name="short", days=0.5), ROOT.issue(name="long", days=5)
    files = Files(tmp_path, lists=ROOT.revoke(days=2))
    async with World(files) as world:
        one, two = await world.connect(short), await world.connect(long)
        world.renewal.apply()
        assert 0 == world.renewal.ended
        world.clock.now += DAY
        with capture_logs() as lines:
            world.renewal.apply()
            assert 1 == world.renewal.ended
            world.clock.now += 2 * DAY
            world.renewal.apply()
            world.renewal.apply()
            world.clock.now += REPEAT
            world.renewal.apply()
        await one.rest()
        await two.rest()
    ended = [line["reason"] for line in lines if line["event"] == "connection-ended"]
    stale = [line for line in lines if line["event"] == "revocations-stale"]

    assert ["certificate-expired", "revocations-stale"] == ended
    assert [(1, True)] * 2 == [(line["lists"], line["refuses"]) for line in stale]


async def test_a_list_in_its_grace_is_said_and_counts(tmp_path: Path) -> None:
    """Loudly, while its clients are still served."""
    files = Files(tmp_path, lists=ROOT.revoke(days=1), revocation_grace="12h")
    async with World(files) as world:
        client = await world.connect(ROOT.issue(days=9))
        world.clock.now += DAY
        with capture_logs() as lines:
            world.renewal.apply()
        answer = await client.ask()
        client.writer.transport.abort()

    assert answer.startswith(b"HTTP/1.1 200")
    assert [("revocations-stale", False, "error")] == [
        (line["event"], line["refuses"], line["log_level"]) for line in lines
    ]


async def test_another_path_may_end_earlier(tmp_path: Path) -> None:
    """Then the peer of the open connection says so from now on."""
    short = Ca("between", NOW, issuer=ROOT, days=3)
    long = Ca("between", NOW, issuer=OTHER, days=9, key=short.key)
    leaf = short.issue(days=20)
    files = Files(tmp_path)
    async with World(files) as world:
        client = await world.connect(leaf, short, long)
        [connection] = world.service.connections
        before: Peer | None = connection.peer
        files.write("ca.pem", OTHER.pem)
        world.renewal.apply()
        after: Peer | None = connection.peer
        client.writer.transport.abort()

    assert before is not None
    assert after is not None
    assert before.certificate is not None
    assert after.certificate is not None
    assert (NOW // 1 + 3 * DAY, NOW // 1 + 9 * DAY) == (
        before.certificate.not_after,
        after.certificate.not_after,
    )
    assert (before.address, before.port, before.tls) == (after.address, after.port, after.tls)


async def test_connections_without_a_certificate_stay(tmp_path: Path) -> None:
    """There is nothing about them that could have been withdrawn."""
    files = Files(tmp_path, client_certificate="optional")
    async with World(files) as world:
        context = ssl.create_default_context(cadata=SERVER.pem.decode())
        made = await asyncio.open_connection(
            "127.0.0.1", world.port, ssl=context, server_hostname="localhost"
        )
        client = Client(*made)
        answer = await client.ask()
        files.write("ca.pem", OTHER.pem)
        world.renewal.apply()
        again = await client.ask()
        client.writer.transport.abort()

    assert answer.startswith(b"HTTP/1.1 200")
    assert again.startswith(b"HTTP/1.1 200")


async def test_backends_are_renewed_and_metrics_show_it(tmp_path: Path) -> None:
    """New contexts go to the pool; a failing one is counted; days are those of the first to end."""
    files = Files(tmp_path, lists=ROOT.revoke(days=2))
    marker = files.write("backend", b"1")
    renewed: list[tuple[str, ssl.SSLContext]] = []

    def make() -> Dated:
        if marker.read_bytes() == b"bad":
            raise ValueError("bad")
        fingerprint = None if marker.read_bytes() == b"none" else "f"
        return Dated(ssl.create_default_context(), NOW + 3600, fingerprint)

    async with World(files) as world:
        world.backends["b"] = Watched("backends.b", [marker], make)
        world.pool.renew = lambda name, context: renewed.append((name, context))  # type: ignore[method-assign]

        def values() -> dict[str, float]:
            return {gauge.name: gauge.read() for gauge in world.renewal.gauges()}

        await world.renewal._look()
        files.write("backend", b"2")
        await world.renewal._look()
        first = world.backends["b"].value.context
        files.write("backend", b"none")
        await world.renewal._look()
        files.write("backend", b"bad")
        files.write("server.pem", b"bad")
        await world.renewal._look()
        found = values()

    assert [("b", first), ("b", world.backends["b"].value.context)] == renewed
    assert [("b", "f")] == world.bound
    assert (2.0, 2.0, 2.0, 0.0) == tuple(
        found[name]
        for name in (
            "trust_reloads_total",
            "trust_reload_failures_total",
            "trust_failing",
            "connections_ended_total",
        )
    )
    assert pytest.approx(1 / 24) == found["certificate_days_left"]
    assert 29 < found["client_authority_days_left"] < 30
    assert 1.9 < found["revocation_list_days_left"] < 2


async def test_a_bug_ends_nobody_s_watching(tmp_path: Path) -> None:
    """One connection that cannot be looked at ends, the others are looked at; the next look comes."""
    files = Files(tmp_path)
    async with World(files) as world:
        client = await world.connect(ROOT.issue())
        world.renewal.start(world.listener)

        def broken(_chain: object) -> Any:
            raise RuntimeError("bug")

        refused: list[Refusal] = []
        chains: Any = SimpleNamespace(verify=broken)
        assert 1 == recheck(world.service.connections, chains, lambda _, refusal: refused.append(refusal))
        rest = await client.rest()
        with capture_logs() as lines:
            apply, world.renewal.apply = world.renewal.apply, lambda: broken(0)  # type: ignore[method-assign]
            await until(lambda: world.renewal.failures)
            world.renewal.apply = apply  # type: ignore[method-assign]
            files.write("ca.pem", ROOT.pem + OTHER.pem)
            await until(lambda: world.renewal.reloads)

    assert (b"", [Reason.INTERNAL]) == (rest, [refusal.reason for refusal in refused])
    assert "a fault of the gateway: RuntimeError" in {line.get("why") for line in lines}


async def test_without_tls_there_is_little_to_watch() -> None:
    """Nothing happens, and nothing is shown that does not exist."""
    import structlog

    renewal = Renewal(
        Moving(),
        structlog.get_logger(),
        1.0,
        connections=list,
        pool=Pool([]),
        backends={},
        bind=lambda name, fingerprint: None,
        clients=None,
        chains=Chains(Trust(), Moving()),
    )
    await renewal._look()

    assert {"certificate_days_left", "trust_failing"} <= {gauge.name for gauge in renewal.gauges()}
    assert not any("authority" in gauge.name for gauge in renewal.gauges())
    assert float("inf") == {gauge.name: gauge.read() for gauge in renewal.gauges()}["certificate_days_left"]


async def test_a_chain_of_a_real_connection_is_whole(tmp_path: Path) -> None:
    """An intermediate that only the client knows is seen in the gateway, under this event loop's TLS."""
    between = Ca("between", NOW, issuer=ROOT)
    files = Files(tmp_path)
    async with World(files) as world:
        client = await world.connect(between.issue(), between)
        [connection] = world.service.connections
        chain = peer_chain(connection.transport_info("ssl_object"))
        world.service.connections.add(Downstream(world.service))  # one that is not connected (yet)
        ended = recheck(world.service.connections, world.chains, lambda _, refusal: None)
        client.writer.transport.abort()

    assert (2, between.der, 0) == (len(chain), chain[1], ended)


async def test_a_refused_client_is_told_of(tmp_path: Path) -> None:
    """OpenSSL lets it in, the second look does not."""
    bad = ROOT.issue()
    files = Files(tmp_path, lists=ROOT.revoke(bad))
    async with World(files) as world:
        context = ssl.create_default_context(cadata=SERVER.pem.decode())
        context.load_cert_chain(*bad.write(tmp_path, "bad"))
        made = await asyncio.open_connection(
            "127.0.0.1", world.port, ssl=context, server_hostname="localhost"
        )
        rest = await Client(*made).rest()

    assert b"" == rest
    assert [Reason.CERTIFICATE_REVOKED] == [refusal.reason for refusal in world.refused]

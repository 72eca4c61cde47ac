"""The pool with connections in memory: counts, turns, addresses, certificates, retries."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import replace
from ipaddress import ip_network
from types import SimpleNamespace
from typing import Any, cast, final

import pytest

from gateway.core.outbound import Outbound
from gateway.core.ports import ClientGone
from gateway.core.refusal import Refused
from gateway.core.route import Bounds
from gateway.wire.driver import Driver
from gateway.wire.pool import BackendSettings, EndpointSettings, Pool
from tests.doubles.line import Line
from tests.unit.stages.authorize.material import an_identity
from tests.unit.wire.parts import FakeTransport, turn

ROUTE = replace(Line().route, priorities={"urgent": 5, "batch": -5})
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
GET = Outbound("b", b"GET / HTTP/1.1\r\n", b"", b"", is_idempotent=True)
POST = Outbound("b", b"POST / HTTP/1.1\r\n", b"", b"{}")


@final
class Network:
    """A loop's way out: names, addresses, connections in memory.

    Args:
        addresses: What each name resolves to.
        peer: Address that a connection ends at; None: the one asked for.
    """

    def __init__(self, addresses: dict[str, list[str]], peer: str | None = None) -> None:
        self.addresses = addresses
        self.peer = peer
        self.failures: dict[str, Exception] = {}
        self.transports: list[FakeTransport] = []
        self.asked: list[tuple[Any, ...]] = []
        self.hold: asyncio.Future[None] | None = None
        self.closes_at_once = False
        self.certificate: bytes | None = None

    async def getaddrinfo(self, host: str, port: int, *, type: int) -> list[Any]:
        return [(2, type, 6, "", (address, port)) for address in self.addresses.get(host, [host])]

    async def create_connection(
        self, factory: Any, address: str, port: int, *, ssl: Any, server_hostname: str | None
    ) -> Any:
        self.asked.append((address, port, server_hostname))
        return await self._connect(factory, address)

    async def create_unix_connection(
        self, factory: Any, path: str, *, ssl: Any, server_hostname: str | None
    ) -> Any:
        self.asked.append((path, server_hostname))
        return await self._connect(factory, path)

    async def _connect(self, factory: Any, address: str) -> Any:
        if self.hold is not None:
            await self.hold
        if address in self.failures:
            raise self.failures[address]
        protocol = factory()
        transport = FakeTransport(protocol)
        transport._extra["peername"] = (self.peer or address, 1)
        transport._extra["ssl_object"] = SimpleNamespace(getpeercert=lambda *, binary_form: self.certificate)
        protocol.connection_made(transport)
        self.transports.append(transport)
        if self.closes_at_once:
            transport.abort()
            await asyncio.sleep(0)
        return transport, protocol


def make(network: Network, *endpoints: EndpointSettings, **settings: Any) -> Pool:
    """A pool of one backend on that network."""
    endpoints = endpoints or (EndpointSettings("e", "backend", 80, "backend"),)
    pool = Pool([BackendSettings("b", endpoints, **settings)])
    for endpoint in pool._endpoints["b"]:
        endpoint._loop = cast("Any", _Loop(network))
    return pool


class _Loop:
    """The network's methods, and the running loop's others."""

    def __init__(self, network: Network) -> None:
        self.network = network

    def __getattr__(self, name: str) -> Any:
        return getattr(self.network, name, None) or getattr(asyncio.get_running_loop(), name)


@final
class Call:
    """One `Pool.open`, driven as the line is."""

    def __init__(
        self,
        pool: Pool,
        outbound: Outbound = GET,
        bounds: Bounds | None = None,
        caller: str = "a",
        roles: frozenset[str] = frozenset(),
    ) -> None:
        self.answer: Any = None
        self.reason = ""
        self.note = ""
        self.ends: list[BaseException | None] = []
        route = replace(ROUTE, bounds=bounds or Bounds())
        permit = cast("Any", SimpleNamespace(route=route, identity=an_identity(*roles, key=caller)))
        self.driver = Driver(self._run(pool, outbound, permit), self.ends.append)
        self.driver.resume()

    async def _run(self, pool: Pool, outbound: Outbound, permit: Any) -> None:
        try:
            self.answer = await pool.open(outbound, permit, cast("Any", None), cast("Any", None))
        except Refused as refused:
            self.reason = refused.refusal.reason.value
            self.note = refused.refusal.note


async def answer(network: Network, raw: bytes = OK, which: int = -1) -> None:
    """Let the backend at the end of a connection answer."""
    await turn(12)
    network.transports[which].protocol.data_received(raw)  # type: ignore[attr-defined]
    await turn()


async def test_a_kept_connection_is_used_again() -> None:
    """The one used last, first."""
    network = Network({})
    pool = make(network)
    first = Call(pool)
    await answer(network)
    second = Call(pool)
    await answer(network)

    assert (200, 200) == (first.answer.status, second.answer.status)
    assert 1 == len(network.transports)
    assert {"e": 1} == pool.connections()

    pool.close()
    await turn()

    assert {"e": 0} == pool.connections()


async def test_more_than_the_bound_is_refused() -> None:
    """Connections that are being made are counted."""
    network = Network({})
    network.hold = asyncio.get_running_loop().create_future()
    pool = make(network, connections=2, queue=0)
    calls = [Call(pool) for _ in range(3)]
    await turn()

    assert ["", "", "backend-busy"] == [each.reason for each in calls]
    assert {"e": 2} == pool.connections()


async def test_who_waits_goes_by_the_priority_of_its_roles() -> None:
    """And then by turns; the client's own patience counts."""
    network = Network({})
    pool = make(network, requests=1)
    first = Call(pool)
    impatient = Outbound("b", b"GET / HTTP/1.1\r\n", b"", b"", patience=0.0)
    gone = Call(pool, impatient)
    low = Call(pool, roles=frozenset({"batch"}))
    plain = [Call(pool, caller="b"), Call(pool, caller="b"), Call(pool, caller="c")]
    high = Call(pool, roles=frozenset({"batch", "urgent"}))
    calls = [first, high, plain[0], plain[2], plain[1], low]
    for number, each in enumerate(calls, 1):
        assert [None] * (len(calls) - number + 1) == [call.answer for call in calls[number - 1 :]]
        await answer(network)
        assert 200 == each.answer.status

    assert ("backend-busy", "waited for too long") == (gone.reason, gone.note)


async def test_a_busy_endpoint_is_passed_over() -> None:
    """As long as another one has room."""
    network = Network({})
    pool = make(network, *[EndpointSettings(name, name, 80, name) for name in "xy"], connections=1)
    for _ in range(2):
        Call(pool)
        await turn(12)
    await answer(network)  # of the second one: now it is the first one's turn
    third = Call(pool)
    await answer(network)

    assert "y" == third.answer.endpoint
    assert {"x": 1, "y": 1} == pool.connections()


async def test_endpoints_take_turns() -> None:
    """One after the other."""
    network = Network({})
    pool = make(network, *(EndpointSettings(name, name, 80, name) for name in ("a", "b", "c")))
    for _ in range(4):
        Call(pool)
    await turn(12)

    assert ["a", "b", "c", "a"] == [each[0] for each in network.asked]


@pytest.mark.parametrize(
    ("addresses", "peer", "reason"),
    [
        (["10.0.0.1"], None, ""),
        (["::ffff:10.0.0.1"], None, ""),
        (["192.0.2.1"], None, "backend-address-refused"),
        (["10.0.0.1", "192.0.2.1"], None, "backend-address-refused"),
        (["169.254.169.254"], None, "backend-address-refused"),
        (["::ffff:169.254.169.254"], None, "backend-address-refused"),
        (["10.0.0.1"], "192.0.2.1", "backend-address-refused"),
        ([], None, "backend-unreachable"),
    ],
)
async def test_addresses_are_checked_before_and_after_connecting(
    addresses: list[str], peer: str | None, reason: str
) -> None:
    """One address outside the networks is enough; a name that changes its mind leads nowhere."""
    network = Network({"backend": addresses}, peer)
    pool = make(network, networks=(ip_network("10.0.0.0/8"),))
    call = Call(pool)
    await turn(12)

    assert reason == call.reason
    assert {"e": 0 if reason else 1} == pool.connections()
    assert bool(reason) <= all(each.was_aborted for each in network.transports)


async def test_the_next_address_is_tried() -> None:
    """A name may have some that do not answer."""
    network = Network({"backend": ["10.0.0.1", "10.0.0.2"]})
    network.failures["10.0.0.1"] = ConnectionRefusedError()
    pool = make(network)
    call = Call(pool)
    await answer(network)

    assert 200 == call.answer.status


@pytest.mark.parametrize(
    ("failure", "reason", "note"),
    [
        (ConnectionRefusedError("secret"), "backend-unreachable", "ConnectionRefusedError"),
        (TimeoutError(), "backend-unreachable", "connect timed out"),
        (ssl.SSLError(1, "[SSL: X] secret"), "backend-tls", ""),
    ],
)
async def test_failures_to_connect_have_a_word(failure: Exception, reason: str, note: str) -> None:
    """And no text that is not ours."""
    network = Network({})
    network.failures["backend"] = failure
    pool = make(network)
    call = Call(pool)
    await turn(12)

    assert (reason, note) == (call.reason, call.note)
    assert {"e": 0} == pool.connections()


async def test_connecting_has_a_deadline() -> None:
    """Resolving, connecting and the handshake together."""
    network = Network({})
    network.hold = asyncio.get_running_loop().create_future()
    pool = make(network)
    call = Call(pool, bounds=Bounds(connect=0.0))
    await turn(12)

    assert ("backend-unreachable", "connect timed out") == (call.reason, call.note)
    assert {"e": 0} == pool.connections()


async def test_a_backend_that_closes_at_once_is_unreachable() -> None:
    """It is counted once, and not watched for ever."""
    network = Network({})
    network.closes_at_once = True
    pool = make(network)
    call = Call(pool)
    await turn(12)

    assert ("backend-unreachable", "closed at once") == (call.reason, call.note)
    assert {"e": 0} == pool.connections()
    assert not pool._deadlines._watched


async def test_a_vanished_client_stops_the_connecting() -> None:
    """Nobody needs it any more."""
    network = Network({})
    network.hold = asyncio.get_running_loop().create_future()
    pool = make(network)
    call = Call(pool)
    await turn()
    call.driver.throw(ClientGone())
    await turn()

    assert [ClientGone] == [type(each) for each in call.ends]
    assert network.hold.cancelled()
    assert {"e": 0} == pool.connections()


async def test_a_connection_made_for_nobody_is_closed() -> None:
    """The client vanished in the very turn in which it was made."""
    network = Network({})
    pool = make(network)
    call = Call(pool)
    while not network.transports:
        await asyncio.sleep(0)
    call.driver.throw(ClientGone())
    await turn()

    assert network.transports[0].was_aborted
    assert {"e": 0} == pool.connections()


async def test_a_vanished_client_aborts_its_request() -> None:
    """The backend need not answer any more."""
    network = Network({})
    pool = make(network)
    call = Call(pool)
    await turn(12)
    call.driver.throw(ClientGone())

    assert network.transports[0].was_aborted


@pytest.mark.parametrize(("outbound", "transports", "reason"), [(GET, 2, ""), (POST, 1, "backend-died")])
async def test_a_stale_connection(outbound: Outbound, transports: int, reason: str) -> None:
    """Closed by the backend as we wrote: what may be repeated is, once; nothing else (RFC 9110, section 9.2.2)."""
    network = Network({})
    pool = make(network)
    Call(pool)
    await answer(network)
    call = Call(pool, outbound)
    network.transports[0].close()
    await turn(12)

    assert transports == len(network.transports)
    assert reason == call.reason

    if not reason:
        await answer(network)

        assert 200 == call.answer.status


async def test_a_fresh_connection_that_dies_is_not_tried_again() -> None:
    """Once is a stale connection; twice is a broken backend."""
    network = Network({})
    pool = make(network)
    call = Call(pool)
    await turn(12)
    network.transports[0].close()
    await turn(12)

    assert ("backend-died", 1) == (call.reason, len(network.transports))


async def test_a_protocol_error_on_a_kept_connection_is_not_repeated() -> None:
    """The backend did answer."""
    network = Network({})
    pool = make(network)
    Call(pool)
    await answer(network)
    call = Call(pool)
    await answer(network, b"NONSENSE\r\n")

    assert ("backend-protocol", 1) == (call.reason, len(network.transports))


async def test_a_connection_that_closes_while_idle_is_forgotten() -> None:
    """It is not given out again."""
    network = Network({})
    pool = make(network)
    Call(pool)
    await answer(network)
    network.transports[0].close()
    closing = Call(pool)
    await turn(12)

    assert {"e": 1} == pool.connections()
    assert 2 == len(network.transports)
    assert not closing.reason


async def test_after_close_connections_end_with_their_exchange() -> None:
    """An old configuration's pool keeps nothing."""
    network = Network({})
    pool = make(network)
    call = Call(pool)
    await turn(12)
    pool.close()
    await answer(network)

    assert 200 == call.answer.status
    assert network.transports[0].was_aborted
    assert {"e": 0} == pool.connections()


def refuse_certificate(certificate: bytes) -> None:
    """Take one certificate alone."""
    if certificate != b"good":
        raise ValueError("not the one")


@pytest.mark.parametrize(("certificate", "reason"), [(b"good", ""), (b"bad", "backend-tls")])
async def test_a_backend_proves_its_identity(certificate: bytes, reason: str) -> None:
    """Before a byte of the request is written."""
    network = Network({})
    network.certificate = certificate
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    pool = make(
        network,
        EndpointSettings(
            "e", "backend", 80, "backend", tls=tls, server_name="other", verify=refuse_certificate
        ),
    )
    call = Call(pool)
    await turn(12)

    assert reason == call.reason
    assert [("backend", 80, "other")] == network.asked
    assert bool(network.transports[0].written) == (not reason)


async def test_a_unix_socket_has_no_address_to_check() -> None:
    """Networks do not concern it; over TLS it needs a name."""
    for tls, name in ((None, None), (ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), "localhost")):
        network = Network({})
        pool = make(
            network,
            EndpointSettings("e", "", 0, "e", path="/s", tls=tls, credential="Bearer x"),
            networks=(ip_network("10.0.0.0/8"),),
        )
        call = Call(pool)
        await answer(network)

        assert 200 == call.answer.status
        assert [("/s", name)] == network.asked
        assert (
            b"GET / HTTP/1.1\r\nHost: e\r\nAuthorization: Bearer x\r\n\r\n" == network.transports[0].written
        )


@pytest.mark.parametrize("turns", range(8))
async def test_a_client_that_goes_while_connecting_gives_its_slot_back(turns: int) -> None:
    """In whichever turn of the loop it goes: before the first step of connecting as well."""
    pool = make(Network({}), connections=1)
    call = Call(pool)
    for _ in range(turns):
        await asyncio.sleep(0)
    call.driver.throw(ClientGone())
    await turn(20)

    assert {"e": 0} == pool.connections()


async def test_a_renewed_context_is_used_from_now_on() -> None:
    """Idle connections end, used ones when they become idle, one that is being made after its request."""
    network = Network({})
    old, new = ssl.create_default_context(), ssl.create_default_context()
    endpoint = EndpointSettings("e", "backend", 443, "backend", tls=old)
    pool = make(network, endpoint)
    busy = Call(pool)
    await turn(12)
    quick = Call(pool)
    await answer(network, which=1)
    network.hold = asyncio.get_running_loop().create_future()
    quicker, late = Call(pool), Call(pool)
    await answer(network, which=1)
    pool.renew("b", new)
    network.hold.set_result(None)
    await answer(network, which=0)
    await answer(network, which=2)
    after = Call(pool)
    await answer(network)

    assert [200] * 5 == [call.answer.status for call in (busy, quick, quicker, late, after)]
    assert [True, True, True, False] == [one.was_aborted for one in network.transports]
    assert {"e": 1} == pool.connections()
    assert new is pool._endpoints["b"][0]._tls
    assert set() == pool._endpoints["b"][0]._retired  # nothing is kept of what has ended
    pool.close()


async def test_an_endpoint_without_tls_is_not_renewed() -> None:
    """There is nothing to renew; its connections stay."""
    network = Network({})
    pool = make(network)
    Call(pool)
    await answer(network)
    pool.renew("b", ssl.create_default_context())

    assert pool._endpoints["b"][0]._tls is None
    assert not network.transports[0].was_aborted
    pool.close()

"""What all connections share: counts, ids, the date, remembered targets."""

from __future__ import annotations

from email.utils import parsedate_to_datetime

from gateway.wire.service import MAX_TARGETS, ConnectionBounds, Service, Timeouts
from tests.unit.wire.parts import Clock, Line, connect, make_service, turn


async def test_ids_are_unique_and_tell_processes_apart() -> None:
    """64 random bits and a serial number."""
    ours, theirs = make_service(Line()), make_service(Line())
    ids = {ours.new_id() for _ in range(100)} | {theirs.new_id() for _ in range(100)}

    assert 200 == len(ids)
    assert {28} == {len(each) for each in ids}
    assert 2 == len({each[:16] for each in ids})


async def test_the_date_is_made_once_a_second() -> None:
    """In the form that RFC 9110, section 5.6.7, asks for."""
    clock = Clock()
    service = make_service(Line(), clock=clock)
    first = service.date()
    service._date = b"kept"
    clock.now += 0.9

    assert parsedate_to_datetime(first.decode()).tzinfo is not None
    assert first.endswith(b" GMT")
    assert b"kept" == service.date()

    clock.now += 0.2

    assert b"kept" != service.date()


async def test_remembered_targets_are_bounded() -> None:
    """A client that makes them up fills no memory."""
    service = make_service(Line())
    for number in range(MAX_TARGETS + 1):
        service.remember_target(b"/%d" % number, (f"/{number}", ""))

    assert 1 == len(service.targets)


async def test_peers_that_are_not_taken_are_cut() -> None:
    """A peer that cannot be made, too many in all, a process that drains."""
    nobody = Service(Line(), lambda _transport: None)
    full = make_service(Line(), connections=1)
    draining = make_service(Line())
    draining.drain()
    connect(full)
    for service in (nobody, full, draining):
        _, transport = connect(service)
        await turn()

        assert transport.was_aborted
        assert 1 == service.refused_connections


async def test_connections_are_counted_per_address_and_given_back() -> None:
    """Two stay open, one leaves, one more may come."""
    service = make_service(Line(), connections_per_address=2)
    _, first = connect(service)
    connect(service)
    first.close()
    await turn()
    _, third = connect(service)
    _, fourth = connect(service)

    assert not third.is_closing()
    assert fourth.was_aborted

    service.abort()
    await turn()

    assert not service.connections
    assert not service._per_address
    service.close()


def test_defaults() -> None:
    """As docs/behaviour.md says."""
    assert (5.0, 10.0, 75.0, 30.0) == (
        Timeouts().handshake,
        Timeouts().head,
        Timeouts().keep_alive,
        Timeouts().write,
    )
    assert ConnectionBounds(16 << 10, 64, 10_000, 1_000, 256 << 20) == ConnectionBounds()

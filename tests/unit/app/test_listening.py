"""One address for several workers, on real sockets."""

from __future__ import annotations

import socket
from collections import Counter
from pathlib import Path

import pytest

from gateway.app.listening import Entrance
from gateway.config.addresses import Listen
from tests.servers import free_port


def local(port: int = 0) -> Listen:
    """Return a TCP address of this machine."""
    return Listen("127.0.0.1", port)


def port_of(entrance: Entrance) -> int:
    """Return the real port."""
    return int(entrance.name.rsplit(":", 1)[1])


def test_connections_spread_over_workers() -> None:
    """A burst while all are idle reaches each of them; none is refused."""
    entrance = Entrance(local())
    workers = [entrance.open()[0] for _ in range(4)]
    clients = [socket.create_connection(("127.0.0.1", port_of(entrance))) for _ in range(64)]
    taken: Counter[int] = Counter()
    for number, worker in enumerate(workers):
        worker.setblocking(False)
        while True:
            try:
                worker.accept()[0].close()
            except BlockingIOError:
                break
            taken[number] += 1
    for one in (*clients, *workers):
        one.close()
    entrance.close()

    assert (4, 64) == (len(taken), taken.total())


def test_what_waits_for_a_dead_worker_is_served_by_the_next() -> None:
    """The supervisor holds the listening socket: its queue outlives whoever took from it."""
    entrance = Entrance(local())
    [kept] = entrance.open()
    first = kept.dup()  # what a worker inherits
    client = socket.create_connection(("127.0.0.1", port_of(entrance)))
    first.close()
    second = kept.dup()
    accepted, _ = second.accept()
    accepted.sendall(b"hello")

    assert b"hello" == client.recv(5)
    for one in (kept, second, client, accepted):
        one.close()
    entrance.close()


def test_the_address_is_held_and_exclusive() -> None:
    """While no worker listens nobody is served and nobody else gets it, a second gateway neither."""
    port = free_port()
    entrance = Entrance(local(port))
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
    [worker] = entrance.open()
    with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{port}: Address already in use"):
        Entrance(local(port))
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", port))
    worker.close()
    entrance.close()
    Entrance(local(port)).close()


def test_a_name_of_two_addresses() -> None:
    """`localhost` is listened on wherever it leads; the address is written as the configuration does."""
    entrance = Entrance(Listen("localhost", free_port()))
    sockets = entrance.open()
    for one in sockets:
        with socket.create_connection(one.getsockname()[:2]):
            one.accept()[0].close()
        one.close()
    entrance.close()

    assert entrance.name.startswith("localhost:")


def test_a_unix_socket_is_shared(tmp_path: Path) -> None:
    """It cannot be opened twice: workers take from one queue; what an earlier process left is replaced."""
    path = tmp_path / "s"
    Entrance(Listen("", 0, path)).close()
    entrance = Entrance(Listen("", 0, path))
    workers = [entrance.open()[0] for _ in range(2)]
    for worker in workers:
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            worker.accept()[0].close()
        worker.close()
    entrance.close()

    assert f"unix:{path}" == entrance.name


def test_a_path_that_is_something_else(tmp_path: Path) -> None:
    """A file is never removed to make room for a socket."""
    path = tmp_path / "s"
    path.write_text("mine")
    with pytest.raises(OSError, match=f"cannot listen on unix:{path}: "):
        Entrance(Listen("", 0, path))

    assert "mine" == path.read_text()


def test_what_was_opened_is_closed_if_the_rest_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second address that cannot be had leaves nothing of the first."""
    entrance = Entrance(local())
    before = sorted(Path("/proc/self/fd").iterdir())
    monkeypatch.setattr(socket.socket, "listen", _refuse)
    with pytest.raises(OSError, match="no more"):
        entrance.open()
    after = sorted(Path("/proc/self/fd").iterdir())
    entrance.close()

    assert before == after


def _refuse(*_: object) -> None:
    raise OSError(24, "no more")

"""One worker of several: takes its orders from the supervisor, and runs a process as anybody would.

The configuration comes with the orders, as the supervisor checked it and as the others run it: a worker that
is started again hours later runs the same one, whatever stands in the file by then. What the file names
(keys, certificates) is read anew; if that cannot be used any more the worker does not start, and says why.
"""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, final

import msgspec

from gateway.app.door import watch_end
from gateway.app.origin import Origin
from gateway.app.process import CUT_OFF_SECONDS, Process
from gateway.app.supervised import ORPHAN_SECONDS, Supervised

if TYPE_CHECKING:
    from gateway.app.compilation import Compilation
    from gateway.core.ports import Clock
    from gateway.observe.log import LogSink

MAX_ORDERS: Final = 64 * 1024 * 1024
LAST_SECONDS: Final = ORPHAN_SECONDS + CUT_OFF_SECONDS + 6.0
"""After that a worker whose supervisor is gone is not waited for any more, whatever it does."""


@final
class Orders(msgspec.Struct, kw_only=True):
    """What a worker is told; numbers are of inherited descriptors where it says so.

    Args:
        path: The configuration file, for messages and relative paths.
        configuration: What stood in it.
        number: Of this worker, from 1.
        workers: How many there are.
        door: Descriptor of its end of the door.
        listen: Descriptors that listen for clients.
        log_lock: Descriptor of the file that all who write the log lock.
    """

    path: str
    configuration: bytes
    number: int
    workers: int
    door: int
    listen: list[int]
    log_lock: int


def write_orders(orders: Orders) -> int:
    """Return a new descriptor from which a worker reads its orders: memory, without a name."""
    descriptor = os.memfd_create("orders")
    with os.fdopen(os.dup(descriptor), "wb") as file:
        file.write(msgspec.msgpack.encode(orders))
    return descriptor


def read_orders(descriptor: int) -> Orders:
    """Read orders, and close where they came from.

    Raises:
        OSError: There is no such descriptor.
        msgspec.DecodeError: These are no orders.
    """
    with os.fdopen(descriptor, "rb") as file:
        file.seek(0)
        return msgspec.msgpack.decode(file.read(MAX_ORDERS), type=Orders)


def compile_orders(orders: Orders, clock: Clock) -> Compilation:
    """Compile what a worker runs.

    Raises:
        ConfigurationError: Something that the configuration names cannot be used any more.
    """
    return _origin(orders).compile_data(orders.configuration, clock)[1]


def _origin(orders: Orders) -> Origin:
    return Origin(Path(orders.path), orders.workers, orders.number)


async def serve(orders: Orders, compilation: Compilation, clock: Clock, sink: LogSink) -> None:
    """Serve until told to stop, or until the supervisor is gone.

    Raises:
        AuditBroken: The worker's audit chain cannot be continued.
    """
    door = socket.socket(fileno=orders.door)
    watch_end(door, _give_up)
    listen = [socket.socket(fileno=descriptor) for descriptor in orders.listen]
    supervised = Supervised(door, listen)
    await Process(compilation, clock, sink, origin=_origin(orders), supervised=supervised).run()


def _give_up() -> None:
    """End this process even if its loop is stuck: without a supervisor nobody else would."""
    time.sleep(LAST_SECONDS)
    os._exit(70)

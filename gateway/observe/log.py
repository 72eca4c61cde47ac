"""The log: JSON lines on a stream, one per exchange, and events of the process through structlog.

Lines leave through a spool, so that a reader who stops reading costs log lines (counted), never the
loop. The line of an exchange is its record, reused. Exceptions are logged by class and place, never by
text: their text can hold what a client sent.
"""

from __future__ import annotations

import fcntl
import logging
import os
from datetime import UTC, datetime
from traceback import extract_tb
from typing import TYPE_CHECKING, Final, final

import msgspec
import structlog

from gateway.observe.redact import clip, mend, neutralise
from gateway.observe.spool import Spool

if TYPE_CHECKING:
    from collections.abc import Callable

    from structlog.typing import EventDict, FilteringBoundLogger

    from gateway.core.exchange import Exchange
    from gateway.core.ports import Clock

LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}
MAX_FRAMES: Final = 20
MAX_VALUE: Final = 2048  # characters of one value

_encode: Final = msgspec.json.Encoder(enc_hook=repr).encode


@final
class LogSink:
    """Writes finished lines to a file descriptor, from a thread of its own.

    Args:
        descriptor: Where to; 1 is standard output.
        capacity: Lines that may wait; more are lost and counted.
        lock: A file that all who write there lock meanwhile, for a pipe mixes large writes; None: nobody
            else writes.
        worker: Number of the worker, in every exchange's line; None: there is one process.
    """

    def __init__(
        self,
        descriptor: int = 1,
        *,
        capacity: int = 50_000,
        lock: int | None = None,
        worker: int | None = None,
    ) -> None:
        self._descriptor = descriptor
        self._lock = lock
        self._prefix = b'{"event":"exchange",' + (b"" if worker is None else b'"worker":%d,' % worker)
        self._spool = Spool("log", self._write, interval=0.05, capacity=capacity)
        # the names that structlog calls on the logger it wraps
        self.debug = self.info = self.warning = self.error = self.critical = self.line

    @property
    def lost(self) -> int:
        """Lines that were not written."""
        return self._spool.lost

    def start(self) -> None:
        """Start the writing thread. Call it after any fork."""
        self._spool.start()

    def line(self, line: bytes) -> None:
        """Queue one line without its line end. Never blocks, never raises."""
        self._spool.put(line)

    def exchange(self, record: bytes) -> None:
        """Queue the line of an exchange, made of its record."""
        self._spool.put(self._prefix + record[1:])

    def close(self) -> bool:
        """Write what is left; True if all of it was written."""
        return self._spool.close(2.0)

    def _write(self, lines: list[bytes]) -> bool:
        data = memoryview(b"".join([line + b"\n" for line in lines]))
        try:
            if self._lock is not None and data:
                fcntl.lockf(self._lock, fcntl.LOCK_EX)  # the kernel takes it from whoever dies
            while data:
                data = data[os.write(self._descriptor, data) :]
        except OSError:  # nobody reads: a log line is not worth stopping for
            self._spool.lost += len(lines)
        finally:
            if self._lock is not None:
                fcntl.lockf(self._lock, fcntl.LOCK_UN)
        return True


def build_log(sink: LogSink, level: str, clock: Clock, *, worker: int | None = None) -> FilteringBoundLogger:
    """Return the process' logger and make it structlog's default.

    Args:
        sink: Where lines go.
        level: Name of the lowest level that is written.
        clock: For timestamps.
        worker: Number of the worker, in every line; None: there is one process.
    """
    who = {} if worker is None else {"worker": worker}

    def stamp(_logger: object, method: str, event: EventDict) -> EventDict:
        moment = datetime.fromtimestamp(clock.wall(), UTC).isoformat(timespec="milliseconds")
        return {
            "event": event.pop("event", ""),
            "time": moment.replace("+00:00", "Z"),
            "level": method,
            **who,
            **event,
        }

    structlog.configure(
        processors=[stamp, render],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=lambda *_: sink,
        cache_logger_on_first_use=True,
    )
    logger: FilteringBoundLogger = structlog.get_logger()
    return logger


def render(_logger: object, _method: str, event: EventDict) -> bytes:
    """Encode an event as one line: values bounded, nothing that could forge or recolour a line."""
    event.pop("exc_info", None)
    event.pop("stack_info", None)
    bounded = {
        key: clip(value, MAX_VALUE) if isinstance(value, str) else value for key, value in event.items()
    }
    try:
        return neutralise(_encode(bounded))
    except UnicodeEncodeError:
        return neutralise(_encode(mend(bounded)))


def frames(fault: BaseException) -> list[str]:
    """Name where an exception came from: file, line and function, innermost last; no values."""
    return [
        f"{frame.filename}:{frame.lineno} {frame.name}"
        for frame in extract_tb(fault.__traceback__)[-MAX_FRAMES:]
    ]


def fault_reporter(logger: FilteringBoundLogger) -> Callable[[Exchange, Exception], None]:
    """Return what `Problems` reports an unexpected exception to."""

    def report(ex: Exchange, fault: Exception) -> None:
        kind = type(fault)
        logger.error("fault", id=ex.id, fault=f"{kind.__module__}.{kind.__qualname__}", frames=frames(fault))

    return report


@final
class LibraryHandler(logging.Handler):
    """Carries the warnings of libraries that use the standard library's logging into our log.

    Messages keep their template only: its arguments may be a client's.
    """

    def __init__(self, logger: FilteringBoundLogger) -> None:
        super().__init__(logging.WARNING)
        self._log = logger

    def emit(self, record: logging.LogRecord) -> None:
        """Log the event of a library."""
        fault = record.exc_info[1] if record.exc_info else None
        extra = {} if fault is None else {"fault": type(fault).__qualname__, "frames": frames(fault)}
        write = self._log.error if record.levelno >= logging.ERROR else self._log.warning
        write("library", logger=record.name, message=str(record.msg), **extra)

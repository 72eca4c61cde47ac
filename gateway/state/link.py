"""Keeps one connection to the shared store alive, in the background.

While there is none, `connection` is None and whoever asks fails at once: that is the whole circuit
breaker. A request never waits for a connection to be made. Says once that the store was lost, and
why, and once that it is back.
"""

from __future__ import annotations

import asyncio
import secrets
import ssl
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast, final

import hiredis

from gateway.state.connection import LOST, Answer, Connection
from gateway.state.locator import Unlocated
from gateway.state.script import inlined

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.state.address import Address, Place
    from gateway.state.connection import Receiver, Reply
    from gateway.state.locator import Locator
    from gateway.state.script import Script

CONNECT_TIME: Final = 1.0
"""Seconds for TCP, TLS and the first commands together; as much before, to learn where to connect to."""

FIRST_DELAY: Final = 0.02
"""Seconds before the second attempt to connect; doubles with every further one."""

LONGEST_DELAY: Final = 1.0
"""Seconds between attempts at most: a store that is back is used again within about a second."""

FULL: Final = "out-of-memory"

REMIND: Final = 60.0
"""Seconds between two reports that a server is full: it answers, and refuses."""

WORDS: Final = {
    "WRONGPASS": "wrong-password",
    "NOAUTH": "password-missing",
    "NOPERM": "not-permitted",
    "READONLY": "read-only",
    "LOADING": "loading",
    "MOVED": "moved",
    "ASK": "moving",
    "TRYAGAIN": "moving",
    "CLUSTERDOWN": "cluster-down",
    "NOREPLICAS": "no-replicas",
    "NOSCRIPT": "script-missing",
    "OOM": FULL,
}
"""First word of Redis' error replies to our word for it; their text goes nowhere."""

SENTENCES: Final = {
    "ERR unknown command": "unknown-command",
    "ERR This instance has cluster support disabled": "no-cluster",
    "CLUSTERDOWN Hash slot not served": "slot-unserved",
}
"""Where the first word does not say enough."""

UNLOADABLE: Final = frozenset({"not-permitted", "unknown-command"})
"""Answers to SCRIPT LOAD after which every call brings the script's text along."""

FATAL: Final = frozenset(
    {
        "read-only",
        "no-replicas",
        "password-missing",
        "not-permitted",
        "loading",
        "moved",
        "cluster-down",
        "script-missing",
    }
)
"""Errors that every further command would meet as well: the connection is given up."""


@final
@dataclass(frozen=True, slots=True)
class Server:
    """How to reach the store.

    Args:
        address: Where it is, or who knows.
        password: Password of the ACL user, or None.
        tls: Context for `rediss://`: it proves the server, and us if it has a certificate.
        timeout: Seconds from a command to its reply.
        sentinel_password: Password of the Sentinels, or None.
    """

    address: Place
    password: bytes | None = None
    tls: ssl.SSLContext | None = None
    timeout: float = 0.2
    sentinel_password: bytes | None = None


def word(error: hiredis.ReplyError) -> str:
    """Return our word for an error reply."""
    text = str(error)
    for beginning, ours in SENTENCES.items():
        if text.startswith(beginning):
            return ours
    return WORDS.get(text.split(" ", 1)[0], "error")


def tls_context(ca: str | None, certificate: str | None, private_key: str | None) -> ssl.SSLContext:
    """Make the TLS context for `rediss://`: the server's name is always checked.

    Args:
        ca: File of the authorities that may vouch for the server; None for the system's.
        certificate: File of our certificate, or None.
        private_key: File of its key, or None.

    Raises:
        OSError: A file cannot be read, or is no certificate or key (`ssl.SSLError`).
    """
    context = ssl.create_default_context(cafile=ca)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if certificate is not None:
        context.load_cert_chain(certificate, private_key)
    return context


@final
class Link:
    """One connection that comes back.

    Args:
        server: How to reach it.
        locator: Says where it is, before each attempt.
        script: Loaded into the server if it lacks it.
        probe: Gives a packed command that does what all others will do; a server that answers it with
            an error (no privilege, read-only) is not usable, and not "back".
        on_up: Called with every new connection, before anybody else can use it.
        report: Called with "lost" and why, and with "back" and "": transitions only. Once with "inline" and
            "" if the server loads no scripts; with "out-of-memory" and "" now and then while it is full.
    """

    __slots__ = (
        "_address",
        "_ended",
        "_first",
        "_full",
        "_is_inline",
        "_locator",
        "_on_up",
        "_probe",
        "_report",
        "_script",
        "_task",
        "_was_lost",
        "connection",
        "server",
        "why",
    )

    def __init__(
        self,
        server: Server,
        locator: Locator,
        script: Script,
        probe: Callable[[], bytes],
        on_up: Callable[[Connection], None],
        report: Callable[[str, str], None],
    ) -> None:
        self.server = server
        self.connection: Connection | None = None
        self.why = "not-started"
        self._locator = locator
        self._address: Address
        self._script = script
        self._probe = probe
        self._on_up = on_up
        self._report = report
        self._was_lost = False
        self._is_inline = False
        self._full = float("-inf")  # when that was last said
        self._task: asyncio.Task[None] | None = None
        self._first = asyncio.Event()
        self._ended = asyncio.Event()

    def at(self, _key: bytes) -> Connection | None:
        """Return the connection to the server that has a key, or keys of a hash tag: the one there is."""
        return self.connection

    @property
    def connections(self) -> list[Connection]:
        """The connections that there are: one, or none."""
        return [] if self.connection is None else [self.connection]

    @property
    def is_ready(self) -> bool:
        """True while there is a connection."""
        return self.connection is not None

    @property
    def lost(self) -> int:
        """How many servers cannot be used: none, or the one."""
        return 0 if self.is_ready else 1

    async def start(self) -> None:
        """Begin to connect, and wait until the first attempt succeeded or failed."""
        self._task = asyncio.get_running_loop().create_task(self._keep(), name="state-link")
        self._task.add_done_callback(lambda _task: self._first.set())  # never wait for what has died
        await self._first.wait()

    async def stop(self) -> None:
        """End the connection and the attempts."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        connection = self.connection
        if connection is not None:
            await connection.ask("PING")  # replies come in order: what was sent before has arrived
            connection.abort("stopped")
            await asyncio.sleep(0)  # the transport closes its socket in the next tick

    async def _keep(self) -> None:
        loop = asyncio.get_running_loop()
        delay = 0.0
        while True:
            opened = loop.time()
            connection = await self._open()
            if connection is not None:
                self._up(connection)
                watch = loop.create_task(self._watch(connection), name="state-watch")
                try:
                    await self._ended.wait()
                finally:
                    watch.cancel()
            self._down()
            if loop.time() - opened > LONGEST_DELAY and connection is not None:
                delay = 0.0  # it had been good for a while: try again at once
            await asyncio.sleep(delay * (0.5 + secrets.randbelow(512) / 1024))
            delay = min(max(FIRST_DELAY, 2 * delay), LONGEST_DELAY)

    async def _watch(self, connection: Connection) -> None:
        await self._locator.watch(self._address)
        connection.abort("not-master")

    def note(self, _command: bytes, _receiver: Receiver, error: hiredis.ReplyError) -> bool:
        """Say that the server is full, if that is the error; whoever asked gets it all the same: False."""
        now = asyncio.get_running_loop().time()
        if word(error) == FULL and now - self._full > REMIND:
            self._full = now
            self._report(FULL, "")
        return False

    def _up(self, connection: Connection) -> None:
        self.connection = connection
        connection.divert = self.note
        self._on_up(connection)
        self._first.set()
        if self._was_lost:
            self._was_lost = False
            self._report("back", "")
        if connection.inline is not None and not self._is_inline:
            self._is_inline = True
            self._report("inline", "")

    def _down(self) -> None:
        self._first.set()
        if not self._was_lost:
            self._was_lost = True
            self._report("lost", self.why)

    def _lost(self, connection: Connection) -> None:
        self.connection = None
        self.why = connection.why
        self._ended.set()

    async def _open(self) -> Connection | None:
        """Connect and prepare; None if that failed, for the reason in `why`."""
        self._ended.clear()
        loop = asyncio.get_running_loop()
        connection = Connection(loop, self.server.timeout, self._lost)
        try:
            async with asyncio.timeout(CONNECT_TIME):
                self._address = await self._locator.locate()
            async with asyncio.timeout(CONNECT_TIME):
                await dial(connection, self._address, self.server.tls)
                why = await self._prepare(connection)
        except DIALLING as error:
            why = failure(error)
        except Unlocated as error:
            why = str(error)
        except asyncio.CancelledError:
            connection.abort("stopped")
            raise
        if why is None and not self._ended.is_set():
            return connection
        connection.abort(why or "closed")
        self.why = connection.why
        return None

    async def _prepare(self, connection: Connection) -> str | None:
        """Authenticate, choose the database, load the script, try it; say what went wrong."""
        why = await authenticate(connection, self._address, self.server.password)
        why = why or await self._locator.verify(connection)
        if why is not None:
            return why
        if await connection.ask("SCRIPT", "EXISTS", self._script.digest) != [1]:
            why = fault(await connection.ask("SCRIPT", "LOAD", self._script.text))
            if why in UNLOADABLE:
                connection.inline = inlined
            elif why is not None:
                return why
        answer = Answer(asyncio.get_running_loop())
        connection.send(self._probe(), answer)
        return fault(await answer.future)


def fault(reply: Reply) -> str | None:
    """Return our word for a reply that is an error or did not come; None if it is neither."""
    if isinstance(reply, hiredis.ReplyError):
        return word(reply)
    return "closed" if reply is LOST else None


async def dial(connection: Connection, address: Address, tls: ssl.SSLContext | None) -> None:
    """Open a connection.

    Args:
        connection: Not open yet.
        address: Where to.
        tls: For an address that wants it; None for the system's authorities.

    Raises:
        OSError: Nobody answers there, or not whom we believe (`ssl.SSLError`).
        ValueError: A host name that no resolver would take.
    """
    loop = asyncio.get_running_loop()
    protocol = cast("asyncio.Protocol", connection)  # one in all but the base class
    if address.path:
        await loop.create_unix_connection(lambda: protocol, address.path)
        return
    context = (tls or ssl.create_default_context()) if address.is_tls else None
    await loop.create_connection(lambda: protocol, address.host, address.port, ssl=context)


DIALLING: Final = (OSError, ValueError)
"""What `dial` raises; TimeoutError is an OSError."""


def failure(error: Exception) -> str:
    """Return our word for what `dial` raised."""
    if isinstance(error, TimeoutError):
        return "timeout"
    return "tls" if isinstance(error, ssl.SSLError) else "unreachable"


async def authenticate(connection: Connection, address: Address, password: bytes | None) -> str | None:
    """Say who we are, and choose the database; return what went wrong, or None."""
    commands: list[tuple[bytes | str | int, ...]] = []
    if password is not None:
        commands.append(("AUTH", address.user, password) if address.user else ("AUTH", password))
    if address.database:
        commands.append(("SELECT", address.database))
    for words in commands:
        why = fault(await connection.ask(*words))
        if why is not None:
            return why
    return None

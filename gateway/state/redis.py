"""Exact limits of a fleet, in Redis or Valkey: one script call per request, and nothing else.

All limits of a request are charged by one script, at the server's time, all or none; the claims of
one loop tick leave in one write. Slots go back in the same way, without anybody waiting. When the
store does not answer within its timeout, nobody knows whether the request may pass, so it may not;
unless the route says that a local share of its limits may answer instead.

Redis can deny or delay here, but what it holds never names a caller: keys carry a keyed digest.
"""

from __future__ import annotations

import asyncio
import secrets
from hashlib import blake2b
from math import nan
from typing import TYPE_CHECKING, Final, final

import hiredis

from gateway.core.limits import ConcurrencyLimit, Ledger, RateLimit, RouteLimits
from gateway.core.ports import StoreUnavailable
from gateway.state.connection import LOST, Answer, Direct, pack
from gateway.state.link import FATAL, word
from gateway.state.script import LEASE_LENGTH, TAG_LENGTH, Claim, Script, name_of
from gateway.state.topology import connect
from gateway.state.verdict import refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.state.connection import Connection, Reply
    from gateway.state.link import Server
    from gateway.state.memory import MemoryStore
    from gateway.state.topology import Links

MAX_TAGS: Final = 65_536
"""Identities whose hash tag is remembered; it costs 1 us to make one again."""

MAX_UNSETTLED: Final = 65_536
"""Slots waiting to be given back while the store is away; more lapse by their lifetime."""


PROBE: Final = RouteLimits("probe", (RateLimit("r", 1, 1.0, 1000),), ConcurrencyLimit("c", 1_000_000, 1.0))
"""What a new connection is tried with: limits that every command of the script is needed for."""


def share_of(limits: RouteLimits, share: float) -> RouteLimits:
    """Return the part of a route's limits that one process may grant on its own.

    Args:
        limits: The limits of the fleet.
        share: In (0, 1]: one over the number of gateway processes.

    Returns:
        Limits with the share of every rate, burst and concurrency; at least one request each.
    """
    rates = []
    for limit in limits.rates:
        count = max(1, int(limit.count * share))
        period = limit.period * count / (limit.count * share)  # keeps the rate exact where counts are small
        rates.append(RateLimit(limit.name, count, period, max(1, int(limit.burst * share))))
    concurrency = limits.concurrency
    if concurrency is not None:
        most = max(1, int(concurrency.maximum * share))
        concurrency = ConcurrencyLimit(concurrency.name, most, concurrency.lifetime)
    return RouteLimits(limits.scope, tuple(rates), concurrency)


@final
class _Lease:
    """A concurrency slot in Redis."""

    __slots__ = ("claim", "name", "tag")

    def __init__(self, claim: Claim, tag: bytes, name: bytes) -> None:
        self.claim = claim
        self.tag = tag
        self.name = name


@final
class _Return:
    """A slot on its way back: kept until the server confirms it, for giving back twice is harmless."""

    __slots__ = ("command", "unsettled")

    def __init__(self, command: bytes, unsettled: dict[bytes, _Return]) -> None:
        self.command = command
        self.unsettled = unsettled

    def receive(self, reply: Reply, /) -> None:
        """Keep it for the next connection unless it arrived, or no connection will do better."""
        is_unsure = reply is LOST or (isinstance(reply, hiredis.ReplyError) and word(reply) in FATAL)
        if not is_unsure:
            self.unsettled.pop(self.command, None)


@final
class _Ignored:
    """Receives replies that nobody needs."""

    __slots__ = ()

    def receive(self, reply: Reply, /) -> None:
        """Do nothing: a script that could not be loaded shows in the next claim."""


_IGNORED: Final = _Ignored()


@final
class RedisStore:
    """Limits in Redis or Valkey. Implements `gateway.core.ports.Store`.

    Args:
        server: How to reach it.
        local: Answers for routes that may go on without the store.
        share: Part of the limits that `local` may grant: one over the number of gateway processes.
        prefix: What all keys begin with.
        blinding: Key of the digest that stands for an identity; the same in the whole fleet. At most
            64 bytes.
        report: Called with "lost" and why, and with "back" and "": transitions only.
        now: Gives the script its time; for tests alone. The server's clock otherwise.
    """

    __slots__ = (
        "_blinding",
        "_claims",
        "_count",
        "_link",
        "_local",
        "_loop",
        "_nonce",
        "_now",
        "_prefix",
        "_script",
        "_share",
        "_shares",
        "_tags",
        "_unsettled",
        "local_answers",
        "unavailable",
    )

    def __init__(
        self,
        server: Server,
        local: MemoryStore,
        *,
        share: float = 0.5,
        prefix: str = "gateway:",
        blinding: bytes = b"",
        report: Callable[[str, str], None] = lambda _event, _why: None,
        now: Callable[[], float] | None = None,
    ) -> None:
        self._script = Script("admit")
        probe = Claim(self._script, prefix, PROBE)
        self._link = connect(
            server,
            self._script,
            lambda tag: probe.command(tag, b"0" * LEASE_LENGTH),
            self._resume,
            report,
        )
        self._loop: asyncio.AbstractEventLoop | None = None
        self._local = local
        self._share = share
        self._prefix = prefix
        self._blinding = blinding
        self._now = now
        self._nonce = secrets.token_hex(8).encode()
        self._count = 0
        self._claims: dict[str, Claim] = {}
        self._shares: dict[str, tuple[RouteLimits, RouteLimits]] = {}
        self._tags: dict[str, bytes] = {}
        self._unsettled: dict[bytes, _Return] = {}
        self.local_answers = 0
        self.unavailable = 0

    @property
    def link(self) -> Links:
        """The connections, for what else may share them; this store starts and stops them."""
        return self._link

    @property
    def is_ready(self) -> bool:
        """True while there is a connection: in a cluster, any."""
        return self._link.is_ready

    @property
    def lost(self) -> int:
        """How many servers cannot be used."""
        return self._link.lost

    @property
    def why(self) -> str:
        """Why there is no connection, in one word; the last reason if there is one again."""
        return self._link.why

    async def start(self) -> None:
        """Connect; returns after the first attempt, successful or not. Never raises."""
        self._loop = asyncio.get_running_loop()
        await self._link.start()

    async def stop(self) -> None:
        """End the connection; slots that could not be given back lapse."""
        await self._link.stop()

    async def admit(self, key: str, limits: RouteLimits, /) -> Ledger:
        """Charge one request against all limits, or none, over the whole fleet.

        Raises:
            StoreUnavailable: No usable answer in time, and the limits do not allow a local share.
        """
        tag = self._tags.get(key) or self._tag(key)
        connection, loop = self._link.at(tag), self._loop
        if connection is None or loop is None:
            return await self._without(key, limits)
        claim = self._claims.get(limits.scope)
        if claim is None or claim.limits is not limits or self._now is not None:
            claim = self._claim(limits)
        self._count = count = (self._count + 1) & 0xFFFFFFFF
        lease = b"%b%08x" % (self._nonce, count)
        command = claim.command(tag, lease)
        try:
            if asyncio.current_task(loop) is None:  # driven by hand: no trip through the loop
                direct = Direct()
                connection.send(command, direct)
                await direct.gate
                reply = direct.reply
            else:
                answer = Answer(loop)
                connection.send(command, answer)
                reply = await answer.future
            if isinstance(reply, hiredis.ReplyError) and str(reply).startswith("NOSCRIPT"):
                reply = await self._reload(connection, command, loop)
        except BaseException:  # the client has gone: the claim may be granted all the same
            self._give_back(claim, tag, lease)
            raise
        if reply == 1:
            return Ledger(_Lease(claim, tag, lease) if claim.is_leasing else None)
        ledger = _refused(reply, limits)
        if ledger is not None:
            return ledger
        self._give_back(claim, tag, lease)
        self._judge(reply, connection)
        return await self._without(key, limits)

    def settle(self, ledger: Ledger, /) -> None:
        """Give the concurrency slot back, with what else leaves in this loop tick; idempotent."""
        lease = ledger.lease
        if isinstance(lease, _Lease):
            ledger.lease = None
            self._give_back(lease.claim, lease.tag, lease.name)
        elif ledger.is_local:
            self._local.settle(ledger)

    def place(self, scope: str, name: str, key: str, *, is_level: bool) -> bytes:
        """Return the key of one limit of an identity, for `head_accounts` alone."""
        ending = b":leases" if is_level else b""
        prefix, tag = self._prefix.encode(), self._tag(key)
        return b"%b{%b}:%b:%b%b" % (prefix, tag, name_of(scope), name_of(name), ending)

    async def _without(self, key: str, limits: RouteLimits) -> Ledger:
        """Answer without the store: by the local share where the route allows it."""
        if not limits.is_local_on_failure:
            self.unavailable += 1
            raise StoreUnavailable
        known = self._shares.get(limits.scope)
        if known is None or known[0] is not limits:
            known = self._shares[limits.scope] = (limits, share_of(limits, self._share))
        self.local_answers += 1
        ledger = await self._local.admit(key, known[1])
        ledger.is_local = True
        return ledger

    async def _reload(self, connection: Connection, command: bytes, loop: asyncio.AbstractEventLoop) -> Reply:
        """The server has lost the script (restart, SCRIPT FLUSH): load it and claim again."""
        connection.send(pack("SCRIPT", "LOAD", self._script.text), _IGNORED)
        answer = Answer(loop)
        connection.send(command, answer)  # after the script, in the same write
        return await answer.future

    def _judge(self, reply: Reply, connection: Connection) -> None:
        """Give the connection up if nothing better can come from it."""
        if isinstance(reply, hiredis.ReplyError):
            why = word(reply)
            if why in FATAL:
                connection.abort(why)

    def _give_back(self, claim: Claim, tag: bytes, lease: bytes) -> None:
        if not claim.is_leasing:
            return
        command = claim.giving(tag, lease)
        giving = _Return(command, self._unsettled)
        if len(self._unsettled) < MAX_UNSETTLED:
            self._unsettled[command] = giving
        connection = self._link.at(tag)
        if connection is not None:
            connection.send(command, giving)

    def _resume(self, connection: Connection) -> None:
        """Give back over a new connection what the old one could not."""
        for giving in tuple(self._unsettled.values()):
            connection.send(giving.command, giving)

    def _claim(self, limits: RouteLimits) -> Claim:
        now = "" if self._now is None else repr(self._now())
        claim = self._claims[limits.scope] = Claim(self._script, self._prefix, limits, now)
        return claim

    def _tag(self, key: str) -> bytes:
        if len(self._tags) >= MAX_TAGS:
            self._tags.clear()
        digest = blake2b(key.encode(), digest_size=TAG_LENGTH // 2, key=self._blinding)
        tag = self._tags[key] = digest.hexdigest().encode()
        return tag


def _refused(reply: Reply, limits: RouteLimits) -> Ledger | None:
    """Read the script's refusal; None if it is none: what is not understood grants nothing."""
    match reply:
        case [bytes(kind), int(running), *debts] if len(debts) == len(limits.rates):
            try:
                numbers = [float(debt) if isinstance(debt, bytes) else nan for debt in debts]
            except ValueError:
                return None
            if not all(
                0.0 <= number <= limit.tolerance + limit.interval + 1.0  # more the script never says
                for number, limit in zip(numbers, limits.rates, strict=True)
            ):
                return None
            if kind == b"rate" and debts:
                return refusal(limits, numbers, running, is_rate=True)
            if kind == b"concurrency" and limits.concurrency is not None:
                return refusal(limits, numbers, running, is_rate=False)
    return None

"""Asks one issuer about opaque tokens (RFC 7662), and never more often than it can bear.

One question at a time about each token, whoever waits for the answer; the same question is not asked again
within two seconds, whatever the answer. Questions are bounded in number, per address and all together, so
that nobody can make this gateway attack an issuer with tokens that he thought up. An answer is not read here.
"""

from __future__ import annotations

import asyncio
from functools import lru_cache, partial
from ipaddress import IPv6Address
from typing import TYPE_CHECKING, Final, Protocol, final

from gateway.core.introspection import Introspected
from gateway.core.refusal import Reason, Refusal, Refused, Source
from gateway.credentials.allowance import Allowance
from gateway.credentials.fetch import FetchError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gateway.core.ports import Clock
    from gateway.credentials.client_authentication import ClientAuthentication
    from gateway.credentials.fetch import Fetched

SECONDS: Final = 3.0  # for one question, from resolving the name to the last byte
MEMORY: Final = 2.0  # seconds that an answer, or that there was none, is repeated
MAX_ANSWER_BYTES: Final = 32 * 1024
MAX_FLIGHTS: Final = 128  # questions under way; beyond, none is asked
MAX_FLIGHTS_PER_ADDRESS: Final = 32
CAPACITY: Final = 2_000  # answers remembered: 64 MiB at worst
QUIET: Final = 10.0  # seconds for which the same failure is not reported again
PREFIX_BYTES: Final = 8
EVERYBODY: Final = ""  # name of the allowance of all addresses together


def _unchecked(note: str) -> Refusal:
    return Refusal(
        Reason.TOKEN_UNCHECKED,
        "The token cannot be checked at the moment.",
        note=note,
        source=Source.GATEWAY,
        retry_after=1.0,
    )


TOO_MANY: Final = _unchecked("the issuer is asked about as many tokens as it may be")
TOO_MANY_OF_ADDRESS: Final = _unchecked("this address has shown more tokens that are none than it may")
NO_ENDPOINT: Final = _unchecked("the issuer's introspection endpoint is not known")
STOPPED: Final = _unchecked("the gateway is stopping")


@lru_cache(maxsize=8192)
def _household(address: str) -> str:
    """Return who is behind an address: of IPv6 a whole /64, for that is what anybody has (RFC 6177)."""
    try:
        known = IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    mapped = known.ipv4_mapped
    return known.packed[:PREFIX_BYTES].hex() if mapped is None else str(mapped)


class Asker(Protocol):
    """The part of `credentials.fetch.Fetcher` that is used."""

    async def post(
        self,
        url: str,
        *,
        form: Mapping[str, str],
        headers: Mapping[str, str],
        limit: int,
        seconds: float,
        is_repeatable: bool,
    ) -> Fetched:
        """Post a form."""

    async def close(self) -> None:
        """Close all connections."""


@final
class _Known:
    """What is repeated for a moment: an answer, or why there is none."""

    __slots__ = ("answer", "refusal", "since")

    def __init__(self, since: float, answer: Introspected | None, refusal: Refusal | None) -> None:
        self.since = since
        self.answer = answer
        self.refusal = refusal


@final
class IntrospectionClient:
    """Implements `core.introspection.Introspection` for one issuer.

    Args:
        endpoint: Returns the URL to ask at; None while it is not known.
        asker: Asks.
        authentication: How the gateway proves itself there.
        clock: Time.
        rate: Questions per period, and the period in seconds.
        rate_per_address: Likewise, of tokens from one address that turn out to be none.
        seconds: Longest time of one question.
        on_failure: Told the name of the failure, for the log.
    """

    __slots__ = (
        "_allowance",
        "_asker",
        "_authentication",
        "_clock",
        "_endpoint",
        "_flights",
        "_known",
        "_of_address",
        "_on_failure",
        "_per_address",
        "_reported",
        "_seconds",
        "asked",
    )

    def __init__(
        self,
        endpoint: Callable[[], str | None],
        asker: Asker,
        authentication: ClientAuthentication,
        clock: Clock,
        *,
        rate: tuple[int, float] = (100, 1.0),
        rate_per_address: tuple[int, float] = (20, 1.0),
        seconds: float = SECONDS,
        on_failure: Callable[[str], None] | None = None,
    ) -> None:
        self.asked = 0
        self._endpoint = endpoint
        self._asker = asker
        self._authentication = authentication
        self._clock = clock
        self._allowance = Allowance(*rate)
        self._per_address = Allowance(*rate_per_address)
        self._seconds = seconds
        self._on_failure = on_failure
        self._reported: dict[str, float] = {}
        self._known: dict[bytes, _Known] = {}
        self._flights: dict[bytes, asyncio.Task[_Known]] = {}
        self._of_address: dict[str, int] = {}

    async def start(self) -> None:
        """Nothing is asked before somebody shows a token."""

    async def stop(self) -> None:
        """End all questions; who waits for an answer is refused."""
        flights = list(self._flights.values())
        for flight in flights:
            flight.cancel()
        if flights:
            await asyncio.wait(flights)
        await self._asker.close()

    def believed(self, address: str, /) -> None:
        """Give back what a question cost an address."""
        self._per_address.give_back(_household(address))

    async def ask(self, token: bytes, digest: bytes, address: str, /) -> Introspected:
        """Ask about a token, or repeat what was answered a moment ago.

        Raises:
            Refused: `TOKEN_UNCHECKED`.
        """
        known = self._known.get(digest)
        if known is None or not 0 <= self._clock.tick() - known.since < MEMORY:
            flight = self._flights.get(digest)
            if flight is None:
                flight = self._begin(token, digest, address)
            # A task of its own: a client that goes away must not end what others wait for.
            await asyncio.wait({flight})
            if flight.cancelled():
                raise Refused(STOPPED)
            known = flight.result()
        if known.answer is None:
            raise Refused(known.refusal or STOPPED)
        return known.answer

    def _begin(self, token: bytes, digest: bytes, address: str) -> asyncio.Task[_Known]:
        endpoint = self._endpoint()
        if endpoint is None:
            raise Refused(NO_ENDPOINT)
        now, address = self._clock.tick(), _household(address)
        if len(self._flights) >= MAX_FLIGHTS:
            raise Refused(TOO_MANY)
        if self._of_address.get(address, 0) >= MAX_FLIGHTS_PER_ADDRESS:
            raise Refused(TOO_MANY_OF_ADDRESS)
        if not self._per_address.take(address, now):
            raise Refused(TOO_MANY_OF_ADDRESS)
        if not self._allowance.take(EVERYBODY, now):
            self._per_address.give_back(address)  # it was not its fault
            raise Refused(TOO_MANY)
        self._of_address[address] = self._of_address.get(address, 0) + 1
        flight = asyncio.get_running_loop().create_task(
            self._ask(endpoint, token, digest), name="introspection"
        )
        self._flights[digest] = flight
        flight.add_done_callback(partial(self._end, digest, address))
        return flight

    async def _ask(self, endpoint: str, token: bytes, digest: bytes) -> _Known:
        self.asked += 1
        asked = self._clock.wall()
        try:
            fetched = await self._asker.post(
                endpoint,
                form={
                    "token": token.decode("ascii"),
                    "token_type_hint": "access_token",
                    **self._authentication.form(),
                },
                headers=self._authentication.headers(),
                limit=MAX_ANSWER_BYTES,
                seconds=self._seconds,
                is_repeatable=True,
            )
            known = _Known(self._clock.tick(), Introspected(fetched.body, asked), None)
        except (FetchError, ValueError) as failure:
            word = failure.word if isinstance(failure, FetchError) else "destination-refused"
            self._report(word)
            known = _Known(self._clock.tick(), None, _unchecked(f"the issuer could not be asked: {word}"))
        if len(self._known) >= CAPACITY:
            self._known.clear()
        self._known[digest] = known
        return known

    def _end(self, digest: bytes, address: str, _flight: asyncio.Task[_Known]) -> None:
        del self._flights[digest]
        left = self._of_address[address] - 1
        if left:
            self._of_address[address] = left
        else:
            del self._of_address[address]

    def _report(self, word: str) -> None:
        now = self._clock.tick()
        if self._on_failure is not None and now - self._reported.get(word, float("-inf")) >= QUIET:
            self._reported[word] = now
            self._on_failure(word)

"""A token of an authorization server in place of the gateway's assertion, for backends that want one.

OAuth 2.0 Token Exchange (RFC 8693): what the caller proved is exchanged for a token for exactly this
backend. The caller's own token goes to the server that is configured, and to nobody else. What was obtained
is used again for the same proof, never longer than the token or the proof holds. Without a token nothing is
forwarded: there is no weaker second choice.
"""

# ruff: noqa: S105 - names of token types are no passwords

from __future__ import annotations

import asyncio
import re
from hashlib import sha256
from typing import TYPE_CHECKING, Final, Literal, Protocol, final

from gateway.core.ports import Credential
from gateway.core.refusal import Reason, Refusal, Refused, Source
from gateway.credentials.documents import DocumentError, parse_object
from gateway.credentials.fetch import FetchError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gateway.core.call import Call
    from gateway.core.identity import Identity
    from gateway.core.permit import Permit
    from gateway.core.ports import Clock
    from gateway.credentials.assertions import SignedAssertions
    from gateway.credentials.client_authentication import ClientAuthentication
    from gateway.credentials.fetch import Fetched

GRANT: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN: Final = "urn:ietf:params:oauth:token-type:access_token"
JWT: Final = "urn:ietf:params:oauth:token-type:jwt"
SECONDS: Final = 3.0  # for one exchange, from resolving the name to the last byte
MEMORY: Final = 1.0  # seconds for which a failure is repeated without asking
SLACK: Final = 5.0  # seconds before its end from which a token is not used again
LONGEST: Final = 3600  # seconds that a token is used at most, whatever its server says
CAPACITY: Final = 10_000
MAX_FLIGHTS: Final = 128
MAX_ANSWER_BYTES: Final = 64 * 1024
_TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/-]{1,8192}=*")  # RFC 6750, section 2.1
_PRESENTED: Final = re.compile(rb"[A-Za-z]+ +([A-Za-z0-9._~+/-]+=*)")


def _failed(note: str) -> Refusal:
    return Refusal(
        Reason.BACKEND_TOKEN,
        "A token for the model cannot be had at the moment.",
        note=note,
        source=Source.GATEWAY,
        retry_after=1.0,
    )


BUSY: Final = _failed("too many exchanges are under way")
NO_TOKEN: Final = _failed("the caller has no token that could be exchanged")
STOPPED: Final = _failed("the gateway is stopping")


class Asker(Protocol):
    """The part of `credentials.fetch.Fetcher` that is used."""

    async def post(
        self, url: str, *, form: Mapping[str, str], headers: Mapping[str, str], limit: int, seconds: float
    ) -> Fetched:
        """Post a form."""


@final
class _Held:
    """What an exchange brought: a credential, or why there is none; and between which times it counts."""

    __slots__ = ("credential", "refusal", "since", "until")

    def __init__(
        self, since: float, until: float, credential: Credential | None, refusal: Refusal | None = None
    ) -> None:
        self.since = since
        self.until = until
        self.credential = credential
        self.refusal = refusal


@final
class TokenExchange:
    """Tokens of one server for one backend. Implements `core.ports.Onward`.

    Args:
        endpoint: The server's token endpoint.
        asker: Asks.
        authentication: How the gateway proves itself there.
        clock: Time.
        audience: `audience` of the exchange: the backend's name at the server.
        scopes: `scope` of the exchange; empty: as the server gives them.
        subject: What stands for the caller: its own access token, or the gateway's assertion for the server.
        assertions: Signs those.
        server: `aud` of those: the server's issuer name.
        seconds: Longest time of one exchange.
        on_failure: Told the name of the failure, for the log.
    """

    __slots__ = (
        "_asker",
        "_assertions",
        "_authentication",
        "_clock",
        "_endpoint",
        "_flights",
        "_form",
        "_held",
        "_on_failure",
        "_seconds",
        "_server",
        "_subject",
        "exchanged",
    )

    def __init__(
        self,
        endpoint: str,
        asker: Asker,
        authentication: ClientAuthentication,
        clock: Clock,
        *,
        audience: str,
        scopes: Sequence[str] = (),
        subject: Literal["token", "assertion"] = "token",
        assertions: SignedAssertions,
        server: str,
        seconds: float = SECONDS,
        on_failure: Callable[[str], None] | None = None,
    ) -> None:
        self.exchanged = 0
        self._endpoint = endpoint
        self._asker = asker
        self._authentication = authentication
        self._clock = clock
        self._subject = subject
        self._assertions = assertions
        self._server = server
        self._seconds = seconds
        self._on_failure = on_failure
        self._form = {
            "grant_type": GRANT,
            "requested_token_type": ACCESS_TOKEN,
            "subject_token_type": ACCESS_TOKEN if subject == "token" else JWT,
            "audience": audience,
        }
        if scopes:
            self._form["scope"] = " ".join(scopes)
        self._held: dict[tuple[object, ...], _Held] = {}
        self._flights: dict[tuple[object, ...], asyncio.Task[_Held]] = {}

    async def stop(self) -> None:
        """End what is under way."""
        flights, self._flights = list(self._flights.values()), {}
        for flight in flights:
            flight.cancel()
        if flights:
            await asyncio.wait(flights)

    def find(self, call: Call, permit: Permit, now: float, /) -> Credential | None:
        """Return a token that was obtained for the same proof. See `core.ports.Onward`."""
        del call
        held = self._held.get(self._key(permit))
        return held.credential if held is not None and held.since <= now < held.until else None

    async def obtain(self, call: Call, permit: Permit, now: float, /) -> Credential:
        """Exchange; joins an exchange that is under way. See `core.ports.Onward`."""
        key = self._key(permit)
        held = self._held.get(key)
        if held is None or not held.since <= now < held.until:
            held = await self._join(key, call, permit, now)
        if held.credential is None:
            raise Refused(held.refusal or STOPPED)
        return held.credential

    async def _join(self, key: tuple[object, ...], call: Call, permit: Permit, now: float) -> _Held:
        flight = self._flights.get(key)
        if flight is None:
            if len(self._flights) >= MAX_FLIGHTS:
                raise Refused(BUSY)
            form = self._form | {"subject_token": self._subject_token(call, permit, now)}
            # A task of its own: a client that goes away must not end the exchange of others.
            flight = asyncio.get_running_loop().create_task(
                self._exchange(form, permit.identity), name="token exchange"
            )
            self._flights[key] = flight
            flight.add_done_callback(lambda done: self._keep(key, done))
        await asyncio.wait({flight})
        return _Held(now, now, None, STOPPED) if flight.cancelled() else flight.result()

    def _key(self, permit: Permit) -> tuple[object, ...]:
        """Name a proof: whoever shows another token, certificate or key is exchanged anew.

        Where an assertion is exchanged, all that it says belongs to it: what was obtained for one model, or
        with roles that a gateway key has lost since, says nothing about another.
        """
        identity = permit.identity
        proof = (identity.key, identity.token, identity.key_id, identity.certificate, permit.route.name)
        if self._subject == "token":
            return proof
        return (*proof, permit.rule, permit.model, identity.roles)

    def _subject_token(self, call: Call, permit: Permit, now: float) -> str:
        if self._subject == "assertion":
            return self._assertions.statement(call, permit, now, self._server)[1].decode()
        presented = _PRESENTED.fullmatch(call.headers.get(b"authorization", b""))
        if presented is None or permit.identity.token is None:
            raise Refused(NO_TOKEN)
        return presented[1].decode()

    async def _exchange(self, form: Mapping[str, str], identity: Identity) -> _Held:
        """Ask the server; what goes wrong is an answer too, for a moment."""
        self.exchanged += 1
        try:
            answer = await self._asker.post(
                self._endpoint,
                form={**form, **self._authentication.form()},
                headers=self._authentication.headers(),
                limit=MAX_ANSWER_BYTES,
                seconds=self._seconds,
            )
            token, lifetime = _read(answer.body)
        except FetchError as failure:
            return self._failure(failure.word)
        except DocumentError:
            return self._failure("malformed")
        except ValueError:
            return self._failure("destination-refused")
        now = self._clock.wall()
        credential = Credential(
            sha256(token.encode()).hexdigest()[:16], f"Authorization: Bearer {token}\r\n".encode()
        )
        return _Held(now, min(now + lifetime - SLACK, identity.expires), credential)

    def _failure(self, word: str) -> _Held:
        if self._on_failure is not None:
            self._on_failure(word)
        now = self._clock.wall()
        return _Held(now, now + MEMORY, None, _failed(f"token exchange: {word}"))

    def _keep(self, key: tuple[object, ...], done: asyncio.Task[_Held]) -> None:
        if self._flights.get(key) is done:
            del self._flights[key]
        if done.cancelled() or done.exception() is not None:
            return
        if len(self._held) >= CAPACITY:
            self._held.clear()
        self._held[key] = done.result()


def _read(body: bytes) -> tuple[str, float]:
    """Read a successful answer (RFC 8693, section 2.2.1): the token, and how many seconds it lives.

    Raises:
        DocumentError: It is none that could be used as a bearer token.
    """
    answer = parse_object(body, MAX_ANSWER_BYTES)
    token, kind, lifetime = (answer.get(name) for name in ("access_token", "token_type", "expires_in"))
    if not isinstance(token, str) or not _TOKEN.fullmatch(token):
        raise DocumentError("the answer has no token that could be sent")
    if not isinstance(kind, str) or kind.lower() != "bearer":
        raise DocumentError("the token is no bearer token")
    if type(lifetime) is not int or lifetime <= 0:
        return token, 0.0  # RFC 8693 only recommends it: used once
    return token, float(min(lifetime, LONGEST))


@final
class OnwardCredentials:
    """Assertions for most backends, tokens for those that want them. Implements `core.ports.Onward`.

    Args:
        assertions: Signs.
        exchanges: Exchanges, by backend name.
    """

    __slots__ = ("_assertions", "_exchanges")

    def __init__(self, assertions: SignedAssertions, exchanges: Mapping[str, TokenExchange]) -> None:
        self._assertions = assertions
        self._exchanges = dict(exchanges)

    def find(self, call: Call, permit: Permit, now: float, /) -> Credential | None:
        """Return what needs no waiting. See `core.ports.Onward`."""
        exchange = self._exchanges.get(permit.route.backend)
        return (exchange or self._assertions).find(call, permit, now)

    async def obtain(self, call: Call, permit: Permit, now: float, /) -> Credential:
        """Obtain what has to be waited for. See `core.ports.Onward`."""
        exchange = self._exchanges.get(permit.route.backend)
        return await (exchange or self._assertions).obtain(call, permit, now)

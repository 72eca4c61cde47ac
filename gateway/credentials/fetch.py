"""The one HTTP client for what the gateway asks of issuers: keys, metadata, answers about tokens.

It goes where the configuration says and nowhere else: https, or http on this machine; addresses that
`destinations` permits; no redirect, no proxy and no `.netrc` of the environment, no cookie. It reads a
bounded answer in a bounded time and decompresses nothing. What fails has one word for the log; nothing
that the other side wrote is in it.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from functools import cache
from typing import TYPE_CHECKING, Final, NamedTuple, final
from urllib.parse import urlencode

import aiohttp
import msgspec
from yarl import URL

from gateway.credentials.clock import SystemClock
from gateway.credentials.destinations import Reach, parse_url
from gateway.credentials.freshness import max_age
from gateway.credentials.pinning import AddressRefused, PinnedConnector
from gateway.credentials.tls import client_context

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from pathlib import Path

    from gateway.core.ports import Clock
    from gateway.credentials.destinations import Network

FETCH_SECONDS: Final = 5.0  # from resolving the name to the last byte
MAX_BODY_BYTES: Final = 256 * 1024
MAX_HEADER_FIELDS: Final = 100
MAX_FIELD_BYTES: Final = 8190
BUFFER_BYTES: Final = 16 * 1024
CONNECTIONS: Final = 16
OK: Final = frozenset({200})
REDIRECTS: Final = range(300, 400)
FORM: Final = "application/x-www-form-urlencoded"
JSON: Final = "application/json"

OWN_FIELDS: Final = {"User-Agent": "model-gateway", "Accept-Encoding": "identity"}
RESERVED_FIELDS: Final = frozenset(
    {
        "accept-encoding",
        "connection",
        "content-length",
        "content-type",
        "cookie",
        "expect",
        "host",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
FIELD_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}\Z")
FIELD_VALUE: Final = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?\Z")
MEDIA_TYPE: Final = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]{1,64}/[!#$%&'*+.^_`|~0-9a-z-]{1,64}\Z")

# In this order: the first class that fits names the failure.
WORDS: Final[tuple[tuple[type[BaseException], str], ...]] = (
    (AddressRefused, "address-refused"),
    (TimeoutError, "timeout"),
    (aiohttp.ClientConnectorDNSError, "dns"),
    (ssl.SSLError, "tls"),
    (ssl.CertificateError, "tls"),
    (aiohttp.ClientSSLError, "tls"),
    (aiohttp.ClientConnectorError, "unreachable"),
    (aiohttp.ClientResponseError, "malformed"),
    (aiohttp.ClientPayloadError, "truncated"),
    (aiohttp.ClientError, "closed"),
    (OSError, "closed"),
)


@final
class FetchError(Exception):
    """Nothing was fetched.

    Args:
        word: For the log: "address-refused", "closed", "dns", "encoding", "malformed", "redirect",
            "status-" and a number, "timeout", "tls", "too-large", "truncated", "unreachable".
        status: The status that was not expected; 0 if that is not what went wrong.
    """

    def __init__(self, word: str, status: int = 0) -> None:
        super().__init__(word)
        self.word = word
        self.status = status


@final
class Fetched(NamedTuple):
    """A whole answer.

    Args:
        status: One of those that were asked for.
        content_type: Type and subtype in lower case, without parameters; "" if there is no sound one.
        max_age: Seconds that the answer stays fresh (RFC 9111, section 5.2.2.1); None if it does not say.
        body: As it came.
    """

    status: int
    content_type: str
    max_age: float | None
    body: bytes


@cache
def _system_trust() -> ssl.SSLContext:
    """Load the system's authorities once for all issuers: it takes some 60 ms, and a megabyte."""
    return client_context(SystemClock())  # no file of ours, so no date is looked at


def _word(failure: BaseException) -> str:
    if isinstance(
        failure.__cause__, ssl.SSLError
    ):  # an alert after the handshake, as TLS 1.3 refuses clients
        return "tls"
    return next(word for kind, word in WORDS if isinstance(failure, kind))


@final
class Fetcher:
    """Asks the servers of one issuer. Opens nothing before its first request; `close` ends it.

    Args:
        clock: Time, for the dates of certificates.
        networks: Networks that the servers must be in; none: public addresses.
        ca: PEM bundle that alone may sign their certificates; None: the system's.
        certificate: PEM chain of the client certificate, for mutual TLS; None: none is shown.
        private_key: Its key.
        connections: Most connections at once; more requests wait.

    Raises:
        TlsError: A file cannot be used.
    """

    __slots__ = ("_connections", "_reach", "_session", "_tls")

    def __init__(
        self,
        clock: Clock,
        *,
        networks: Iterable[Network] = (),
        ca: Path | None = None,
        certificate: Path | None = None,
        private_key: Path | None = None,
        connections: int = CONNECTIONS,
    ) -> None:
        self._reach = Reach(networks)
        if ca is None and certificate is None and private_key is None:
            self._tls = _system_trust()
        else:
            self._tls = client_context(clock, ca=ca, certificate=certificate, private_key=private_key)
        self._connections = connections
        self._session: aiohttp.ClientSession | None = None

    async def get(
        self,
        url: str,
        *,
        accept: str = JSON,
        headers: Mapping[str, str] | None = None,
        statuses: Collection[int] = OK,
        limit: int = MAX_BODY_BYTES,
        seconds: float = FETCH_SECONDS,
    ) -> Fetched:
        """Get a document. A kept connection that turns out to be closed is replaced once.

        Args:
            url: See `destinations.parse_url`.
            accept: Field `Accept`.
            headers: More fields, e.g. `Authorization`; ours cannot be replaced.
            statuses: Statuses that are answers; every other one is a failure.
            limit: Largest body, bytes.
            seconds: Largest time, all in all.

        Raises:
            DestinationError: The URL is refused.
            FetchError: With a word for the log.
            ValueError: A field is none that may be sent.
        """
        fields = _fields(accept, headers)
        return await self._ask("GET", url, fields, None, statuses, limit, seconds)

    async def post(
        self,
        url: str,
        *,
        form: Mapping[str, str] | None = None,
        json: object = None,
        accept: str = JSON,
        headers: Mapping[str, str] | None = None,
        statuses: Collection[int] = OK,
        limit: int = MAX_BODY_BYTES,
        seconds: float = FETCH_SECONDS,
        is_repeatable: bool = False,
    ) -> Fetched:
        """Post a form or JSON.

        Args:
            url: See `destinations.parse_url`.
            form: Fields of a form; or
            json: a value to be sent as JSON.
            accept: Field `Accept`.
            headers: More fields, e.g. `Authorization`; ours cannot be replaced.
            statuses: Statuses that are answers; every other one is a failure.
            limit: Largest body of the answer, bytes.
            seconds: Largest time, all in all.
            is_repeatable: True where asking twice does no harm: a connection that is closed under the
                request is replaced once, as for GET.

        Raises:
            DestinationError: The URL is refused.
            FetchError: With a word for the log.
            ValueError: A field is none that may be sent; or not exactly one body.
        """
        if (form is None) == (json is None):
            raise ValueError("either a form or JSON")
        fields = _fields(accept, headers)
        fields["Content-Type"] = JSON if form is None else FORM
        body = msgspec.json.encode(json) if form is None else urlencode(form).encode()
        try:
            return await self._ask("POST", url, fields, body, statuses, limit, seconds)
        except FetchError as failure:
            if failure.word != "closed" or not is_repeatable:
                raise
        return await self._ask("POST", url, fields, body, statuses, limit, seconds)

    async def close(self) -> None:
        """Close all connections; requests under way fail. Idempotent."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _ask(
        self,
        method: str,
        url: str,
        fields: Mapping[str, str],
        body: bytes | None,
        statuses: Collection[int],
        limit: int,
        seconds: float,
    ) -> Fetched:
        target = URL(parse_url(url).url, encoded=True)  # sent as it is written
        try:
            async with (
                asyncio.timeout(seconds),
                self._opened().request(
                    method, target, headers=fields, data=body, allow_redirects=False
                ) as response,
            ):
                # leaving closes the connection, unless the body was read to its end
                return await _read(response, statuses, limit)
        except (aiohttp.ClientError, AddressRefused, OSError) as failure:
            raise FetchError(_word(failure)) from failure

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=PinnedConnector(self._reach, self._tls, self._connections),
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
                auto_decompress=False,
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),  # `asyncio.timeout` bounds all
                read_bufsize=BUFFER_BYTES,
                max_line_size=MAX_FIELD_BYTES,
                max_field_size=MAX_FIELD_BYTES,
                max_headers=MAX_HEADER_FIELDS,
            )
        return self._session


def _fields(accept: str, more: Mapping[str, str] | None) -> dict[str, str]:
    for name, value in (more or {}).items():
        if not FIELD_NAME.match(name) or name.lower() in RESERVED_FIELDS or not FIELD_VALUE.match(value):
            raise ValueError("a header field that may not be sent")
    return {**(more or {}), "Accept": accept, **OWN_FIELDS}


async def _read(response: aiohttp.ClientResponse, statuses: Collection[int], limit: int) -> Fetched:
    status = response.status
    if status not in statuses:
        raise FetchError("redirect" if status in REDIRECTS else f"status-{status}", status)
    if any(each.strip().lower() != "identity" for each in response.headers.getall("Content-Encoding", [])):
        raise FetchError("encoding")
    if (response.content_length or 0) > limit:
        raise FetchError("too-large")
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > limit:
            raise FetchError("too-large")
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    age = max_age(response.headers.getall("Cache-Control", []))
    return Fetched(status, kind if MEDIA_TYPE.match(kind) else "", age, bytes(body))

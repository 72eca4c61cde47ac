"""Finds the keys of an issuer by its name: OpenID Connect Discovery 1.0, and RFC 8414 where that is absent.

Believes a document only about the issuer that was asked, and follows it only to the issuer's own origin
or to one that the operator listed: whoever can change one document cannot move the keys elsewhere. A
look-up that fails leaves the last good document in use, until its hard age.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias, final

from gateway.credentials.destinations import DestinationError, parse_url
from gateway.credentials.documents import DocumentError, parse_object
from gateway.credentials.fetch import FetchError
from gateway.credentials.jwk import MAX_SET_BYTES

if TYPE_CHECKING:
    from collections.abc import Collection

    from gateway.core.ports import Clock
    from gateway.credentials.fetch import Fetched, Fetcher
    from gateway.credentials.key_news import Herald

MAX_DOCUMENT_BYTES: Final = 64 * 1024  # those of large providers have less than 10 KiB
MAX_DOCUMENT_DEPTH: Final = 16
PACE: Final = 3600.0  # seconds between two look-ups
RETRY: Final = 300.0  # seconds after a look-up that failed while a document is known
HASTE: Final = 30.0  # seconds between two look-ups while the keys themselves fail
REPEATED: Final = 2  # failures of the keys in a row, after which their address is doubted
NOT_FOUND: Final = 404
SET_TYPES: Final = "application/jwk-set+json, application/json"

Origin: TypeAlias = tuple[str, str, int]


class DiscoveryError(ValueError):
    """A document of metadata that cannot be used; the text repeats nothing of it."""


@final
class Metadata(NamedTuple):
    """What an issuer says about itself, as far as it matters here. All URLs have passed the same checks.

    Args:
        issuer: The configured name, exactly.
        jwks_uri: Where its keys are.
        introspection_endpoint: RFC 7662; None: none, or one that is not followed.
        token_endpoint: RFC 6749; None: none, or one that is not followed.
    """

    issuer: str
    jwks_uri: str
    introspection_endpoint: str | None
    token_endpoint: str | None


def well_known(issuer: str) -> tuple[str, str]:
    """Return where metadata is, by OpenID Connect Discovery (section 4) and by RFC 8414 (section 3).

    Raises:
        DestinationError: The issuer's name is no URL that anything is fetched from, or has a query.
    """
    parse_url(issuer)
    if "?" in issuer:
        raise DestinationError("the URL of an issuer has no query")
    scheme, _, rest = issuer.partition("://")
    authority, slash, path = rest.partition("/")
    path = f"{slash}{path}".removesuffix("/")
    base = f"{scheme.lower()}://{authority}"
    return (
        f"{base}{path}/.well-known/openid-configuration",
        f"{base}/.well-known/oauth-authorization-server{path}",
    )


def parse_metadata(text: bytes, issuer: str, origins: Collection[Origin] = ()) -> Metadata:
    """Read a document of metadata.

    Args:
        text: The document.
        issuer: Whose it must be.
        origins: Other origins that it may lead to.

    Raises:
        DiscoveryError: It is malformed, another issuer's, or leads to keys elsewhere.
    """
    try:
        document = parse_object(text, MAX_DOCUMENT_BYTES, MAX_DOCUMENT_DEPTH)
    except DocumentError as unusable:
        raise DiscoveryError(str(unusable)) from unusable
    if document.get("issuer") != issuer:
        raise DiscoveryError("the metadata is of another issuer")
    allowed = {parse_url(issuer).origin, *origins}
    jwks_uri = document.get("jwks_uri")
    if not isinstance(jwks_uri, str):
        raise DiscoveryError("the metadata names no `jwks_uri`")
    try:
        origin = parse_url(jwks_uri).origin
    except DestinationError as refused:
        raise DiscoveryError(f"`jwks_uri`: {refused}") from refused
    if origin not in allowed:
        raise DiscoveryError("`jwks_uri` is of another origin, which `jwks_origins` does not list")
    return Metadata(
        issuer,
        jwks_uri,
        _followed(document.get("introspection_endpoint"), allowed),
        _followed(document.get("token_endpoint"), allowed),
    )


def _followed(url: object, allowed: Collection[Origin]) -> str | None:
    try:
        return url if isinstance(url, str) and parse_url(url).origin in allowed else None
    except DestinationError:
        return None


@final
class Discovery:
    """The address of an issuer's keys, looked up; implements `remote.Source`.

    Args:
        issuer: Exact name.
        fetcher: Asks; closed by `close`.
        clock: Time.
        origins: Other origins than the issuer's that its metadata may lead to.
        hard_age: Seconds that a document outlives failing look-ups.

    Raises:
        DestinationError: The issuer's name is no URL that anything is fetched from.
    """

    __slots__ = (
        "_clock",
        "_due_at",
        "_fetcher",
        "_found_at",
        "_hard_age",
        "_issuer",
        "_origins",
        "_places",
        "_tried_at",
        "metadata",
    )

    def __init__(
        self,
        issuer: str,
        fetcher: Fetcher,
        clock: Clock,
        *,
        origins: Collection[Origin] = (),
        hard_age: float,
    ) -> None:
        self._places = well_known(issuer)
        self._issuer = issuer
        self._fetcher = fetcher
        self._clock = clock
        self._origins = frozenset(origins)
        self._hard_age = hard_age
        self._found_at = self._tried_at = self._due_at = float("-inf")
        self.metadata: Metadata | None = None

    @property
    def name(self) -> str:
        """What debuggers show."""
        return self._issuer

    async def fetch(self, failures: int, herald: Herald) -> Fetched:
        """Fetch the keys from where they are now said to be.

        Args:
            failures: How often in a row the keys could not be had.
            herald: Told when a look-up fails that can be done without.

        Raises:
            FetchError: No keys were fetched.
            DiscoveryError: No metadata was fetched, or it is refused, and none is known that can be used.
        """
        metadata = await self._current(failures, herald)
        return await self._fetcher.get(metadata.jwks_uri, accept=SET_TYPES, limit=MAX_SET_BYTES)

    async def close(self) -> None:
        """Close all connections."""
        await self._fetcher.close()

    async def _current(self, failures: int, herald: Herald) -> Metadata:
        now = self._clock.tick()
        known = self.metadata if now - self._found_at < self._hard_age else None
        is_doubted = failures >= REPEATED and now - self._tried_at >= HASTE
        if known is not None and now < self._due_at and not is_doubted:
            return known
        self._tried_at = now
        self._due_at = now + RETRY
        try:
            found = parse_metadata(await self._look_up(), self._issuer, self._origins)
        except DiscoveryError as failure:
            if known is None:
                raise
            herald.undiscovered(str(failure))
            return known
        self.metadata = found
        self._found_at = now
        self._due_at = now + PACE
        return found

    async def _look_up(self) -> bytes:
        connect, oauth = self._places
        try:
            try:
                return (await self._fetcher.get(connect, limit=MAX_DOCUMENT_BYTES)).body
            except FetchError as failure:
                if failure.status != NOT_FOUND:
                    raise
            return (await self._fetcher.get(oauth, limit=MAX_DOCUMENT_BYTES)).body
        except FetchError as failure:
            raise DiscoveryError(f"metadata: {failure.word}") from failure

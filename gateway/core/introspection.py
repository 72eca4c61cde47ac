"""What `identify` needs to ask an issuer what an opaque token is (RFC 7662): a role that credentials play."""

from __future__ import annotations

from typing import NamedTuple, Protocol, final


@final
class Introspected(NamedTuple):
    """What an issuer says about a token.

    Args:
        body: Its answer, as it came.
        asked: When it was asked, seconds since the epoch.
    """

    body: bytes
    asked: float


class Introspection(Protocol):
    """Asks one issuer about opaque tokens (RFC 7662)."""

    async def ask(self, token: bytes, digest: bytes, address: str, /) -> Introspected:
        """Ask about a token; one question at a time about each, and no more than the issuer can bear.

        Args:
            token: The token.
            digest: Its SHA-256.
            address: Who presents it: is charged for the question.

        Raises:
            Refused: `TOKEN_UNCHECKED`.
            ClientGone: The client closed the connection; others who wait for the same answer get it.
        """

    def believed(self, address: str, /) -> None:
        """The answer proved somebody: give back what the question cost that address."""

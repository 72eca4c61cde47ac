"""How the gateway proves itself to an authorization server (RFC 6749, section 2.3; RFC 7523; RFC 8705).

A key or a certificate never leaves this machine; a shared secret does with every question, and is there for
servers that know nothing better.
"""

from __future__ import annotations

import secrets
from base64 import b64encode
from typing import TYPE_CHECKING, Final, Protocol, final
from urllib.parse import quote_plus

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gateway.core.ports import Clock
    from gateway.credentials.signing import Signer

ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
TYPE: Final = "client-authentication+jwt"
LIFETIME: Final = 60  # seconds


class ClientAuthentication(Protocol):
    """What a request carries as proof of who asks."""

    def form(self) -> Mapping[str, str]:
        """Return fields of the form, made for this one request."""

    def headers(self) -> Mapping[str, str]:
        """Return header fields."""


@final
class PrivateKeyJwt:
    """A signed assertion per request (RFC 7523, section 2.2; OpenID Connect Core, section 9).

    Args:
        client_id: The gateway's name at the server.
        signer: Its key.
        audience: Returns the server's issuer name, or the endpoint's URL where a server insists on that.
        clock: Time.
    """

    __slots__ = ("_audience", "_client_id", "_clock", "_signer")

    def __init__(self, client_id: str, signer: Signer, audience: Callable[[], str], clock: Clock) -> None:
        self._client_id = client_id
        self._signer = signer
        self._audience = audience
        self._clock = clock

    def form(self) -> Mapping[str, str]:
        """Return a new assertion: a server takes each `jti` once."""
        now = int(self._clock.wall())
        claims = {
            "iss": self._client_id,
            "sub": self._client_id,
            "aud": self._audience(),
            "jti": secrets.token_urlsafe(16),
            "iat": now,
            "exp": now + LIFETIME,
        }
        header = {"alg": self._signer.algorithm, "typ": TYPE, "kid": self._signer.kid}
        return {
            "client_id": self._client_id,
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": self._signer.sign(claims, header).decode(),
        }

    def headers(self) -> Mapping[str, str]:
        """Return none."""
        return {}


@final
class Certificate:
    """The client certificate of the connection (RFC 8705, section 2): the name is all that is said.

    Args:
        client_id: The gateway's name at the server.
    """

    __slots__ = ("_client_id",)

    def __init__(self, client_id: str) -> None:
        self._client_id = client_id

    def form(self) -> Mapping[str, str]:
        """Return the name."""
        return {"client_id": self._client_id}

    def headers(self) -> Mapping[str, str]:
        """Return none."""
        return {}


@final
class SharedSecret:
    """`client_secret_basic` (RFC 6749, section 2.3.1).

    Args:
        client_id: The gateway's name at the server.
        secret: What both know.
    """

    __slots__ = ("_value",)

    def __init__(self, client_id: str, secret: str) -> None:
        pair = f"{quote_plus(client_id)}:{quote_plus(secret)}"
        self._value = f"Basic {b64encode(pair.encode()).decode()}"

    def form(self) -> Mapping[str, str]:
        """Return none: the two must not be sent twice."""
        return {}

    def headers(self) -> Mapping[str, str]:
        """Return the field."""
        return {"Authorization": self._value}

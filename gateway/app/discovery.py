"""What the gateway publishes of itself, so that clients find an issuer without a person (RFC 9728).

Strangers read it. So it holds what a client needs before it has a token, and nothing of routes: their scopes
are published only if the configuration lists them for that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from gateway.core.route import WELL_KNOWN_METADATA
from gateway.runtime import Document

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.config.schema import Settings

HEADERS: Final = b"Content-Type: application/json\r\nCache-Control: public, max-age=3600\r\n"


def metadata_url(settings: Settings) -> str:
    """Return where the metadata is, for challenges; "" if there is none."""
    origins = settings.server.origins
    return origins[0].text + WELL_KNOWN_METADATA if origins else ""


def proof_algorithms(settings: Settings) -> tuple[str, ...]:
    """Return the algorithms of proofs of possession; none where no origin says what they are made for."""
    return settings.identity.proofs.algorithms if settings.server.origins else ()


def documents(settings: Settings, algorithms: Sequence[str] = ()) -> dict[str, Document]:
    """Make everything that is published, by path.

    Args:
        settings: The settings.
        algorithms: Algorithms of proofs of possession (RFC 9449); none: they are not accepted.

    Returns:
        The metadata of the first origin; nothing if no origin is known.
    """
    if not settings.server.origins:
        return {}
    body = msgspec.json.encode(_metadata(settings, algorithms))
    return {WELL_KNOWN_METADATA: Document(HEADERS, body)}


def _metadata(settings: Settings, algorithms: Sequence[str]) -> dict[str, object]:
    """Describe the gateway as a protected resource; lists without entries are left out (section 3.2)."""
    server = settings.server
    own = server.metadata
    asks = server.tls is not None and server.tls.client_certificate != "none"
    issuers = [issuer.issuer for issuer in settings.identity.issuers if issuer.issuer.startswith("https://")]
    tokens = [route.require.token for route in settings.routes]
    demanded = {"" if token is None else token.bound for token in tokens}
    members: dict[str, object] = {
        "resource": server.origins[0].text,
        "authorization_servers": issuers or None,
        "scopes_supported": list(own.scopes) or None,
        "bearer_methods_supported": ["header"],
        "resource_name": own.name,
        "resource_documentation": None if own.documentation is None else own.documentation.text,
        "tls_client_certificate_bound_access_tokens": asks,
        "dpop_signing_alg_values_supported": list(algorithms) or None,
        # true only if nothing else would do: a token bound to a certificate may stand in for the key
        "dpop_bound_access_tokens_required": bool(algorithms)
        and "" not in demanded
        and (demanded == {"key"} or not asks),
    }
    return {name: value for name, value in members.items() if value is not None}

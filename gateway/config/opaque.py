"""Parts of the section `identity`: asking issuers about opaque tokens, and the gateway's own keys."""

from typing import Annotated, Literal, TypeAlias

from pydantic import PlainValidator

from gateway.config.addresses import WebUrl
from gateway.config.patterns import Text
from gateway.config.quantities import Duration, OneRate
from gateway.config.references import FilePath, Secret
from gateway.config.section import Section, required, setting
from gateway.config.texts import schema, text_type

PREFIX = r"^[A-Za-z0-9._~+/-]{1,32}$"

TokenPrefix: TypeAlias = Annotated[
    str,
    PlainValidator(text_type("the begin of a token", str, "acme_", PREFIX)),
    schema("text", "acme_", PREFIX),
]
SigningAlgorithm: TypeAlias = Literal["ES256", "ES384", "EdDSA", "PS256", "RS256"]


class PrivateKeyJwt(Section):
    """The gateway signs an assertion for every question (RFC 7523)."""

    private_key: FilePath = required("PEM file: RSA, P-256, P-384 or Ed25519 private key.")
    algorithm: SigningAlgorithm | None = setting(None, "Its algorithm; none: the key's natural one.")
    key_id: Text | None = setting(None, "`kid` of the assertion; none: the key's thumbprint (RFC 7638).")
    audience: Literal["issuer", "endpoint"] = setting(
        "issuer", "What `aud` names: the issuer, or the endpoint's URL where a server insists on that."
    )


class ClientCertificate(Section):
    """The gateway shows a certificate (RFC 8705, section 2)."""

    certificate: FilePath = required("PEM file: certificate chain, leaf first.")
    private_key: FilePath = required("PEM file: its private key.")


class ClientAuthentication(Section):
    """How the gateway proves itself to the issuer: exactly one of these."""

    private_key_jwt: PrivateKeyJwt | None = setting(None, "By a signature: the better way, beside `mtls`.")
    mtls: ClientCertificate | None = setting(None, "By a certificate.")
    client_secret: Secret | None = setting(
        None, "By a secret that goes over the line with every question; where the issuer can do neither."
    )


class Introspection(Section):
    """Asking an issuer about its opaque tokens (RFC 7662)."""

    endpoint: WebUrl | None = setting(
        None, "URL of the introspection endpoint; none: it is discovered with the keys (`jwks` left out)."
    )
    client_id: Text = required("The gateway's name at the issuer.")
    authentication: ClientAuthentication = required("How the gateway proves itself there.")
    token_prefix: TokenPrefix | None = setting(
        None, "What this issuer's opaque tokens begin with; one issuer may leave it out, and gets the rest."
    )
    cache: Duration = setting("10s", "How long an answer is believed: a revoked token lives so long.")
    timeout: Duration = setting("3s", "Longest time of one question.")
    rate: OneRate = setting("100/second", "Most questions to this issuer.")
    rate_per_address: OneRate = setting(
        "20/second", "Most questions for one client address about tokens that turn out to be none."
    )
    ca: FilePath | None = setting(None, "PEM file: authorities of the endpoint; none: those of `jwks_ca`.")


class GatewayKeys(Section):
    """The gateway's own keys, for clients that can do no OAuth; `gateway keys` makes them."""

    file: FilePath = required("The file of keys: digests, never keys. It is watched while the gateway runs.")
    pepper: Secret = required("Secret of at least 32 characters without which the file is worth nothing.")
    max_lifetime: Duration = setting("366d", "Longest life of a key.")

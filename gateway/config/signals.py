"""The section `identity.signals`: who may say that somebody is no longer to be believed, and about whom."""

from typing import Annotated

from pydantic import Field

from gateway.config.addresses import Network, WebUrl
from gateway.config.patterns import Name, Text
from gateway.config.quantities import Duration
from gateway.config.references import FilePath, KeySource, Secret
from gateway.config.section import Section, required, setting
from gateway.config.signing import Algorithm


class Push(Section):
    """Delivery by push (RFC 8935): the transmitter posts to `/signals/NAME` of the operators' listener."""

    token: Secret | None = setting(
        None, "Bearer token that the transmitter must send, beside the signature of each event."
    )


class Poll(Section):
    """Delivery by poll (RFC 8936): the gateway asks."""

    endpoint: WebUrl = required("The transmitter's poll endpoint.")
    token: Secret = required("Bearer token that the transmitter asks for.")
    interval: Duration = setting("5s", "Between two questions while there is nothing new.")


class Verification(Section):
    """Signs of life, asked for: a silent stream looks like a world in which nobody is revoked."""

    endpoint: WebUrl = required("The transmitter's verification endpoint (SSF 1.0, section 8.1.4).")
    token: Secret = required("Bearer token that the transmitter asks for.")
    stream: Text = required("Id of the stream.")
    interval: Duration = setting("5m", "Between two questions; three of them without a word are an alarm.")


class Transmitter(Section):
    """One transmitter of security events (OpenID Shared Signals Framework 1.0, CAEP 1.0, RISC 1.0)."""

    name: Name = required("Unique name: in the path of the push endpoint, logs and metrics.")
    issuer: Text = required("Exact value of the claim `iss` of its events.")
    audience: Text = required("Value that the claim `aud` of its events must have, or contain.")
    jwks: KeySource = required("Where its public keys are: an `https://` URL, or `file:` and a path.")
    algorithms: Annotated[tuple[Algorithm, ...], Field(min_length=1)] = setting(
        ("RS256", "ES256"), "Signature algorithms that are accepted; asymmetric ones only."
    )
    speaks_for: Annotated[tuple[Text, ...], Field(min_length=1)] | None = setting(
        None,
        "Issuers whose subjects it may revoke, each one of `identity.issuers` (or `spiffe://` and a trust "
        "domain); none: the one that is called as it is. Subjects without an issuer are the first one's.",
    )
    email_claim: Text = setting("email", "Claim of their tokens that holds the e-mail address.")
    push: Push | None = setting(None, "Delivery by push; `{}` without a token.")
    poll: Poll | None = setting(None, "Delivery by poll.")
    verification: Verification | None = setting(None, "Signs of life; none: silence is not noticed.")
    networks: tuple[Network, ...] = setting(
        (), "Networks that its servers must be in; none: public addresses only."
    )
    ca: FilePath | None = setting(None, "PEM file: authorities of its servers; none: the system's.")

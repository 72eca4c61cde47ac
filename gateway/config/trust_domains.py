"""The section `identity.trust_domains`: whose workloads are believed (SPIFFE)."""

from typing import Annotated, TypeAlias

from pydantic import PlainValidator

from gateway.config.addresses import Network
from gateway.config.patterns import Text
from gateway.config.quantities import Duration, DurationOrZero
from gateway.config.references import FilePath, KeySource
from gateway.config.section import Section, required, setting
from gateway.config.texts import refused, schema, text_type
from gateway.core.spiffe import is_trust_domain

PATTERN = r"^[a-z0-9._-]{1,255}$"


def _trust_domain(text: str) -> str:
    if not is_trust_domain(text):
        raise refused(
            f"`{text}` is no name of a trust domain", "write the name alone, in lower case: `example.org`"
        )
    return text


TrustDomainName: TypeAlias = Annotated[
    str,
    PlainValidator(text_type("a trust domain", _trust_domain, "example.org")),
    schema("trust domain", "example.org", PATTERN),
]


class TrustDomain(Section):
    """One trust domain whose workloads are believed, by X.509-SVID and, with an audience, by JWT-SVID."""

    bundle: KeySource = required(
        "Its bundle: `file:` and a path (SPIFFE bundle, or PEM authorities), or the `https://` URL of its "
        "bundle endpoint (`https_web`)."
    )
    bundle_ca: FilePath | None = setting(
        None, "PEM file: authorities of the server that has the bundle; none: the system's."
    )
    networks: tuple[Network, ...] = setting(
        (), "Networks that this server must be in; none: public addresses only."
    )
    refresh: Duration | None = setting(
        None,
        "How often the bundle is fetched, or its file looked at; none: as the bundle's "
        "`spiffe_refresh_hint` says, within 10s and 1h (5m if it says nothing); a file every 5s, or every "
        "`server.watch` if that is less.",
    )
    hard_age: Duration = setting(
        "24h", "How long the last fetched bundle is used while a newer one cannot be fetched."
    )
    audience: Text | None = setting(
        None,
        "Value that the claim `aud` of JWT-SVIDs must have; none: the first of `server.origins`, and without "
        "origins no JWT-SVIDs are accepted.",
    )
    max_lifetime: Duration = setting("1h", "Longest life of a JWT-SVID.")
    skew: DurationOrZero = setting("30s", "How far clocks may be apart; at most 60s.")
    revocation_list: FilePath | None = setting(
        None,
        "PEM file: revocation lists of the domain's authorities; with it, each of them must have one. "
        "None: its certificates are short-lived and not revoked.",
    )
    revocation_grace: DurationOrZero = setting(
        "0s", "How long a list still counts after its nextUpdate; never longer than its own period."
    )

"""The sections `identity`, `roles` and `assertions`: whom to believe, and what to call them."""

from typing import Annotated, TypeAlias

from pydantic import AfterValidator, Field

from gateway.config.addresses import Network, Origin
from gateway.config.opaque import GatewayKeys, Introspection
from gateway.config.patterns import CertificateName, ClaimValues, Name, SpiffePattern, SubjectName, Text
from gateway.config.proofs import Proofs
from gateway.config.quantities import Duration, DurationOrZero
from gateway.config.references import FilePath, KeySource
from gateway.config.section import Section, required, setting
from gateway.config.signals import Transmitter
from gateway.config.signing import Algorithm
from gateway.config.texts import refused
from gateway.config.trust_domains import TrustDomain, TrustDomainName


def _issuer(text: str) -> str:
    if "|" in text or text in {"anonymous", "key"}:
        raise refused(f"`{text}` could be taken for another caller's name", "give the issuer's exact `iss`")
    return text


IssuerName: TypeAlias = Annotated[Text, AfterValidator(_issuer)]


class Issuer(Section):
    """One issuer of tokens that is believed, and how far."""

    issuer: IssuerName = required("Exact value of the claim `iss`.")
    jwks: KeySource | None = setting(
        None,
        "Where its public keys are: an `https://` URL, or `file:` and a path; none: they are discovered, "
        "`issuer` being an `https://` URL.",
    )
    audience: Text = required(
        "Exact value that the claim `aud` must have: this gateway's name at the issuer."
    )
    algorithms: Annotated[tuple[Algorithm, ...], Field(min_length=1)] = required(
        "Signature algorithms that are accepted; asymmetric ones only."
    )
    token_types: Annotated[tuple[Text, ...], Field(min_length=1)] = setting(
        ("at+jwt",), "Values of the header `typ` that are accepted (RFC 9068)."
    )
    max_lifetime: Duration = setting("1h", "Longest time between `iat` and `exp`.")
    skew: DurationOrZero = setting("30s", "How far clocks may be apart; at most 60s.")
    groups_claim: Text = setting(
        "groups", "Claim that holds the group names; a dotted path reaches into objects."
    )
    roles_claim: Text | None = setting(None, "Claim that holds role names, for `roles_from_token`.")
    jwks_ca: FilePath | None = setting(
        None, "PEM file: authorities of the server that has the keys; none: the system's."
    )
    jwks_origins: tuple[Origin, ...] = setting(
        (), "Origins beside the issuer's own to which discovery may lead, e.g. `https://keys.example.org`."
    )
    networks: tuple[Network, ...] = setting(
        (), "Networks that its servers must be in; none: public addresses only."
    )
    refresh: Duration | None = setting(
        None,
        "How often its keys are fetched, 1s to 1h; none: as the server's `max-age` says, within 5m and 1h; "
        "a file is looked at every 5s at least.",
    )
    keys_hard_age: Duration = setting(
        "24h", "How long the last fetched keys are used while newer ones cannot be fetched."
    )
    introspection: Introspection | None = setting(
        None, "How it is asked about tokens that are no JWTs; none: they are refused."
    )


class Anonymous(Section):
    """What callers without any credential are."""

    roles: Annotated[tuple[Name, ...], Field(min_length=1)] = required(
        "Roles of everybody who shows no credential."
    )


class Identification(Section):
    """How callers prove who they are."""

    issuers: tuple[Issuer, ...] = setting((), "Issuers of tokens; none: certificates alone.")
    trust_domains: dict[TrustDomainName, TrustDomain] = setting(
        {},
        "SPIFFE trust domains by name. With any, a SPIFFE ID of another one is refused; without, SPIFFE IDs "
        "are believed from `server.tls.client_ca`.",
    )
    signals: tuple[Transmitter, ...] = setting(
        (), "Transmitters of security events, which may revoke what they vouched for."
    )
    proofs: Proofs = setting(
        {},
        "Proofs of possession (DPoP, RFC 9449): tokens that are bound to a key. Accepted as soon as "
        "`server.origins` says which URLs they are made for.",
    )
    anonymous: Anonymous | None = setting(
        None, "Lets callers without credentials in, under these roles. Without it they are refused."
    )
    keys: GatewayKeys | None = setting(None, "The gateway's own keys; none: there are none.")


class Role(Section):
    """A role: whoever fits ANY of the lines below has it."""

    groups: tuple[Text, ...] = setting((), "Members of one of these groups.")
    claims: dict[Text, ClaimValues] = setting(
        {}, "Tokens in which one of these claims has (one of) these values."
    )
    spiffe: tuple[SpiffePattern, ...] = setting(
        (), "SPIFFE IDs; `*` stands for one segment of the path, `**` for any rest."
    )
    subjects: tuple[SubjectName, ...] = setting((), "Single callers: issuer, `|`, subject.")
    clients: tuple[Text, ...] = setting((), "OAuth clients: `client_id`, or issuer, `|`, `client_id`.")
    certificates: tuple[CertificateName, ...] = setting(
        (), "Distinguished names (RFC 4514) or DNS names of client certificates."
    )
    roles_from_token: tuple[Text, ...] = setting(
        (), "Names in the issuer's `roles_claim` that give this role."
    )
    priority: Annotated[int, Field(ge=-100, le=100)] | None = setting(
        None,
        "How urgent its requests are where requests wait for a backend; higher goes first, and is refused "
        "last. A caller has the highest of its roles; none: 0.",
    )


class Assertions(Section):
    """The gateway's own signature, which tells a backend who asks."""

    issuer: Text = setting("model-gateway", "Claim `iss` of the assertions.")
    private_key: FilePath | None = setting(
        None, "PEM file: Ed25519 or P-256 private key; none: one is made at each start and never stored."
    )
    lifetime: Duration = setting("60s", "How long a backend may believe an assertion.")
    single_use: bool = setting(
        default=False,
        description="Sign for every request, under its id; otherwise once per caller, rule and model, for "
        "half of the lifetime. Costs some 20 us per request.",
    )

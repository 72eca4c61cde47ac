"""The sections `identity`, `roles` and `assertions`: whom to believe, and what to call them."""

from typing import Annotated, TypeAlias

from pydantic import AfterValidator, Field, PlainValidator, WithJsonSchema

from gateway.config.addresses import Network, Origin
from gateway.config.patterns import CertificateName, ClaimValues, Name, SpiffePattern, SubjectName, Text
from gateway.config.quantities import Duration, DurationOrZero
from gateway.config.references import FilePath, KeySource
from gateway.config.section import Section, required, setting
from gateway.config.texts import describe, refused
from gateway.config.trust_domains import TrustDomain, TrustDomainName

ALGORITHMS = (
    "RS256",
    "RS384",
    "RS512",
    "PS256",
    "PS384",
    "PS512",
    "ES256",
    "ES384",
    "ES512",
    "EdDSA",
    "Ed25519",
)


def _algorithm(value: object) -> str:
    if value in ALGORITHMS:
        return str(value)
    if isinstance(value, str) and value.upper().startswith("HS"):
        message = f"`{value}` verifies with the key that signs: whoever can check a token could forge one"
        raise refused(message, "let the issuer sign with ES256, EdDSA or PS256")
    if isinstance(value, str) and value.lower() == "none":
        raise refused(
            "`none` accepts tokens that nobody signed", "let the issuer sign with ES256, EdDSA or PS256"
        )
    raise refused(f"{describe(value)} is no algorithm known here", f"write some of {', '.join(ALGORITHMS)}")


Algorithm: TypeAlias = Annotated[
    str,
    PlainValidator(_algorithm),
    WithJsonSchema({"title": "algorithm", "type": "string", "enum": list(ALGORITHMS)}),
]


def _issuer(text: str) -> str:
    if "|" in text or text == "anonymous":
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
    anonymous: Anonymous | None = setting(
        None, "Lets callers without credentials in, under these roles. Without it they are refused."
    )


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


class Assertions(Section):
    """The gateway's own signature, which tells a backend who asks."""

    issuer: Text = setting("model-gateway", "Claim `iss` of the assertions.")
    private_key: FilePath | None = setting(
        None, "PEM file: Ed25519 or P-256 private key; none: one is made at each start and never stored."
    )
    lifetime: Duration = setting("60s", "How long a backend may believe an assertion.")

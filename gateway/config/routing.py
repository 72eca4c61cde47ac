"""The section `routes`: what may be called, by whom, how much, and in which shape."""

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from gateway.config.addresses import Network
from gateway.config.authentication import AuthenticationRequirement
from gateway.config.limits import Limits
from gateway.config.patterns import Expression, HeaderName, ModelPattern, Name, RoutePath, Text
from gateway.config.proofs import Binding
from gateway.config.quantities import Duration, Size
from gateway.config.references import FilePath
from gateway.config.revocations import Continuous
from gateway.config.section import Section, required, setting

Method: TypeAlias = Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
Dialect: TypeAlias = Literal[
    "openai.chat",
    "openai.embeddings",
    "openai.models",
    "openai.completions",
    "openai.responses",
    "openai.moderations",
    "openai.images",
    "openai.audio",
    "anthropic.messages",
    "anthropic.count_tokens",
    "oip",
    "json",
    "opaque",
]

Surface: TypeAlias = Literal[
    "model-repository",
    "shared-memory",
    "tracing",
    "logging",
    "configuration",
    "statistics",
    "slots",
    "lora",
    "engine",
]


class Match(Section):
    """Which requests a route is for."""

    methods: Annotated[tuple[Method, ...], Field(min_length=1)] = required("HTTP methods.")
    path: RoutePath = required(
        "Canonical path; `{name}` stands for one segment (`{model}`: the model), a last `**` for any rest."
    )


class TokenRequirement(Section):
    """What is demanded of the token, beyond its being valid."""

    scopes: tuple[Text, ...] = setting((), "OAuth scopes that it must have, all of them.")
    bound: Binding = setting(
        default=False,
        description="It must be bound: to the client certificate (RFC 8705), to a key whose possession every "
        "request proves (RFC 9449), or, with `true`, to either.",
    )
    max_age: Duration | None = setting(None, "Oldest that it may be, from `iat`; none: until it expires.")
    keys: Literal["refuse", "allow"] = setting(
        "refuse", "Whether a gateway key will do as well; its scopes, binding and age count as a token's."
    )


class Requirements(Section):
    """What is demanded of the credentials before any rule is asked."""

    certificate: bool = setting(default=False, description="A client certificate must have been shown.")
    token: TokenRequirement | None = setting(None, "A token must have been shown; `{}` for any valid one.")
    authentication: AuthenticationRequirement | None = setting(
        None, "How strongly and how recently its user must have authenticated. Demands a token, too."
    )


class Rule(Section):
    """One rule. ALL of its lines must hold; a line left out holds always."""

    name: Name = required("Unique in the route; stands in every decision that it makes.")
    roles: tuple[Name, ...] | None = setting(None, "One of these roles.")
    models: tuple[ModelPattern, ...] | None = setting(
        None, "One of these models; `*` stands for any characters but a slash."
    )
    networks: tuple[Network, ...] | None = setting(None, "Client address in one of these networks.")
    when: Expression | None = setting(None, "Condition in CEL over the attributes in docs/policy.md.")


class RiskBar(Section):
    """How unusual behaviour is found, and from where on it is refused."""

    bar: Annotated[float, Field(gt=0, le=1)] | None = setting(
        None, "Score from which on requests are refused; none: scores are recorded only."
    )
    detectors: tuple[Name, ...] = setting((), "Detectors that look at this route.")


class RouteBounds(Section):
    """Sizes and times of one exchange."""

    body: Size = setting("1MiB", "Largest request body.")
    body_time: Duration = setting("30s", "From the first byte of the head to the last of the body.")
    connect: Duration = setting("5s", "To open a connection to an endpoint, TLS included.")
    first_byte: Duration = setting("120s", "From the request sent to the head of the answer.")
    idle: Duration = setting("60s", "Longest silence between two pieces of the answer.")
    answer: Size = setting("64MiB", "Largest answer.")
    answer_time: Duration = setting("10m", "Longest answer, from its first byte.")


class Headers(Section):
    """Header fields that cross, beside those that the dialect knows."""

    request: tuple[HeaderName, ...] = setting((), "Go on to the backend.")
    answer: tuple[HeaderName, ...] = setting((), "Go back to the client.")
    model: HeaderName | None = setting(
        None, "Names the model where it is sent, must agree with path and body, and goes on to the backend."
    )


class Route(Section):
    """One model surface: without an allow rule that fits, nobody gets through."""

    name: Name = required("Unique name: in records, metrics and assertions.")
    match: Match = required("Which requests it is for.")
    dialect: Dialect = required("What its bodies are; docs/dialects.md has the table.")
    backend: Name = required("Name of the backend.")
    require: Requirements = setting({}, "What is demanded of the credentials before any rule is asked.")
    allow: tuple[Rule, ...] = setting((), "Rules of which one must hold.")
    deny: tuple[Rule, ...] = setting((), "Rules of which none may hold; they beat every allow rule.")
    limits: Limits = setting({}, "How much one identity may ask for.")
    schema_file: FilePath | None = setting(
        None,
        "JSON Schema (2020-12, local references) that bodies must fit, beside the dialect's own.",
        alias="schema",
    )
    extra_fields: Literal["refuse", "allow"] = setting(
        "refuse",
        "Whether bodies may have fields, and kinds of tools and content, that the dialect does not know.",
    )
    risk: RiskBar = setting({}, "How unusual behaviour is found and refused.")
    bounds: RouteBounds = setting({}, "Sizes and times of one exchange.")
    headers: Headers = setting({}, "Header fields that cross, beside the dialect's own.")
    management: tuple[Surface, ...] | None = setting(
        None,
        "Management surfaces that the path reaches and that are open (docs/management.md). "
        "A path that reaches one needs this line: what is not named in it is refused, and `[]` opens none.",
    )
    continuous: Continuous = setting({}, "How what runs is verified again; a revocation always ends it.")

"""Names and patterns: what identities, models, routes and headers are called in a configuration."""

import re
from typing import Annotated, Final, Literal, TypeAlias

from cryptography import x509
from pydantic import BeforeValidator, PlainValidator, WithJsonSchema

from gateway.config.addresses import host_name
from gateway.config.texts import describe, one_or_more, refused, schema, text_type

VERSIONS: Final[tuple[Literal["1.2"], Literal["1.3"]]] = ("1.2", "1.3")
NAME: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
SEGMENT: Final = re.compile(r"[A-Za-z0-9._~!$&'()+,;=:@-]+\Z|\{[A-Za-z][A-Za-z0-9_]{0,31}\}\Z")
MAX_TEXT: Final = 1024
MAX_EXPRESSION: Final = 4096


def _route_path(text: str) -> str:
    mend = "write `/v1/chat/completions`; `{name}` stands for one segment, a last `**` for any rest"
    segments = text[1:].split("/")
    if not text.startswith("/"):
        raise refused(f"`{text}` does not begin with a slash", mend)
    if segments[-1] in {"**", ""}:
        segments.pop()
    for segment in segments:
        if segment in {"", ".", ".."} or not SEGMENT.match(segment):
            raise refused(f"`{text}` has the segment `{segment}`, which no canonical path has", mend)
    return text


def _spiffe(text: str) -> str:
    if not re.match(r"spiffe://[a-z0-9._-]+(?:/[A-Za-z0-9._*-]+)+\Z", text):
        mend = (
            "write `spiffe://example.org/batch/*`: `*` stands for one segment, `**` for any rest, "
            "and neither for the domain"
        )
        raise refused(f"`{text}` is no pattern of SPIFFE IDs", mend)
    return text


def _spiffe_id(text: str) -> str:
    if "*" in text or not re.match(r"spiffe://[a-z0-9._-]+(?:/[A-Za-z0-9._-]+)+\Z", text):
        raise refused(f"`{text}` is no SPIFFE ID", "write `spiffe://example.org/backend/llama`")
    return text


def _model(text: str) -> str:
    if not re.match(r"[\x21-\x7e]{1,256}\Z", text):
        mend = "write the model's name; `*` stands for any characters but a slash"
        raise refused(f"`{text}` is no model name or pattern", mend)
    return text


def _subject(text: str) -> str:
    issuer, _, subject = text.partition("|")
    if not issuer or not subject:
        raise refused(f"`{text}` does not say whose subject it is", "write `https://idp.example.org|alice`")
    return text


def _certificate_name(text: str) -> str:
    if "=" not in text:
        return host_name(text)
    try:
        return x509.Name.from_rfc4514_string(text).rfc4514_string()
    except ValueError:
        mend = "write it as RFC 4514 does: `CN=batch,O=Example`, or a DNS name"
        raise refused(f"`{text}` is no distinguished name", mend) from None


def _header(text: str) -> bytes:
    if not re.match(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}\Z", text):
        raise refused(f"`{text}` is no header name", "write a name such as `x-request-id`")
    return text.lower().encode()


def _plain(text: str) -> str:
    if not text.strip() or len(text) > MAX_TEXT or not text.isprintable():
        raise refused(
            "expected a short text that can be printed", "write at least one character, on one line"
        )
    return text


def _expression(text: str) -> str:
    if not text.strip() or len(text) > MAX_EXPRESSION:
        raise refused(
            "expected a condition of 1 to 4096 characters", 'write CEL: `"request.max_tokens <= 1024"`'
        )
    return text


def _version(value: object) -> Literal["1.2", "1.3"]:
    for version in VERSIONS:
        if isinstance(value, str | float) and str(value) == version:
            return version
    raise refused(
        f"expected a TLS version, found {describe(value)}",
        'write `"1.2"` or `"1.3"`: older ones are broken',
    )


def _scalar(value: object) -> str | int | bool:
    if isinstance(value, str | int):
        return value
    raise refused(
        f"expected a text, a whole number or true/false, found {describe(value)}", "write `research`"
    )


Name: TypeAlias = Annotated[
    str, PlainValidator(text_type("a name", str, "chat-1", NAME)), schema("name", "chat", NAME)
]
Text: TypeAlias = Annotated[
    str, PlainValidator(text_type("a text", _plain, "example")), schema("text", "example")
]
Expression: TypeAlias = Annotated[
    str,
    PlainValidator(text_type("a condition", _expression, "request.max_tokens <= 1024")),
    schema("CEL condition", "request.max_tokens <= 1024"),
]
RoutePath: TypeAlias = Annotated[
    str,
    PlainValidator(text_type("a path", _route_path, "/v1/chat/completions")),
    schema("path pattern", "/v1/chat/completions"),
]
SpiffePattern: TypeAlias = Annotated[
    str,
    PlainValidator(text_type("a pattern of SPIFFE IDs", _spiffe, "spiffe://example.org/batch/*")),
    schema("SPIFFE ID pattern", "spiffe://example.org/batch/*"),
]
SpiffeId: TypeAlias = Annotated[
    str,
    PlainValidator(text_type("a SPIFFE ID", _spiffe_id, "spiffe://example.org/backend/llama")),
    schema("SPIFFE ID", "spiffe://example.org/backend/llama"),
]
ModelPattern: TypeAlias = Annotated[
    str,
    PlainValidator(text_type("a model pattern", _model, "llama-3-8b")),
    schema("model pattern", "llama-*"),
]
SubjectName: TypeAlias = Annotated[
    str,
    PlainValidator(text_type("a subject", _subject, "https://idp.example.org|alice")),
    schema("issuer and subject", "https://idp.example.org|alice"),
]
CertificateName: TypeAlias = Annotated[
    str,
    PlainValidator(text_type("a distinguished name or DNS name", _certificate_name, "CN=batch,O=Example")),
    schema("distinguished name or DNS name", "CN=batch,O=Example"),
]
HeaderName: TypeAlias = Annotated[
    bytes,
    PlainValidator(text_type("a header name", _header, "x-request-id")),
    schema("header name", "x-request-id"),
]
TlsVersion: TypeAlias = Annotated[
    Literal["1.2", "1.3"],
    PlainValidator(_version),
    WithJsonSchema({"title": "TLS version", "enum": ["1.2", "1.3"], "type": "string"}),
]
ClaimValues: TypeAlias = Annotated[
    tuple[
        Annotated[
            str | int | bool,
            PlainValidator(_scalar),
            WithJsonSchema({"title": "claim value", "type": ["string", "integer", "boolean"]}),
        ],
        ...,
    ],
    BeforeValidator(one_or_more),
]

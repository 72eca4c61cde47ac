"""The section `require.authentication` of a route: how strongly and how recently callers authenticated."""

import re
from typing import Annotated, TypeAlias

from pydantic import Field, PlainValidator

from gateway.config.quantities import Duration
from gateway.config.section import Section, setting
from gateway.config.texts import refused, schema, text_type


def _class(text: str) -> str:
    if not re.match(r"[\x21\x23-\x5b\x5d-\x7e]{1,256}\Z", text):
        mend = "write it as the issuer does: `urn:example:acr:mfa`; one per entry"
        raise refused(f"`{text}` is no authentication context class", mend)
    return text


def _method(text: str) -> str:
    if not re.match(r"[\x21\x23-\x5b\x5d-\x7e]{1,64}\Z", text):
        raise refused(f"`{text}` is no authentication method", "write `mfa`, `hwk` or another of RFC 8176")
    return text


ContextClass: TypeAlias = Annotated[
    str,
    PlainValidator(text_type("an authentication context class", _class, "urn:example:acr:mfa")),
    schema("authentication context class", "urn:example:acr:mfa"),
]
Method: TypeAlias = Annotated[
    str,
    PlainValidator(text_type("an authentication method", _method, "mfa")),
    schema("authentication method", "mfa"),
]


class AuthenticationRequirement(Section):
    """How the caller must have authenticated; all lines must be met. Challenges ask for it (RFC 9470)."""

    acr: tuple[ContextClass, ...] = setting(
        (),
        "Authentication context classes of which `acr` must be one, most wanted first. "
        "`urn:gateway:acr:two-proofs` is met by two proofs, whatever the token says.",
    )
    amr: tuple[Method, ...] = setting(
        (), "Methods that must all stand in `amr` (RFC 8176): `[mfa]`, `[hwk]`."
    )
    max_age: Duration | None = setting(
        None, "Longest time since the user authenticated, from `auth_time`; none: any."
    )
    proofs: Annotated[int, Field(ge=1, le=2)] = setting(
        1,
        "Independent proofs that a request must carry; 2: a client certificate, and a token bound to a key.",
    )

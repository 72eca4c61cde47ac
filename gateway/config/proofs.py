"""The section `identity.proofs`: which proofs of possession are accepted, and for how long (RFC 9449)."""

from typing import Annotated, Literal, TypeAlias

from pydantic import Field, PlainValidator, WithJsonSchema

from gateway.config.quantities import Duration, DurationOrZero
from gateway.config.section import Section, setting
from gateway.config.signing import Algorithm
from gateway.config.texts import describe, refused

EITHER = "either"
BINDINGS = ("certificate", "key")


def _binding(value: object) -> str:
    """Take a demand for a binding: `EITHER`, one of `BINDINGS`, or "" for none."""
    if isinstance(value, bool):
        return EITHER if value else ""
    if isinstance(value, str) and value in BINDINGS:
        return value
    raise refused(
        f"expected true, false, certificate or key, found {describe(value)}",
        "write `true` for a token that is bound to either",
    )


Binding: TypeAlias = Annotated[
    str,
    PlainValidator(_binding),
    WithJsonSchema({"title": "binding", "enum": [True, "certificate", "key", False]}),
]


class Proofs(Section):
    """What a proof of possession must be. Its URL must be at one of `server.origins`."""

    algorithms: Annotated[tuple[Algorithm, ...], Field(min_length=1)] = setting(
        ("ES256", "EdDSA", "Ed25519"),
        "Signature algorithms of proofs. Clients make a key for the purpose: RSA is for those that can do "
        "nothing else.",
    )
    max_age: Duration = setting("60s", "How old a proof may be, differences of clocks included; at most 5m.")
    ahead: DurationOrZero = setting("5s", "How far in the future a client's clock may be; at most 60s.")
    nonce: Literal["never", "required"] = setting(
        "never",
        "Whether a proof must carry a nonce that the gateway made: then none can be made in advance, at the "
        "price of one more round trip for a client that comes back after a pause.",
    )
    nonce_lifetime: Duration = setting("60s", "How long a nonce is good; at most 1h.")

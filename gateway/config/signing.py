"""Names of signature algorithms in the configuration: asymmetric ones, and why no others."""

from typing import Annotated, TypeAlias

from pydantic import PlainValidator, WithJsonSchema

from gateway.config.texts import describe, refused

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

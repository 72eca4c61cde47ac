"""What one token issuer is trusted for. Cannot express an issuer without an audience or algorithms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, final

from gateway.stages.identify.signature import ALGORITHMS

if TYPE_CHECKING:
    from gateway.core.ports import KeySet

MAX_SKEW: Final = 60.0  # seconds; more hides a broken clock
ACCESS_TOKEN: Final = "at+jwt"  # noqa: S105 - a media type (RFC 9068, section 2.1)


def media_type(typ: str) -> str:
    """Normalise a `typ`: case does not count, and `application/` may be left out (RFC 7515, 4.1.9)."""
    typ = typ.lower()
    short = typ.removeprefix("application/")
    return typ if "/" in short else short


@final
@dataclass(frozen=True, slots=True)
class Issuer:
    """One trusted issuer.

    Args:
        issuer: `iss`, compared octet by octet.
        keys: Its public keys, and nobody else's.
        audience: `aud` of tokens meant for this gateway.
        algorithms: Accepted `alg` values; asymmetric only.
        token_types: Accepted `typ` values.
        max_lifetime: Largest `exp - iat`, seconds.
        skew: Tolerated difference between the clocks, seconds; at most 60.
        groups_claim: Claim that lists groups; a dotted path reaches into objects.
        roles_claim: Claim that lists roles, or None: roles then come from the configuration alone.

    Raises:
        ValueError: A value that would accept what nobody meant to accept.
    """

    issuer: str
    keys: KeySet
    audience: str
    algorithms: frozenset[str]
    token_types: frozenset[str] = frozenset({ACCESS_TOKEN})
    max_lifetime: float = 3600.0
    skew: float = 30.0
    groups_claim: str = "groups"
    roles_claim: str | None = None

    def __post_init__(self) -> None:
        # "issuer|subject" is a caller's name: a bar in the issuer would make two callers one.
        if not self.issuer or "|" in self.issuer or self.issuer in {"anonymous", "key"}:
            raise ValueError("issuer must be a name without '|'")
        if not self.audience:
            raise ValueError("audience must not be empty")
        if not self.algorithms or not self.algorithms <= ALGORITHMS.keys():
            raise ValueError(f"algorithms must be some of {', '.join(sorted(ALGORITHMS))}")
        if not self.token_types or "" in self.token_types:
            raise ValueError("token_types must name at least one media type")
        if not 0.0 <= self.skew <= MAX_SKEW:
            raise ValueError(f"skew must be between 0 and {MAX_SKEW:g} seconds")
        if not self.max_lifetime > 0.0:
            raise ValueError("max_lifetime must be positive")
        object.__setattr__(self, "token_types", frozenset(map(media_type, self.token_types)))

"""Maps what was proven about a caller to the roles of the configuration.

A role is had if any of its conditions holds. Runs once per cached identity, not per request.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, final

Scalar = str | int | bool

NO_NAMES: Final[frozenset[str]] = frozenset()


def compile_glob(pattern: str) -> re.Pattern[str]:
    """Compile a SPIFFE ID pattern: `*` stands for characters of one segment, `**` for any rest.

    Raises:
        ValueError: Not a SPIFFE ID pattern, or a wildcard in the trust domain: roots of trust are
            named, never guessed.
    """
    domain, _, path = pattern.removeprefix("spiffe://").partition("/")
    if not pattern.startswith("spiffe://") or not domain or "*" in domain or not path:
        raise ValueError("SPIFFE pattern must look like spiffe://trust.domain/path")
    expression = "".join(
        {"*": "[^/]*", "**": ".+"}.get(part, re.escape(part)) for part in re.split(r"(\*\*|\*)", pattern)
    )
    return re.compile(expression)


@final
@dataclass(frozen=True, slots=True)
class RoleRule:
    """Who has one role: whoever meets any of these conditions.

    Args:
        name: The role.
        groups: Group names in the token.
        claims: Claim name (or dotted path) to accepted values; a list claim needs one of them. Types
            count: `true` is neither 1 nor "true".
        spiffe: SPIFFE ID patterns, see `compile_glob`.
        subjects: `issuer|subject` of the token.
        clients: OAuth clients, alone or as `issuer|client`.
        certificates: Distinguished names (RFC 4514) or DNS names of the client certificate.
        roles_from_token: Values of the issuer's roles claim.

    Raises:
        ValueError: A SPIFFE pattern is none.
    """

    name: str
    groups: frozenset[str] = NO_NAMES
    claims: Mapping[str, tuple[Scalar, ...]] = field(default_factory=dict)
    spiffe: tuple[str, ...] = ()
    subjects: frozenset[str] = NO_NAMES
    clients: frozenset[str] = NO_NAMES
    certificates: frozenset[str] = NO_NAMES
    roles_from_token: frozenset[str] = NO_NAMES
    patterns: tuple[re.Pattern[str], ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "patterns", tuple(compile_glob(glob) for glob in self.spiffe))


@final
@dataclass(frozen=True, slots=True)
class Facts:
    """What is proven about a caller, as role rules ask for it; see `RoleRule`."""

    groups: frozenset[str] = NO_NAMES
    claims: Mapping[str, object] = field(default_factory=dict)
    subject: str | None = None
    clients: frozenset[str] = NO_NAMES
    token_roles: frozenset[str] = NO_NAMES
    spiffe_id: str | None = None
    certificates: frozenset[str] = NO_NAMES


def find_claim(claims: Mapping[str, object], name: str) -> object:
    """Return a claim by its name or, if there is none, by its dotted path; None if absent."""
    if name in claims:
        return claims[name]
    value: object = claims
    for step in name.split("."):
        if not isinstance(value, Mapping) or step not in value:
            return None
        value = value[step]
    return value


def _claim_holds(value: object, accepted: tuple[Scalar, ...]) -> bool:
    held = value if isinstance(value, list) else [value]
    return any(type(one) is type(wanted) and one == wanted for one in held for wanted in accepted)


def _holds(rule: RoleRule, facts: Facts) -> bool:
    return (
        not rule.groups.isdisjoint(facts.groups)
        or not rule.clients.isdisjoint(facts.clients)
        or not rule.certificates.isdisjoint(facts.certificates)
        or not rule.roles_from_token.isdisjoint(facts.token_roles)
        or facts.subject in rule.subjects
        or (
            facts.spiffe_id is not None
            and any(pattern.fullmatch(facts.spiffe_id) is not None for pattern in rule.patterns)
        )
        or any(
            _claim_holds(find_claim(facts.claims, name), accepted) for name, accepted in rule.claims.items()
        )
    )


@final
class RoleMap:
    """All roles of the configuration.

    Args:
        rules: The roles; a name may stand more than once.
    """

    __slots__ = ("_rules",)

    def __init__(self, rules: Iterable[RoleRule] = ()) -> None:
        self._rules = tuple(rules)

    def roles(self, facts: Facts) -> frozenset[str]:
        """Return the names of all roles that the facts prove."""
        return frozenset(rule.name for rule in self._rules if _holds(rule, facts))

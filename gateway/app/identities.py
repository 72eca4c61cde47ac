"""Compiles who is believed: issuers with their keys, roles, anonymous callers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from gateway.credentials.jwks import FileKeySet
from gateway.credentials.remote import UrlKeySet
from gateway.stages.identify import Identification, Issuer, RoleMap, RoleRule

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gateway.app.findings import Findings
    from gateway.config.schema import Settings
    from gateway.config.trust import Issuer as IssuerSettings
    from gateway.config.trust import Role
    from gateway.core.ports import Clock, Revocations

KeySets = list[FileKeySet | UrlKeySet]


def compile_identification(
    settings: Settings,
    clock: Clock,
    findings: Findings,
    report: Callable[[str, str], None],
    revocations: Revocations,
) -> tuple[Identification, KeySets]:
    """Compile the section `identity` and the roles.

    Args:
        settings: The settings.
        clock: Time.
        findings: Takes what is wrong.
        report: Told issuer and reason when its keys cannot be fetched.
        revocations: Who is no longer believed.

    Returns:
        How callers are identified, and the key sets to start.
    """
    key_sets: KeySets = []
    issuers: list[Issuer] = []
    for index, issuer in enumerate(settings.identity.issuers):
        place = ("identity", "issuers", index)
        with findings.at((*place, "jwks"), "give a readable JWK set with usable public keys"):
            keys = _key_set(issuer, clock, report)
            key_sets.append(keys)
            with findings.at(place, "correct this issuer"):
                issuers.append(_issuer(issuer, keys))
    anonymous = settings.identity.anonymous
    identification = Identification(
        issuers,
        roles=RoleMap(_role(name, role) for name, role in settings.roles.items()),
        anonymous_roles=None if anonymous is None else frozenset(anonymous.roles),
        revocations=revocations,
    )
    return identification, key_sets


def _key_set(
    issuer: IssuerSettings, clock: Clock, report: Callable[[str, str], None]
) -> FileKeySet | UrlKeySet:
    source = issuer.jwks
    if source.scheme == "file":
        return FileKeySet(Path(source.path), clock)
    name = issuer.issuer
    return UrlKeySet(source.text, clock, ca=issuer.jwks_ca, on_failure=lambda why: report(name, why))


def _issuer(issuer: IssuerSettings, keys: FileKeySet | UrlKeySet) -> Issuer:
    return Issuer(
        issuer=issuer.issuer,
        keys=keys,
        audience=issuer.audience,
        algorithms=frozenset(issuer.algorithms),
        token_types=frozenset(issuer.token_types),
        max_lifetime=issuer.max_lifetime,
        skew=issuer.skew,
        groups_claim=issuer.groups_claim,
        roles_claim=issuer.roles_claim,
    )


def _role(name: str, role: Role) -> RoleRule:
    claims: Mapping[str, tuple[str | int | bool, ...]] = dict(role.claims)
    return RoleRule(
        name,
        groups=frozenset(role.groups),
        claims=claims,
        spiffe=role.spiffe,
        subjects=frozenset(role.subjects),
        clients=frozenset(role.clients),
        certificates=frozenset(role.certificates),
        roles_from_token=frozenset(role.roles_from_token),
    )

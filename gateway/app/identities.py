"""Compiles who is believed: issuers with their keys, roles, anonymous callers."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.credentials.discovery import Discovery
from gateway.credentials.fetch import Fetcher
from gateway.credentials.jwks import FILE_INTERVAL, FileKeySet
from gateway.credentials.remote import Endpoint, UrlKeySet
from gateway.stages.identify import Identification, Issuer, RoleMap, RoleRule

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from gateway.app.findings import Findings
    from gateway.config.schema import Settings
    from gateway.config.trust import Issuer as IssuerSettings
    from gateway.config.trust import Role
    from gateway.core.ports import Clock
    from gateway.credentials.key_news import KeyNews
    from gateway.stages.identify import Domain

KeySets = list[FileKeySet | UrlKeySet]


def compile_identification(
    settings: Settings,
    clock: Clock,
    findings: Findings,
    report: Callable[[str, KeyNews], None],
    domains: Iterable[Domain] = (),
) -> tuple[Identification, KeySets]:
    """Compile the section `identity` and the roles.

    Args:
        settings: The settings.
        clock: Time.
        findings: Takes what is wrong.
        report: Told an issuer, and what happened to its keys.
        domains: Trust domains whose JWT-SVIDs are accepted.

    Returns:
        How callers are identified, and the key sets to start.
    """
    key_sets: KeySets = []
    issuers: list[Issuer] = []
    for index, issuer in enumerate(settings.identity.issuers):
        place = ("identity", "issuers", index)
        key = "issuer" if issuer.jwks is None else "jwks"
        with findings.at((*place, key), "give a readable JWK set with usable public keys"):
            keys = _key_set(issuer, clock, report)
            key_sets.append(keys)
            with findings.at(place, "correct this issuer"):
                issuers.append(_issuer(issuer, keys))
    anonymous = settings.identity.anonymous
    identification = Identification(
        issuers,
        domains=domains,
        roles=RoleMap(_role(name, role) for name, role in settings.roles.items()),
        anonymous_roles=None if anonymous is None else frozenset(anonymous.roles),
    )
    return identification, key_sets


def _key_set(
    issuer: IssuerSettings, clock: Clock, report: Callable[[str, KeyNews], None]
) -> FileKeySet | UrlKeySet:
    tell = partial(report, issuer.issuer)
    if issuer.jwks is not None and issuer.jwks.scheme == "file":
        interval = min(issuer.refresh or FILE_INTERVAL, FILE_INTERVAL)
        return FileKeySet(Path(issuer.jwks.path), clock, interval=interval, tell=tell)
    fetcher = Fetcher(clock, networks=issuer.networks, ca=issuer.jwks_ca)
    source: Endpoint | Discovery
    if issuer.jwks is None:
        origins = [(each.scheme, each.host, each.port) for each in issuer.jwks_origins]
        hard_age = issuer.keys_hard_age
        source = Discovery(issuer.issuer, fetcher, clock, origins=origins, hard_age=hard_age)
    else:
        source = Endpoint(issuer.jwks.text, fetcher)
    return UrlKeySet(source, clock, refresh=issuer.refresh, hard_age=issuer.keys_hard_age, tell=tell)


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

"""Compiles who is believed: issuers with their keys, proofs of possession, roles, anonymous callers."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.app.findings import RANDOM_MEND
from gateway.app.opaque import compile_introspection, open_keys, read_pepper
from gateway.credentials.discovery import Discovery
from gateway.credentials.fetch import Fetcher
from gateway.credentials.jwk import parse_key
from gateway.credentials.jwks import FILE_INTERVAL, FileKeySet
from gateway.credentials.remote import Endpoint, UrlKeySet
from gateway.stages.identify import (
    Identification,
    Issuer,
    OpaqueIssuer,
    Possession,
    ProofRules,
    RoleMap,
    RoleRule,
)
from gateway.stages.identify.nonce import Nonces

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from gateway.app.findings import Findings
    from gateway.config.schema import Settings
    from gateway.config.trust import Issuer as IssuerSettings
    from gateway.config.trust import Role
    from gateway.core.ports import Clock, Revocations
    from gateway.credentials.gateway_keys import KeyFile
    from gateway.credentials.introspection import IntrospectionClient
    from gateway.credentials.key_news import KeyNews
    from gateway.stages.identify import Domain

KeySets = list["FileKeySet | UrlKeySet | KeyFile | IntrospectionClient"]  # all that is started and stopped


def compile_identification(
    settings: Settings,
    directory: Path,
    clock: Clock,
    secret: bytes,
    findings: Findings,
    report: Callable[[str, KeyNews], None],
    revocations: Revocations,
    domains: Iterable[Domain] = (),
) -> tuple[Identification, KeySets]:
    """Compile the section `identity` and the roles.

    Args:
        settings: The settings.
        directory: Directory of the configuration.
        clock: Time.
        secret: Known to every gateway of the fleet: key of the nonces.
        findings: Takes what is wrong.
        report: Told an issuer, and what happened to its keys.
        revocations: Who is no longer believed.
        domains: Trust domains whose JWT-SVIDs are accepted.

    Returns:
        How callers are identified, and the key sets to start.
    """
    key_sets: KeySets = []
    issuers: list[Issuer] = []
    opaque: list[OpaqueIssuer] = []
    for index, issuer in enumerate(settings.identity.issuers):
        place = ("identity", "issuers", index)
        key = "issuer" if issuer.jwks is None else "jwks"
        with findings.at((*place, key), "give a readable JWK set with usable public keys"):
            keys = _key_set(issuer, clock, report)
            key_sets.append(keys)
            with findings.at(place, "correct this issuer"):
                issuers.append(_issuer(issuer, keys))
                asked = issuer.introspection
                if asked is not None:
                    with findings.at((*place, "introspection"), "correct the files of this section"):
                        source = keys.source if isinstance(keys, UrlKeySet) else None
                        client = compile_introspection(issuer, asked, source, directory, clock)
                        key_sets.append(client)
                        prefix = (asked.token_prefix or "").encode()
                        opaque.append(OpaqueIssuer(issuers[-1], client, prefix, asked.cache))
    gateway_keys = _gateway_keys(settings, directory, clock, findings)
    if gateway_keys is not None:
        key_sets.append(gateway_keys)
    anonymous = settings.identity.anonymous
    identification = Identification(
        issuers,
        domains=domains,
        opaque=opaque,
        keys=gateway_keys,
        roles=RoleMap(_role(name, role) for name, role in settings.roles.items()),
        possession=_possession(settings, secret),
        anonymous_roles=None if anonymous is None else frozenset(anonymous.roles),
        revocations=revocations,
    )
    return identification, key_sets


def _gateway_keys(settings: Settings, directory: Path, clock: Clock, findings: Findings) -> KeyFile | None:
    keys, place = settings.identity.keys, ("identity", "keys")
    found: KeyFile | None = None
    if keys is not None:
        with findings.at((*place, "pepper"), RANDOM_MEND):
            blind = read_pepper(keys, directory)
            with findings.at((*place, "file"), "correct it with `gateway keys`, or restore it"):
                found = open_keys(keys, blind, settings.roles, clock)
    return found


def _possession(settings: Settings, secret: bytes) -> Possession | None:
    """Compile the proofs of possession; None where no origin says which URLs they are made for."""
    origins = tuple(origin.text for origin in settings.server.origins)
    if not origins:
        return None
    proofs = settings.identity.proofs
    rules = ProofRules(
        origins,
        frozenset(proofs.algorithms),
        max_age=proofs.max_age,
        ahead=proofs.ahead,
        nonces=Nonces(secret, proofs.nonce_lifetime) if proofs.nonce == "required" else None,
    )
    return Possession(rules, _read_key)


def _read_key(jwk: Mapping[str, object]) -> tuple[object, frozenset[str]] | None:
    found = parse_key(jwk)
    return None if found is None else (found.key, found.algorithms)


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

"""Cross-checks: what no value alone can tell. Each reads settings and files, and returns findings.

A check never changes anything, never opens a socket, and never stops at the first finding. For a
broken configuration it sees the sound part; what it says about the rest is left out.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from gateway.config.checks import (
    audit,
    bindings,
    certificates,
    domains,
    exchanges,
    exposure,
    identities,
    keys,
    limits,
    metadata,
    opaque,
    revocations,
    routes,
    signals,
)
from gateway.config.checks.findings import Finding, Subject

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gateway.config.document import Tree
    from gateway.config.partial import Partial
    from gateway.config.source import Path

CHECKS: Final[tuple[Callable[[Subject], Iterable[Finding]], ...]] = (
    exposure.check_server,
    exposure.check_admin,
    exposure.check_state,
    exposure.check_backends,
    exposure.check_traces,
    identities.check_issuers,
    keys.check_keys,
    identities.check_proofs,
    identities.check_roles,
    identities.check_anonymous,
    opaque.check_introspection,
    opaque.check_gateway_keys,
    signals.check_signals,
    routes.check_names,
    routes.check_matches,
    routes.check_requirements,
    routes.check_rules,
    routes.check_risk,
    limits.check_limits,
    limits.check_shared,
    limits.check_prices,
    metadata.check_metadata,
    bindings.check_bindings,
    exchanges.check_exchanges,
    revocations.check_staleness,
    revocations.check_secret,
    revocations.check_journal,
    revocations.check_continuous,
    audit.check_audit,
    certificates.check_files,
    domains.check_trust_domains,
)


def check(partial: Partial, tree: Tree, now: float) -> tuple[Finding, ...]:
    """Run every check.

    Args:
        partial: The settings, or the sound part of them.
        tree: The content of the file: names of broken entries are names nevertheless.
        now: Seconds since the epoch.

    Returns:
        All findings that rest on nothing that was cut out, with their places in the file.
    """
    settings = partial.settings
    if settings is None:
        return ()
    anonymous = settings.identity.anonymous
    roles = _names(tree, "roles") | (frozenset(anonymous.roles) if anonymous else frozenset())
    subject = Subject(settings, now, _names(tree, "backends"), roles)
    placed = (_place(finding, partial) for each in CHECKS for finding in each(subject))
    return tuple(finding for finding in placed if _is_sound(finding, partial.cut))


def _place(finding: Finding, partial: Partial) -> Finding:
    reads = tuple(partial.origin(path) for path in finding.reads)
    return replace(finding, path=partial.origin(finding.path), reads=reads)


def _names(tree: Tree, section: str) -> frozenset[str]:
    names = tree.get(section) if isinstance(tree, dict) else None
    return frozenset(names) if isinstance(names, dict) else frozenset()


def _is_sound(finding: Finding, cut: frozenset[Path]) -> bool:
    places = (finding.path, *finding.reads)
    return not any(_is_prefix(place, path) or _is_prefix(path, place) for place in places for path in cut)


def _is_prefix(short: Path, long: Path) -> bool:
    return long[: len(short)] == short

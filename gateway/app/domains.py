"""Compiles trust domains: their bundles, and what they are trusted for."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.app.named import digest, named
from gateway.credentials.bundles import parse_bundle
from gateway.credentials.fetch import Fetcher
from gateway.credentials.jwks import FILE_INTERVAL
from gateway.credentials.trust_domains import BundleEndpoint, BundleFile, TrustDomain
from gateway.stages.identify import Domain

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.app.findings import Findings
    from gateway.app.parts import Parts
    from gateway.config.schema import Settings
    from gateway.config.trust_domains import TrustDomain as DomainSettings
    from gateway.core.ports import Clock
    from gateway.credentials.key_news import KeyNews


def compile_domains(
    settings: Settings, clock: Clock, findings: Findings, report: Callable[[str, KeyNews], None], parts: Parts
) -> tuple[dict[str, TrustDomain], list[Domain]]:
    """Compile the section `identity.trust_domains`.

    Args:
        settings: The settings.
        clock: Time.
        findings: Takes what is wrong.
        report: Told a trust domain, and what happened to its bundle.
        parts: What is taken over from the configuration that runs.

    Returns:
        Trust domains by name, to be started; and those of which JWT-SVIDs are accepted.
    """
    domains: dict[str, TrustDomain] = {}
    accepted: list[Domain] = []
    for name, section in settings.identity.trust_domains.items():
        place = ("identity", "trust_domains", name)
        with findings.at((*place, "bundle"), "give a readable SPIFFE bundle, or authorities in PEM form"):
            watch = min(FILE_INTERVAL, settings.server.watch)
            tell = partial(report, f"spiffe://{name}")
            origin = (
                *(section.bundle, section.bundle_ca, digest(named(section.bundle_ca))),
                *(section.networks, section.refresh, section.hard_age, watch),
            )
            make = partial(_domain, name, section, clock, watch, tell)
            domain = domains[name] = parts.take("domain", name, origin, make)
            origins = settings.server.origins
            audience = section.audience or (origins[0].text if origins else None)
            if audience is not None:
                with findings.at(place, "correct this trust domain"):
                    accepted.append(Domain(name, domain, audience, section.max_lifetime, section.skew))
    return domains, accepted


def _domain(
    name: str, section: DomainSettings, clock: Clock, watch: float, tell: Callable[[KeyNews], None]
) -> TrustDomain:
    if section.bundle.scheme == "file":
        file = BundleFile(Path(section.bundle.path))
        bundle = parse_bundle(file.load())
        return TrustDomain(name, file, clock, bundle=bundle, refresh=section.refresh or watch, tell=tell)
    endpoint = BundleEndpoint(
        section.bundle.text, Fetcher(clock, networks=section.networks, ca=section.bundle_ca)
    )
    return TrustDomain(name, endpoint, clock, refresh=section.refresh, hard_age=section.hard_age, tell=tell)

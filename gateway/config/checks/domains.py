"""Trust domains: their bundles cannot be replaced on the way, and somebody can prove an identity of theirs.

Resolves no name and parses no bundle: the first is done when it is connected to, the second when the
configuration is compiled.
"""

from __future__ import annotations

from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Final

from gateway.config.checks.findings import Finding
from gateway.config.checks.material import Files
from gateway.config.checks.servers import check_authorities, check_networks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.config.checks.findings import Subject
    from gateway.config.source import Path
    from gateway.config.trust_domains import TrustDomain

FASTEST: Final = 1.0  # seconds between two fetches of a bundle
SLOWEST: Final = 3600.0
LONGEST_LIFE: Final = 7 * 86400.0
MAX_SKEW: Final = 60.0


def check_trust_domains(subject: Subject) -> Iterator[Finding]:
    """Check every trust domain."""
    settings = subject.settings
    files = Files(subject.now)
    tls = settings.server.tls
    asks = tls is not None and tls.client_certificate != "none"
    for name, domain in settings.identity.trust_domains.items():
        path: Path = ("identity", "trust_domains", name)
        yield from _check_source(path, domain, files)
        yield from _check_times(path, domain)
        if not asks and domain.audience is None and not settings.server.origins:
            message = f"nobody can prove an identity of `{name}`: no certificates, no audience for tokens"
            mend = "add `audience:`, or ask for client certificates in `server.tls`"
            yield Finding(path, message, mend, (("server", "tls"), ("server", "origins")), is_key=True)
        if domain.revocation_list is not None:
            yield from files.revocation(
                (*path, "revocation_list"), domain.revocation_list, [], domain.revocation_grace
            )
        elif asks and tls is not None and tls.revocation_list is not None:
            message = (
                f"certificates of `{name}` are not on `server.tls.revocation_list`: no list revokes them"
            )
            mend = "add `revocation_list:` here; the other is for `client_ca` alone"
            listed = ("server", "tls", "revocation_list")
            yield Finding(path, message, mend, (listed,), is_warning=True, is_key=True)
        if domain.revocation_list is None and domain.revocation_grace:
            message = "`revocation_grace` has no effect without `revocation_list`"
            yield Finding((*path, "revocation_grace"), message, "remove it", is_key=True)


def _check_source(path: Path, domain: TrustDomain, files: Files) -> Iterator[Finding]:
    source, place = domain.bundle, (*path, "bundle")
    yield from files.authorities((*path, "bundle_ca"), domain.bundle_ca)
    if source.scheme == "file":
        how = "for development, `gateway certs bundle` makes certs/bundle.json"
        yield from files.readable(place, FilePath(source.path), how)
    elif source.scheme == "http" and not source.is_local:
        message = "whoever sits on the network path could replace this bundle"
        yield Finding(place, message, "write `https://`, or `file:` and a path")
    yield from check_networks((*path, "networks"), domain.networks, {place: source})
    yield from check_authorities((*path, "bundle_ca"), domain.bundle_ca, {place: source})


def _check_times(path: Path, domain: TrustDomain) -> Iterator[Finding]:
    if domain.refresh is not None and not FASTEST <= domain.refresh <= SLOWEST:
        message = "a bundle is looked at once a second at most, and once an hour at least"
        yield Finding((*path, "refresh"), message, "write a time from `1s` to `1h`")
    if domain.skew > MAX_SKEW:
        message = "clocks this far apart make expired tokens valid"
        yield Finding((*path, "skew"), message, "write at most `60s`, and synchronise the clocks")
    if domain.bundle.scheme == "file":
        if "hard_age" in domain.model_fields_set:
            message = "`hard_age` has no effect: a file is not fetched"
            yield Finding((*path, "hard_age"), message, "remove it", ((*path, "bundle"),), is_key=True)
    elif domain.hard_age > LONGEST_LIFE:
        message = "a bundle that nobody has confirmed for more than a week proves nothing"
        yield Finding((*path, "hard_age"), message, "write at most `7d`")
    elif domain.refresh is not None and domain.hard_age < 2 * domain.refresh:
        message = "the bundle would die between two fetches"
        yield Finding((*path, "hard_age"), message, "write twice the time of `refresh` at least")

"""Compiles what backends are told of who asks: the gateway's assertions, bound to its own certificates."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.credentials.assertions import SignedAssertions
from gateway.credentials.certificates import leaf_fingerprint
from gateway.credentials.files import read_bounded

if TYPE_CHECKING:
    from gateway.app.findings import Findings
    from gateway.config.schema import Settings


def compile_onward(settings: Settings, findings: Findings) -> SignedAssertions:
    """Compile the section `assertions`, and what backends say about it.

    Args:
        settings: The settings.
        findings: Takes what is wrong with a certificate.

    Raises:
        OSError: The private key cannot be read.
        ValueError: It is no key that can sign.
    """
    bindings: dict[str, str] = {}
    audiences: dict[str, str] = {}
    for name, backend in settings.backends.items():
        if backend.audience is not None:
            audiences[name] = backend.audience
        if backend.tls is not None and backend.tls.certificate is not None:
            with findings.at(("backends", name, "tls", "certificate"), "give a certificate in PEM form"):
                bindings[name] = leaf_fingerprint(read_bounded(backend.tls.certificate))
    assertions = settings.assertions
    return SignedAssertions.from_file(
        assertions.private_key,
        assertions.issuer,
        lifetime=assertions.lifetime,
        audiences=audiences,
        bindings=bindings,
        is_single_use=assertions.single_use,
    )

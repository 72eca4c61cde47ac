"""Whether what was started for a new configuration can be used: asked last, before it decides.

A gateway that starts without an issuer's keys refuses its tokens until they come. One that runs does not give
up what works for what does not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gateway.app.findings import Findings

if TYPE_CHECKING:
    from gateway.app.background import Part
    from gateway.app.compilation import Compilation
    from gateway.config.load import Loaded

MEND: Final = "see the line above in the log for why; mend it, or reload again when the server is back"


def check_warm(compilation: Compilation, started: list[Part], loaded: Loaded) -> None:
    """Find key sets and bundles that were started and have nothing.

    Args:
        compilation: The new configuration.
        started: What was started for it; what ran before may be as it is.
        loaded: For the places.

    Raises:
        ConfigurationError: With everything that was found.
    """
    findings = Findings(loaded)
    new = {id(part) for part in started}
    identity = loaded.settings.identity
    for index, issuer in enumerate(identity.issuers):
        keys = compilation.identification.issuers[issuer.issuer].keys
        if id(keys) in new and not keys.is_usable:
            key = "issuer" if issuer.jwks is None else "jwks"
            findings.add(
                ("identity", "issuers", index, key), f"the keys of {issuer.issuer} cannot be fetched", MEND
            )
    for name, domain in compilation.domains.items():
        if id(domain) in new and not domain.is_usable:
            findings.add(
                ("identity", "trust_domains", name, "bundle"), f"the bundle of {name} cannot be fetched", MEND
            )
    for index, feed in enumerate(compilation.feeds):
        if id(feed) in new and not feed.keys.is_usable:
            issued = feed.settings.issuer
            findings.add(
                ("identity", "signals", index, "jwks"), f"the keys of {issued} cannot be fetched", MEND
            )
    findings.conclude()

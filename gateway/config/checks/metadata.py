"""Whether what the gateway says of itself is true, and reaches anybody."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.config.checks.findings import Finding
from gateway.core.route import WELL_KNOWN_METADATA

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.config.checks.findings import Subject

READING = frozenset({"GET", "HEAD"})


def check_metadata(subject: Subject) -> Iterator[Finding]:
    """Scopes that are published are required somewhere, and no route hides behind the gateway's own path."""
    settings = subject.settings
    server, path = settings.server, ("server", "metadata")
    if not server.origins:
        if "metadata" in server.model_fields_set:
            message = "nothing is published: the gateway does not know by which origin clients reach it"
            mend = "add `origins: [https://gateway.example.org]` to `server`, or remove it"
            yield Finding(path, message, mend, (("server", "origins"),), is_key=True)
        return
    used = {scope for route in settings.routes if route.require.token for scope in route.require.token.scopes}
    for position, scope in enumerate(server.metadata.scopes):
        if scope not in used:
            message = f"no route requires the scope `{scope}`: clients would ask for it in vain"
            yield Finding((*path, "scopes", position), message, "remove it", (("routes",),))
    for index, route in enumerate(settings.routes):
        if route.match.path == WELL_KNOWN_METADATA and READING.intersection(route.match.methods):
            message = "this path is answered by the gateway itself"
            mend = "give the route another path"
            yield Finding(("routes", index, "match", "path"), message, mend, (("server", "origins"),))

"""Whether a route reaches what inference servers are managed by, and says so."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.config.checks.findings import Finding
from gateway.core.dialects import WITHOUT_MANAGEMENT
from gateway.core.management import reached

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.config.checks.findings import Subject


def check_management(subject: Subject) -> Iterator[Finding]:
    """No route reaches a management surface that it does not name, and none names what it does not reach."""
    for index, route in enumerate(subject.settings.routes):
        path = ("routes", index)
        surfaces = reached(route.match.path)
        is_literal = "{" not in route.match.path and "*" not in route.match.path
        named = route.management
        for position, surface in enumerate(named or ()):
            if surface not in surfaces:
                message = f"{route.match.path} does not reach the management surface `{surface}`"
                yield Finding((*path, "management", position), message, "remove it")
        if named is None and surfaces and route.dialect not in WITHOUT_MANAGEMENT:
            message = f"{route.match.path} reaches what servers are managed by: {', '.join(surfaces)}"
            first = next(iter(surfaces))
            mend = f"write a narrower path, or `management: []` to keep it closed, or `management: [{first}]`"
            yield Finding((*path, "match"), message, mend, is_key=True)
        elif is_literal and (shut := [name for name in surfaces if name not in (named or ())]):
            name = shut[0]
            message = f"{route.match.path} is nothing but the management surface `{name}`, which is closed"
            yield Finding(
                (*path, "match"), message, f"remove the route, or write `management: [{name}]`", is_key=True
            )

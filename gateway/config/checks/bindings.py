"""Values that only make sense together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gateway.config.checks.findings import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.config.checks.findings import Subject
    from gateway.config.source import Path
    from gateway.config.upstream import BackendTls, StateTls

SHORTEST_ASSERTION: Final = 2.0  # seconds


def check_bindings(subject: Subject) -> Iterator[Finding]:
    """Certificates come with their keys, unused parts are pointed out, bounds fit each other."""
    settings = subject.settings
    for name, backend in settings.backends.items():
        if backend.tls is not None:
            yield from _pair(("backends", name, "tls"), backend.tls)
        if all(route.backend != name for route in settings.routes):
            message = f"no route leads to the backend `{name}`"
            yield Finding(
                ("backends", name), message, "remove it", (("routes",),), is_warning=True, is_key=True
            )
    if settings.state.tls is not None:
        yield from _pair(("state", "tls"), settings.state.tls)
    state = settings.state
    if state.on_failure == "local" and state.url.scheme != "memory" and state.processes is None:
        message = "each gateway must know its share of the limits: how many of them are there?"
        yield Finding(("state", "on_failure"), message, "add `processes: 2`, or as many as there are")
    for index, route in enumerate(settings.routes):
        if route.bounds.body > settings.server.bounds.body_memory:
            message = "one body would be larger than the memory for all bodies together"
            mend = "write a smaller size, or raise `server.bounds.body_memory`"
            yield Finding(("routes", index, "bounds", "body"), message, mend, (("server", "bounds"),))
    if settings.assertions.lifetime < SHORTEST_ASSERTION:
        message = "dates in assertions are whole seconds: this is too short to be of use"
        yield Finding(("assertions", "lifetime"), message, "write at least `2s`")
    bounds = settings.server.bounds
    is_given = "connections_per_address" in bounds.model_fields_set
    if is_given and bounds.connections_per_address > bounds.connections:
        message = "one address may have more connections than all together"
        path = ("server", "bounds", "connections_per_address")
        yield Finding(path, message, "write at most the number of `connections`", (("server", "bounds"),))


def _pair(path: Path, tls: BackendTls | StateTls) -> Iterator[Finding]:
    if (tls.certificate is None) == (tls.private_key is None):
        return
    given, missing = (
        ("certificate", "private_key") if tls.private_key is None else ("private_key", "certificate")
    )
    yield Finding(
        (*path, given),
        f"`{given}` without `{missing}`",
        f"add `{missing}:`, or remove `{given}:`",
        is_key=True,
    )

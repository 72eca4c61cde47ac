"""What revocations need to hold everywhere: a bound that can be met, a secret, a file of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gateway.config.checks.findings import Finding
from gateway.config.checks.material import Files

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.config.checks.findings import Subject

LEAST_STALENESS: Final = 1.0  # seconds: below it, an ordinary pause of a network would refuse everybody
LEAST_EVERY: Final = 0.25  # seconds between two looks at what runs


def check_staleness(subject: Subject) -> Iterator[Finding]:
    """The bound leaves room for a pause, and is said where it overrules another setting."""
    settings = subject.settings
    path = ("revocations", "max_staleness")
    if settings.revocations.max_staleness < LEAST_STALENESS:
        message = "this is shorter than an ordinary pause of a network, and would refuse everybody"
        yield Finding(path, message, "write at least `1s`")
    if settings.state.url.scheme != "memory" and settings.state.on_failure == "local":
        message = (
            "without Redis this goes on for `revocations.max_staleness` "
            f"({settings.revocations.max_staleness:g} s) and no longer"
        )
        mend = "set `revocations.max_staleness` to how long you would rather believe the revoked than stop"
        yield Finding(("state", "on_failure"), message, mend, (path, ("state", "url")), is_warning=True)


def check_secret(subject: Subject) -> Iterator[Finding]:
    """Redis does not know what revocations are sealed with."""
    settings = subject.settings
    path = ("revocations", "secret")
    if settings.state.url.scheme == "memory":
        if settings.revocations.secret is not None:
            message = "`secret` has no effect with `memory://`"
            yield Finding(path, message, "remove it", (("state", "url"),), is_key=True)
    elif settings.revocations.secret is None:
        message = "revocations are sealed with what Redis knows: whoever runs it could make and lift them"
        mend = "add `revocations: {secret: file:secrets/revocations}`, the same for the whole fleet"
        yield Finding(("state", "url"), message, mend, (path,), is_warning=True)
    yield from Files(subject.now).secret(path, settings.revocations.secret, is_ours=True)


def check_journal(subject: Subject) -> Iterator[Finding]:
    """The journal is not the audit log."""
    settings = subject.settings
    if settings.revocations.journal == settings.audit.path:
        message = "the audit log and the journal of revocations are one file"
        yield Finding(("revocations", "journal"), message, "give another path", (("audit", "path"),))


def check_continuous(subject: Subject) -> Iterator[Finding]:
    """What runs is not looked at all the time."""
    for index, route in enumerate(subject.settings.routes):
        if route.continuous.every < LEAST_EVERY:
            message = "looking at everything that runs so often would cost more than serving it"
            yield Finding(("routes", index, "continuous", "every"), message, "write at least `250ms`")

"""What cannot change while the gateway runs: each such change is a finding, and none is half done.

Addresses, the store, the record and the log are opened once. What all requests share and count in would
otherwise begin anew, or be in two places at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gateway.app.named import digest, named
from gateway.config.section import Section

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.app.compilation import Compilation
    from gateway.app.findings import Findings
    from gateway.config.schema import Settings
    from gateway.config.source import Path as Place

SECTIONS: Final = ("admin", "state", "revocations", "audit", "log", "traces", "behaviour")
FREE: Final = {("state", "on_failure")}  # compiled into routes
MEND: Final = "put the old value back and reload, or restart the gateway: this needs a restart"

Secrets = dict[tuple[str, str], bytes]


def fixed_secrets(settings: Settings) -> Secrets:
    """Return digests of what is read once, when the gateway starts, by the setting that names it."""
    admin = settings.admin
    values = {
        ("state", "password"): settings.state.password,
        ("state", "sentinel_password"): settings.state.sentinel_password,
        ("revocations", "secret"): settings.revocations.secret,
        ("admin", "token"): None if admin is None else admin.token,
        ("audit", "checkpoint_key"): settings.audit.checkpoint_key,
    }
    return {place: digest(named(value)) for place, value in values.items()}


def check_fixed(held: Compilation | None, new: Settings, secrets: Secrets, findings: Findings) -> None:
    """Find every change that needs a restart.

    Args:
        held: What runs; None: nothing does.
        new: What shall run.
        secrets: Its `fixed_secrets`.
        findings: Takes what is wrong.
    """
    if held is None:
        return
    changed = list(_changed(held.written, new))
    for place in changed:
        name = ".".join(map(str, place))
        findings.add(place, f"`{name}` cannot change while the gateway runs", MEND)
    for place, value in secrets.items():
        if value != held.secrets[place] and not any(place[: len(each)] == each for each in changed):
            name = ".".join(place)
            findings.add(place, f"what `{name}` names has changed since the gateway was started", MEND)


def _changed(old: Settings, new: Settings) -> Iterator[Place]:
    if old.server.listen != new.server.listen:
        yield ("server", "listen")
    if (old.server.tls is None) != (new.server.tls is None):
        yield ("server", "tls")
    for name in SECTIONS:
        yield from _differences(getattr(old, name), getattr(new, name), (name,))
    if new.state.url.scheme != "memory" and old.assertions.issuer != new.assertions.issuer:
        yield ("assertions", "issuer")  # what hides names in Redis is derived from it


def _differences(old: object, new: object, place: Place) -> Iterator[Place]:
    """Yield the innermost settings that differ."""
    if old == new or place in FREE:
        return
    if isinstance(old, Section) and isinstance(new, Section):
        for name in type(new).model_fields:
            yield from _differences(getattr(old, name), getattr(new, name), (*place, name))
    else:
        yield place

"""What a security event asks for: its type (CAEP 1.0, RISC 1.0, SSF 1.0) as one of few effects. Pure.

An event that is not known, or says that things got better, changes nothing: nobody is let in by a
signal that could not have been let in before.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final, final

if TYPE_CHECKING:
    from collections.abc import Mapping

CAEP: Final = "https://schemas.openid.net/secevent/caep/event-type/"
RISC: Final = "https://schemas.openid.net/secevent/risc/event-type/"
SSF: Final = "https://schemas.openid.net/secevent/ssf/event-type/"


@final
class Effect(Enum):
    """What happens to the subject.

    REAUTHENTICATE: what was issued before the event is void; who authenticates anew is let in.
    LOCK: everything is void until it is lifted. LIFT: a lock by the same transmitter ends.
    VERIFICATION: the stream lives. STREAM: the transmitter changed the stream. NONE: nothing.
    """

    REAUTHENTICATE = "reauthenticate"
    LOCK = "lock"
    LIFT = "lift"
    VERIFICATION = "verification"
    STREAM = "stream"
    NONE = "none"


_ALWAYS: Final[Mapping[str, Effect]] = {
    CAEP + "session-revoked": Effect.REAUTHENTICATE,
    CAEP + "credential-change": Effect.REAUTHENTICATE,  # created, updated, deleted, revoked: all of them
    CAEP + "token-claims-change": Effect.REAUTHENTICATE,  # tokens issued before say what is no longer true
    RISC + "account-credential-change-required": Effect.REAUTHENTICATE,
    RISC + "credential-compromise": Effect.REAUTHENTICATE,
    RISC + "sessions-revoked": Effect.REAUTHENTICATE,
    RISC + "account-disabled": Effect.LOCK,
    RISC + "account-purged": Effect.LOCK,
    RISC + "account-enabled": Effect.LIFT,
    SSF + "verification": Effect.VERIFICATION,
    SSF + "stream-updated": Effect.STREAM,
}


def effect_of(kind: str, event: Mapping[str, object]) -> Effect:
    """Decide what an event asks for.

    Args:
        kind: Its type, a URI.
        event: Its members.
    """
    known = _ALWAYS.get(kind)
    if known is not None:
        return known
    if kind == CAEP + "assurance-level-change":
        is_worse = event.get("change_direction") != "increase"  # absent: assume the worst
    elif kind == CAEP + "device-compliance-change":
        is_worse = event.get("current_status") != "compliant"
    elif kind == CAEP + "risk-level-change":
        level = event.get("current_level")
        is_worse = not isinstance(level, str) or level not in {"LOW", "MEDIUM"}
    else:
        is_worse = False
    return Effect.REAUTHENTICATE if is_worse else Effect.NONE


def short_name(kind: str) -> str:
    """Name an event in a record: the last part of its type, if it is one that is known."""
    for base in (CAEP, RISC, SSF):
        name = kind.removeprefix(base)
        if name != kind and name.isascii() and name.replace("-", "").isalpha():
            return name[:64]
    return "unknown"

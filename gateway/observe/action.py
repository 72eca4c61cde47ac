"""What somebody did to the gateway, as one JSON object of the audit log: revoked, lifted, granted, reset.

The fields and their order are the schema below; docs/audit.md explains each. Who did it is known by the
digest of a token or by the name of a transmitter, never by the token.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, final

import msgspec

from gateway.observe.redact import clip, mend, neutralise

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.core.revocation import Revocation

_encode: Final = msgspec.json.Encoder(order="deterministic").encode


@final
class Action(msgspec.Struct, omit_defaults=True):
    """One action, in this order. Times are UTC."""

    time: str
    action: str
    by: str
    revocation: str = ""
    target: str = ""
    value: str = ""
    issued_before: str | None = None
    expires: str | None = None
    reason: str = ""
    source: str = ""
    cut: int = 0
    limit: str = ""
    known: dict[str, str] = {}
    asked: int | None = None
    taken: int | None = None


def action(word: str, by: str, now: float, id: str, revocation: Revocation | None, cut: int) -> bytes:
    """Write down what was done to a revocation.

    Args:
        word: "revoked" or "lifted".
        by: Who did it: see above.
        now: Seconds since the epoch.
        id: The revocation's id.
        revocation: The revocation; None if it is not known here any more.
        cut: How many running exchanges of this process it ends.

    Returns:
        JSON without line ends, safe to print.
    """
    made = Action(utc(now), word, clip(by), id, cut=cut)
    if revocation is not None:
        made.target = revocation.target.value
        made.value = clip(revocation.value)
        made.issued_before = None if revocation.issued_before is None else utc(revocation.issued_before)
        made.expires = None if revocation.expires is None else utc(revocation.expires)
        made.reason = revocation.reason
        made.source = revocation.source
    return _written(made)


def adjustment(
    word: str,
    by: str,
    now: float,
    key: str,
    limit: str,
    *,
    known: Mapping[str, str],
    asked: int | None,
    taken: int | None,
    reason: str,
) -> bytes:
    """Write down what was forgiven of one limit of an identity.

    Args:
        word: "granted" or "reset".
        by: Who did it: see above.
        now: Seconds since the epoch.
        key: Whose.
        limit: Name of the limit.
        known: What else was said of the identity.
        asked: How much was to be taken off what was used; None: all.
        taken: How much was; None: nobody knows.
        reason: Why.

    Returns:
        JSON without line ends, safe to print.
    """
    said = {clip(name): clip(value) for name, value in known.items()}
    made = Action(utc(now), word, clip(by), target="subject", value=clip(key), reason=reason, limit=limit)
    made.known, made.asked, made.taken = said, asked, taken
    return _written(made)


def _written(made: Action) -> bytes:
    try:
        return neutralise(_encode(made))
    except UnicodeEncodeError:  # a lone surrogate in what an operator wrote
        return neutralise(_encode(mend(msgspec.to_builtins(made))))


def utc(moment: float) -> str:
    """Write a wall clock time as RFC 3339 with milliseconds; what no calendar has, as its number."""
    try:
        return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    except (OverflowError, ValueError, OSError):
        return f"{moment:g}"

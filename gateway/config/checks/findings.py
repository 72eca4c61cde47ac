"""What a check says, and what it may look at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, final

if TYPE_CHECKING:
    from gateway.config.schema import Settings
    from gateway.config.source import Path


@final
@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that only two values together, or a file, can tell.

    Args:
        path: Place in the settings.
        message: What is wrong, without a full stop.
        mend: How to mend it.
        reads: Other places that the verdict rests on: with one of them broken, it is not told.
        is_warning: True if the configuration may be run nevertheless.
        is_key: Point at the key rather than at its value.
    """

    path: Path
    message: str
    mend: str
    reads: tuple[Path, ...] = ()
    is_warning: bool = False
    is_key: bool = False


@final
@dataclass(frozen=True, slots=True)
class Subject:
    """What is checked.

    Args:
        settings: The settings, or the sound part of them.
        now: Seconds since the epoch.
        backends: Names of all backends, broken ones too.
        roles: Names of all roles, broken ones and those of anonymous callers too.
    """

    settings: Settings
    now: float
    backends: frozenset[str]
    roles: frozenset[str]

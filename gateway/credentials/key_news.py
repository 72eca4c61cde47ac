"""What is said about the keys of one issuer: bounded, without repeating itself, never more than public facts.

Decides when something is worth a line in the log; writes none itself.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias, final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gateway.core.ports import Clock

REPEAT: Final = 300.0  # seconds until the same failure is said again
MAX_KIDS: Final = 16
MAX_KID_CHARACTERS: Final = 64

Event: TypeAlias = Literal[
    "keys-unavailable",  # not fetched; those known before, if any, go on serving
    "keys-back",  # fetched, after that
    "keys-changed",  # others than before, or the first ones
    "keys-expired",  # dropped at their hard age: nobody of this issuer is believed any more
    "discovery-failed",  # the keys' address could not be looked up again; the known one goes on serving
]


@final
class KeyNews(NamedTuple):
    """One thing that operators may want to know.

    Args:
        event: What happened.
        why: Word or sentence of ours, for failures.
        size: How many keys there are now.
        kids: Their names, as far as they are short and printable; digests for the others.
    """

    event: Event
    why: str = ""
    size: int = 0
    kids: tuple[str, ...] = ()


Tell: TypeAlias = "Callable[[KeyNews], None]"


def shown(kids: Iterable[str]) -> tuple[str, ...]:
    """Return key ids in a form for the log: few, short, printable ASCII."""
    return tuple(_shown(kid) for kid in sorted(kids)[:MAX_KIDS])


def _shown(kid: str) -> str:
    if len(kid) <= MAX_KID_CHARACTERS and kid.isascii() and kid.isprintable():
        return kid
    return f"sha256:{hashlib.sha256(kid.encode(errors='surrogatepass')).hexdigest()[:16]}"


@final
class Herald:
    """Tells what happens to one key set.

    Args:
        clock: Time.
        tell: Takes the news; None: nobody listens.
    """

    __slots__ = ("_clock", "_said_at", "_tell", "_why")

    def __init__(self, clock: Clock, tell: Tell | None) -> None:
        self._clock = clock
        self._tell = tell
        self._why: str | None = None  # what is wrong now
        self._said_at = float("-inf")

    def failed(self, why: str) -> None:
        """Keys could not be fetched. The same failure is said again after a while only."""
        now = self._clock.tick()
        if why == self._why and now - self._said_at < REPEAT:
            return
        self._why, self._said_at = why, now
        self._say(KeyNews("keys-unavailable", why))

    def worked(self) -> None:
        """Keys were fetched."""
        if self._why is not None:
            self._why = None
            self._say(KeyNews("keys-back"))

    def changed(self, kids: Iterable[str], size: int) -> None:
        """The keys are other ones now."""
        self._say(KeyNews("keys-changed", size=size, kids=shown(kids)))

    def expired(self) -> None:
        """The keys were dropped."""
        self._say(KeyNews("keys-expired"))

    def undiscovered(self, why: str) -> None:
        """The address of the keys could not be looked up again."""
        self._say(KeyNews("discovery-failed", why))

    def _say(self, news: KeyNews) -> None:
        if self._tell is not None:
            self._tell(news)

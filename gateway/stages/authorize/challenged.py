"""Remembers whom this process has challenged lately, so that no client asks its issuer again and again.

A token that was issued after a challenge and meets the requirement no better is the issuer's last word:
asking once more would be a loop. Forgetting, for want of room or after a restart, costs one round more and
lets nobody in: who meets a requirement passes, whatever stands here. Never reads a clock; never decides who
is authenticated.
"""

from __future__ import annotations

from collections.abc import Hashable
from math import floor
from typing import Final, NamedTuple, TypeAlias, final

REMEMBERED_SECONDS: Final = 300.0  # long enough for a person to look for the second factor
MAX_REMEMBERED: Final = 4096  # callers and requirements; then the oldest is forgotten

Caller: TypeAlias = tuple[Hashable, ...]


class _Challenge(NamedTuple):
    at: float
    token: str | None


@final
class Challenged:
    """Challenges of this process that may still be answered.

    Args:
        capacity: How many are remembered.
    """

    __slots__ = ("_capacity", "_open")

    def __init__(self, capacity: int = MAX_REMEMBERED) -> None:
        self._capacity = capacity
        self._open: dict[Caller, _Challenge] = {}  # in the order of `at`

    def __len__(self) -> int:
        return len(self._open)

    def challenge(
        self, caller: Caller, token: str | None, issued: float, now: float, *, authenticated: float | None
    ) -> bool:
        """Decide whether a caller who does not meet a requirement is asked to, and remember it.

        Args:
            caller: Who, under which requirement.
            token: Digest of the token that does not meet it: the one that was challenged never answers.
            issued: `iat` of that token, a whole second: one of the challenge's second counts as later.
            now: Seconds since the epoch.
            authenticated: When the user authenticated, if the time since then is all that is wrong: who did
                so after the challenge has answered it, and is asked anew.

        Returns:
            True to challenge; False if this token is the answer to an earlier challenge.
        """
        known = self._open.get(caller)
        if known is not None and 0.0 <= now - known.at <= REMEMBERED_SECONDS:
            asked = floor(known.at)
            if issued < asked or token == known.token:
                return True  # older than the challenge: the client has not asked its issuer yet
            if authenticated is None or authenticated < asked:
                return False
        self._open.pop(caller, None)  # so that the new one stands last
        if len(self._open) >= self._capacity:
            del self._open[next(iter(self._open))]
        self._open[caller] = _Challenge(now, token)
        return True

    def meet(self, caller: Caller) -> None:
        """Forget a challenge that was answered well."""
        self._open.pop(caller, None)

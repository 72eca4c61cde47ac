"""Where accounts lie in the store. The one place that computes their keys.

An account is one limit or budget under one key: an identity, a network, the value of a claim. All accounts
of a key share a hash tag, so that one script call may touch them all, in a cluster too. Neither part of a
name can be read back: the store learns no names, and none can be spliced into another.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Final, final

if TYPE_CHECKING:
    from gateway.core.budgets import Budget

TAG_BYTES: Final = 16
"""Of the digest that stands for a key."""

LIMIT_BYTES: Final = 8
"""Of the digest that stands for a limit: there are few of them under one tag."""

MAX_LIMITS: Final = 4096
"""Limits of which is remembered what follows from them; it costs 3 us to find out again."""


@final
class Terms:
    """What follows from a budget alone.

    Args:
        budget: The budget.
        digest: Its part of the keys of its accounts.
    """

    __slots__ = ("budget", "digest", "is_level", "text")

    def __init__(self, budget: Budget, digest: bytes) -> None:
        self.budget = budget
        self.digest = digest
        self.is_level = budget.measure.is_level
        # for the script; of a calendar's windows it learns with each command
        self.text = (
            f"level {budget.quota} 0 0 0"
            if self.is_level
            else f"rolling {budget.quota} {budget.period!r} {budget.interval!r} {budget.longest!r}"
        )


@final
class Accounts:
    """Names accounts.

    Args:
        prefix: What all keys in the store begin with.
        blinding: Key of the digests; the same in the whole fleet. At most 64 bytes.
    """

    __slots__ = ("_blinding", "_key", "_limits", "_prefix", "_tag")

    def __init__(self, prefix: str, blinding: bytes) -> None:
        self._prefix = prefix.encode()
        self._blinding = blinding
        self._limits: dict[tuple[str, str], Terms] = {}
        self._key: str | None = None  # of the last account: the next one is mostly of the same key
        self._tag = b""

    def tag(self, key: str) -> bytes:
        """Return the part of the key that all accounts under one key share, braces included."""
        if key != self._key:
            self._tag = b"%b{%b}:account:" % (self._prefix, self._digest(key, TAG_BYTES))
            self._key = key
        return self._tag

    def place(self, budget: Budget, key: str) -> bytes:
        """Return the store's key for the account of a budget, or of a limit as one, under a key."""
        return self.tag(key) + self.terms(budget).digest

    def terms(self, budget: Budget) -> Terms:
        """Return what follows from a budget."""
        limit = budget.scope, budget.name
        terms = self._limits.get(limit)
        if terms is None or terms.budget is not budget:
            if len(self._limits) >= MAX_LIMITS:
                self._limits.clear()
            digest = self._digest(f"{len(budget.scope)}:{budget.scope}{budget.name}", LIMIT_BYTES)
            terms = self._limits[limit] = Terms(budget, digest)
        return terms

    def _digest(self, text: str, size: int) -> bytes:
        packed = text.encode("utf-8", "surrogatepass")
        return blake2b(packed, digest_size=size, key=self._blinding).hexdigest().encode()

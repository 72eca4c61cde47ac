"""Remembers what verified credentials proved. Bounded; never decides that something is valid.

Two dictionaries instead of an ordered one: when the young one is full it becomes the old one, and
what is still used moves over. A hit in the young one costs one lookup, and memory never exceeds
twice the capacity.
"""

from __future__ import annotations

from typing import Generic, NamedTuple, TypeVar, final

from gateway.core.identity import Identity  # noqa: TC001 - the compiler reads annotations of classes
from gateway.core.ports import KeySet  # noqa: TC001 - likewise

Key = TypeVar("Key")


class Proven(NamedTuple):
    """One identity, and for how long its proof holds.

    Args:
        since: When it was proven: a clock set back voids it.
        until: When it must be proven again; never after `exp` or the certificate's end.
        generation: Generation of the keys that it was verified with.
        keys: Those keys, or None where no token was involved.
        identity: What was proven.
    """

    since: float
    until: float
    generation: int
    keys: KeySet | None
    identity: Identity


@final
class ProofCache(Generic[Key]):
    """A bounded map from credentials, by digest, to what they proved.

    Args:
        capacity: How many entries are surely kept; at most twice as many exist.
    """

    __slots__ = ("_capacity", "_old", "_young")

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._young: dict[Key, Proven] = {}
        self._old: dict[Key, Proven] = {}

    def __len__(self) -> int:
        return len(self._young.keys() | self._old.keys())

    def find(self, key: Key, now: float) -> Identity | None:
        """Return the identity if its proof still holds at `now`, seconds since the epoch."""
        proven = self._young.get(key)
        if proven is None:
            proven = self._old.get(key)
            if proven is None:
                return None
            self.put(key, proven)
        since, until, generation, keys, identity = proven
        if since <= now < until and (keys is None or keys.generation == generation):
            return identity
        return None

    def put(self, key: Key, proven: Proven) -> None:
        """Remember a proof, forgetting those unused for longest if there is no room."""
        if len(self._young) >= self._capacity:
            self._old = self._young
            self._young = {}
        self._young[key] = proven

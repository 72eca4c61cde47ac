"""Remembers what verified credentials proved. Bounded; never decides that something is valid.

Two dictionaries instead of an ordered one: when the young one is full it becomes the old one, and
what is still used moves over. A hit in the young one costs one lookup, and memory never exceeds
twice the capacity.
"""

from __future__ import annotations

from typing import Generic, TypeVar, final

from gateway.core.gateway_key import GatewayKeys  # noqa: TC001 - the compiler reads annotations of classes
from gateway.core.identity import Identity  # noqa: TC001 - the compiler reads annotations of classes
from gateway.core.ports import KeySet  # noqa: TC001 - likewise

Key = TypeVar("Key")


@final
class Proven:
    """One identity, and for how long its proof holds.

    Args:
        since: When it was proven: a clock set back voids it.
        until: When it must be proven again; never after `exp` or the certificate's end.
        generation: Generation of the keys that it was verified with.
        keys: Those keys, or None where no keys of others were involved.
        identity: What was proven.
        cleared: Version of the revocations under which the identity was last found clear.
    """

    __slots__ = ("cleared", "generation", "identity", "keys", "since", "until")

    def __init__(
        self,
        since: float,
        until: float,
        generation: int,
        keys: KeySet | GatewayKeys | None,
        identity: Identity,
        cleared: int = 0,
    ) -> None:
        self.since = since
        self.until = until
        self.generation = generation
        self.keys = keys
        self.identity = identity
        self.cleared = cleared

    def holds(self, now: float) -> bool:
        """Tell whether the proof holds at `now`, revocations apart."""
        keys = self.keys
        return self.since <= now < self.until and (keys is None or keys.generation == self.generation)


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

    def find(self, key: Key, now: float) -> Proven | None:
        """Return the proof if it still holds at `now`, seconds since the epoch.

        Whether the identity was revoked since is for the caller to look at: see `Proven.cleared`.
        """
        proven = self._young.get(key)
        if proven is None:
            proven = self._old.get(key)
            if proven is None:
                return None
            self.put(key, proven)
        return proven if proven.holds(now) else None

    def put(self, key: Key, proven: Proven) -> None:
        """Remember a proof, forgetting those unused for longest if there is no room."""
        if len(self._young) >= self._capacity:
            self._old = self._young
            self._young = {}
        self._young[key] = proven

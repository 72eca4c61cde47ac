"""`cache`: remembers proofs, never longer than they hold, never more than fits."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.stages.identify.cache import ProofCache, Proven
from gateway.stages.identify.identity import anonymous

from .parts import HeldKeys


def proven(name: str, since: float = 0.0, until: float = 100.0, keys: HeldKeys | None = None) -> Proven:
    """A proof of a named identity."""
    return Proven(since, until, keys.generation if keys else 0, keys, anonymous(name, frozenset()))


def test_a_proof_holds_from_since_to_until() -> None:
    """The first instant counts, the last does not."""
    cache: ProofCache[str] = ProofCache(4)
    cache.put("a", proven("a", 10.0, 20.0))

    assert cache.find("a", 10.0) is not None
    assert cache.find("a", 19.999) is not None
    assert cache.find("a", 20.0) is None
    assert cache.find("a", 9.999) is None
    assert cache.find("b", 15.0) is None


def test_new_keys_void_old_proofs() -> None:
    """A proof is as good as the keys it was made with."""
    keys = HeldKeys()
    cache: ProofCache[str] = ProofCache(4)
    cache.put("a", proven("a", keys=keys))
    assert cache.find("a", 1.0) is not None
    keys.generation += 1

    assert cache.find("a", 1.0) is None


def test_what_is_used_stays() -> None:
    """An entry that is asked for survives any number of others."""
    cache: ProofCache[int] = ProofCache(3)
    cache.put(0, proven("0"))
    for number in range(1, 50):
        cache.put(number, proven(str(number)))

        assert cache.find(0, 1.0) is not None
    assert cache.find(1, 1.0) is None


@given(st.integers(1, 5), st.lists(st.tuples(st.integers(0, 12), st.booleans()), max_size=60))
def test_memory_is_bounded_and_keys_never_mix(capacity: int, steps: list[tuple[int, bool]]) -> None:
    """At most twice the capacity is held, and what is found is what was put under that very key."""
    cache: ProofCache[int] = ProofCache(capacity)
    for key, is_put in steps:
        if is_put:
            cache.put(key, proven(str(key)))
        found = cache.find(key, 1.0)

        assert found is None or found.identity.key == f"anonymous|{key}"
        assert len(cache) <= 2 * capacity

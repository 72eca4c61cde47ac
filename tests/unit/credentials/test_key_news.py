"""`key_news`: what is said about keys, and how often."""

from __future__ import annotations

from gateway.credentials.key_news import MAX_KIDS, REPEAT, Herald, KeyNews, shown

from .parts import FixedClock


def test_a_failure_is_said_once_in_a_while() -> None:
    """The same failure is repeated after minutes only; another one, and its end, are said at once."""
    clock = FixedClock()
    said: list[KeyNews] = []
    herald = Herald(clock, said.append)
    herald.worked()
    for _ in range(3):
        herald.failed("timeout")
    herald.failed("tls")
    clock.now += REPEAT
    herald.failed("tls")
    herald.worked()
    herald.worked()
    herald.failed("tls")

    unavailable = "keys-unavailable"
    assert [
        (unavailable, "timeout"),
        (unavailable, "tls"),
        (unavailable, "tls"),
        ("keys-back", ""),
        (unavailable, "tls"),
    ] == [each[:2] for each in said]


def test_changes_are_said_each_time() -> None:
    """New keys, expired keys, and a look-up that failed."""
    said: list[KeyNews] = []
    herald = Herald(FixedClock(), said.append)
    herald.changed(["b", "a"], 3)
    herald.expired()
    herald.undiscovered("why")

    assert [
        KeyNews("keys-changed", size=3, kids=("a", "b")),
        KeyNews("keys-expired"),
        KeyNews("discovery-failed", "why"),
    ] == said


def test_nobody_needs_to_listen() -> None:
    """Without a listener nothing happens."""
    Herald(FixedClock(), None).expired()


def test_key_ids_are_shown_in_bounds() -> None:
    """Few, and short printable ASCII; a digest stands for the others."""
    assert ("2026-11_a.b",) == shown(["2026-11_a.b"])
    assert MAX_KIDS == len(shown(f"k{number}" for number in range(64)))
    for odd in ("a\nb", "k" * 65, "schl\u00fcssel", "\u202e", "\ud800"):
        (found,) = shown([odd])
        assert found.startswith("sha256:")
        assert 23 == len(found)

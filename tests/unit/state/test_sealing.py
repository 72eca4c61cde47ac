"""Seals: what comes back is what went in, and nothing that the store makes up is believed."""

from __future__ import annotations

import pytest

from gateway.core.revocation import Lift, Revocation, Target
from gateway.state.sealing import Foreign, Forged, Seal, read, write
from tests.unit.state.revoked import NOW, revoke

CHANGES: list[Revocation | Lift] = [
    revoke(),
    Revocation("x", Target.IDENTITY, "spiffe://example.org/ü/*", NOW, NOW - 1, NOW + 1, "why", "who"),
    Lift("x", NOW),
    Lift("x", NOW, NOW + 1),
]


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_sealed_comes_back(change: Revocation | Lift) -> None:
    """The same change, never the same bytes; nothing of it can be read from outside."""
    seal = Seal(b"secret")
    one, other = seal.close(change), seal.close(change)

    assert change == seal.open(one) == seal.open(other) == read(write(change))
    assert one != other
    assert b"example" not in one
    assert b"\n" not in write(change)


def test_nothing_made_up_is_believed() -> None:
    """Any changed byte, any shorter text, any other text."""
    seal = Seal(b"secret")
    sealed = seal.close(revoke())
    for at in range(12, len(sealed)):
        with pytest.raises(Forged):
            seal.open(sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :])
    for forged in (b"", b"x", b"GWR", sealed[:12], sealed[:30], sealed[:-1], sealed + b"x", write(revoke())):
        with pytest.raises(Forged):
            seal.open(forged)


def test_another_key_is_noticed() -> None:
    """A gateway with another secret is not a forger: it is somebody whom we do not hear."""
    with pytest.raises(Foreign):
        Seal(b"secret").open(Seal(b"other").close(revoke()))


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{}",
        b'{"op":"add","id":"a","target":"nobody","value":"v","at":1}',
        b'{"op":"add","id":"a","target":"subject","value":"v","at":1,"more":1}',
        b'{"op":"add","id":"a b","target":"subject","value":"v","at":1}',
        b'{"op":"lift","id":"","at":1}',
        b'{"op":"lift","id":"a","at":1e999}',
    ],
)
def test_what_is_no_change_is_refused(text: bytes) -> None:
    """Under a right seal as well: one reading, or none."""
    with pytest.raises(ValueError, match=r"."):
        read(text)

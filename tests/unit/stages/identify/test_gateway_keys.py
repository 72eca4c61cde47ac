"""Gateway keys: which are good, which are not, and that the way to each answer is the same."""

from __future__ import annotations

import hmac
from dataclasses import replace
from ipaddress import ip_network
from typing import TYPE_CHECKING, final

import pytest

from gateway.core.gateway_key import GatewayKey, compose
from gateway.core.refusal import Reason, Refusal
from gateway.stages.identify import gateway_keys
from gateway.stages.identify.gateway_keys import verify_key

from .parts import NOW, certificate

if TYPE_CHECKING:
    from gateway.core.identity import PeerCertificate

ID = "b" * 20
OLD, CURRENT, OTHER = (compose(ID, bytes([number]) * 32).encode() for number in (1, 2, 3))
STRANGE = compose("c" * 20, bytes(32)).encode()


def blind(token: bytes) -> bytes:
    """The digest under a pepper."""
    return hmac.digest(b"pepper", token, "sha256")


KEY = GatewayKey(
    ID,
    "nightly",
    frozenset({"batch"}),
    blind(CURRENT),
    issued=NOW - 100,
    expires=NOW + 1000,
    previous=blind(OLD),
    previous_issued=NOW - 900,
    previous_until=NOW + 60,
)


@final
class HeldGatewayKeys:
    """Keys in memory, which count how often they are asked."""

    def __init__(self, *keys: GatewayKey) -> None:
        self.keys = {key.id: key for key in keys}
        self.generation = 1
        self.found: list[str] = []
        self.blinded = 0

    def find(self, id: str, /) -> GatewayKey | None:
        self.found.append(id)
        return self.keys.get(id)

    def blind(self, token: bytes, /) -> bytes:
        self.blinded += 1
        return blind(token)

    def replace(self, *keys: GatewayKey) -> None:
        self.keys = {key.id: key for key in keys}
        self.generation += 1


def verdict(
    token: bytes,
    key: GatewayKey = KEY,
    peer: PeerCertificate | None = None,
    address: str = "192.0.2.1",
    now: float = NOW,
) -> tuple[Reason, str] | tuple[float, float]:
    """Why a key is refused; or when it was issued and ends."""
    found = verify_key(token, HeldGatewayKeys(key), peer, address, now)
    if isinstance(found, Refusal):
        return found.reason, found.note or found.detail
    return found.issued, found.expires


def test_both_secrets_are_good_while_they_overlap() -> None:
    """The new one as long as the key, the old one until its own end, each with its own date."""
    assert (NOW - 100, NOW + 1000) == verdict(CURRENT)
    assert (NOW - 900, NOW + 60) == verdict(OLD)
    assert (NOW - 900, NOW + 60) == verdict(OLD, now=NOW + 59)
    assert (Reason.KEY_EXPIRED, "The key was replaced by a new one.") == verdict(OLD, now=NOW + 60)
    assert (NOW - 100, NOW + 1000) == verdict(CURRENT, now=NOW + 60)


def test_the_old_secret_never_outlives_the_key() -> None:
    """An overlap longer than what is left of the key ends with it."""
    key = replace(KEY, previous_until=NOW + 5000)

    assert (NOW - 900, NOW + 1000) == verdict(OLD, key)
    assert Reason.KEY_EXPIRED is verdict(OLD, key, now=NOW + 1000)[0]


def test_only_the_right_secret_learns_that_a_key_is_over() -> None:
    """A guess at an expired key's secret reads like any other guess."""
    key = replace(KEY, expires=NOW)

    assert (Reason.KEY_EXPIRED, "The key has expired.") == verdict(CURRENT, key)
    assert (Reason.KEY_UNKNOWN, "the secret is not this gateway key's") == verdict(OTHER, key)


@pytest.mark.parametrize(
    ("token", "note"),
    [
        (OTHER, "the secret is not this gateway key's"),
        (STRANGE, "no gateway key has this id"),
        (CURRENT[:-1] + b"~", "not a gateway key: its form or its checksum is wrong"),
        (b"gk_", "not a gateway key: its form or its checksum is wrong"),
    ],
)
def test_what_is_no_key(token: bytes, note: str) -> None:
    """Unknown, wrong and mistyped have one reason; the record alone says which."""
    assert (Reason.KEY_UNKNOWN, note) == verdict(token)


def test_no_digest_means_no_previous_secret() -> None:
    """A key that was never rotated takes nothing but its own secret."""
    key = GatewayKey(ID, "s", frozenset(), blind(CURRENT), NOW, NOW + 10)

    assert Reason.KEY_UNKNOWN is verdict(OLD, key)[0]


@pytest.mark.parametrize("token", [CURRENT, OTHER, STRANGE])
def test_known_and_unknown_take_the_same_steps(token: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """One look-up, one digest, two comparisons of whole digests, whoever asks: time tells nothing apart."""
    compared: list[tuple[int, int]] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((len(one), len(other)))
        return hmac.compare_digest(one, other)

    monkeypatch.setattr(gateway_keys, "compare_digest", compare)
    keys = HeldGatewayKeys(KEY)
    verify_key(token, keys, None, "192.0.2.1", NOW)

    assert (1, 1) == (len(keys.found), keys.blinded)
    assert [(32, 32)] * 2 == compared


BOUND = replace(KEY, certificates=frozenset({"f" * 43}))
WORKLOAD = replace(KEY, spiffe_ids=frozenset({"spiffe://example.org/ci"}))


@pytest.mark.parametrize(
    ("key", "peer", "note"),
    [
        (BOUND, certificate(), ""),
        (BOUND, certificate("g" * 43), "the gateway key is bound to another client certificate"),
        (BOUND, None, "the gateway key is bound to a client certificate, and none was presented"),
        (WORKLOAD, certificate("g" * 43, spiffe="spiffe://example.org/ci"), ""),
        (
            WORKLOAD,
            certificate(spiffe="spiffe://example.org/ci2"),
            "the gateway key is bound to another client certificate",
        ),
        (WORKLOAD, certificate(), "the gateway key is bound to another client certificate"),
        (KEY, None, ""),
        (KEY, certificate(), ""),
    ],
)
def test_a_bound_key_needs_its_certificate(key: GatewayKey, peer: PeerCertificate | None, note: str) -> None:
    """One of the listed certificates, or any with a listed SPIFFE ID."""
    expected = (Reason.KEY_BINDING, note) if note else (NOW - 100, NOW + 1000)

    assert expected == verdict(CURRENT, key, peer)


@pytest.mark.parametrize(
    ("networks", "address", "is_good"),
    [
        (("10.0.0.0/8",), "10.1.2.3", True),
        (("10.0.0.0/8",), "::ffff:10.1.2.3", True),
        (("10.0.0.0/8",), "11.1.2.3", False),
        (("10.0.0.0/8", "2001:db8::/32"), "2001:db8::1", True),
        (("10.0.0.0/8",), "2001:db8::1", False),
        (("0.0.0.0/0", "::/0"), "unix", False),
        ((), "unix", True),
    ],
)
def test_a_key_can_be_tied_to_networks(networks: tuple[str, ...], address: str, is_good: bool) -> None:
    """What cannot be understood as an address is in no network."""
    key = replace(KEY, networks=tuple(ip_network(each) for each in networks))
    note = "the gateway key may not be used from this address"

    assert ((NOW - 100, NOW + 1000) if is_good else (Reason.KEY_BINDING, note)) == verdict(
        CURRENT, key, address=address
    )

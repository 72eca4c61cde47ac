"""Decides whether a gateway key is good: known, right, not over, and used where it may be.

An unknown id is compared as a known one is, so that time tells nobody which ids exist. Only who has shown
the right secret learns that a key is over. The slow path: cached by the caller.
"""

from __future__ import annotations

from hmac import compare_digest
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING, Final

from gateway.core.gateway_key import GatewayKey, read_id
from gateway.core.refusal import Reason, Refusal
from gateway.stages.identify.identity import Accepted

if TYPE_CHECKING:
    from gateway.core.gateway_key import GatewayKeys
    from gateway.core.identity import PeerCertificate


def _unknown(note: str) -> Refusal:
    return Refusal(Reason.KEY_UNKNOWN, note=note)


MISTYPED: Final = _unknown("not a gateway key: its form or its checksum is wrong")
NO_KEYS: Final = _unknown("gateway keys are not configured")
UNKNOWN: Final = _unknown("no gateway key has this id")
WRONG: Final = _unknown("the secret is not this gateway key's")
EXPIRED: Final = Refusal(Reason.KEY_EXPIRED, "The key has expired.")
ROTATED: Final = Refusal(Reason.KEY_EXPIRED, "The key was replaced by a new one.")
NO_CERTIFICATE: Final = Refusal(
    Reason.KEY_BINDING, note="the gateway key is bound to a client certificate, and none was presented"
)
OTHER_CERTIFICATE: Final = Refusal(
    Reason.KEY_BINDING, note="the gateway key is bound to another client certificate"
)
OTHER_NETWORK: Final = Refusal(Reason.KEY_BINDING, note="the gateway key may not be used from this address")

NOBODY: Final = GatewayKey("", "", frozenset(), bytes(32), 0.0, 0.0)  # compared where no key is known


def verify_key(
    token: bytes, keys: GatewayKeys, certificate: PeerCertificate | None, address: str, now: float
) -> Accepted | Refusal:
    """Verify a gateway key and its binding to the connection.

    Args:
        token: The whole key; attacker-controlled.
        keys: The keys that there are.
        certificate: The connection's certificate, checked, or None.
        address: The peer's address, or "unix".
        now: Seconds since the epoch.

    Returns:
        The key, or `KEY_UNKNOWN`, `KEY_EXPIRED` or `KEY_BINDING`.
    """
    name = read_id(token)
    if name is None:
        return MISTYPED
    known = keys.find(name)
    key = NOBODY if known is None else known
    digest = keys.blind(token)
    is_current = compare_digest(digest, key.digest)
    is_previous = compare_digest(digest, key.previous)
    if known is None:
        return UNKNOWN
    if is_current:
        accepted = Accepted(key, key.issued, key.expires)
    elif is_previous:
        accepted = Accepted(key, key.previous_issued, min(key.previous_until, key.expires))
    else:
        return WRONG
    if not now < accepted.expires:
        return EXPIRED if is_current else ROTATED
    return check_place(key, certificate, address) or accepted


def check_place(key: GatewayKey, certificate: PeerCertificate | None, address: str) -> Refusal | None:
    """Check that a key is used where it may be.

    Args:
        key: It is good.
        certificate: The connection's certificate, checked, or None.
        address: The peer's address, or "unix".
    """
    if key.is_bound:
        if certificate is None:
            return NO_CERTIFICATE
        if certificate.fingerprint not in key.certificates and certificate.spiffe_id not in key.spiffe_ids:
            return OTHER_CERTIFICATE
    if key.networks and not _is_within(key, address):
        return OTHER_NETWORK
    return None


def _is_within(key: GatewayKey, address: str) -> bool:
    try:
        peer = ip_address(address)
    except ValueError:  # a unix socket is in no network
        return False
    if isinstance(peer, IPv6Address) and peer.ipv4_mapped is not None:
        return any(peer.ipv4_mapped in network for network in key.networks)
    return any(peer in network for network in key.networks)

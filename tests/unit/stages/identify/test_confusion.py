"""Every kind of signed token, shown where every other kind is expected: only its own place takes it.

All are signed by one key that every place trusts, and say everything that any place asks for unless their own
standard forbids it, so that nothing but the kind itself can make the difference (RFC 8725, section 3.11).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gateway.core.refusal import Refused
from gateway.shared_signals.receiver import Receiver, Rejected, Transmitter
from gateway.shared_signals.subjects import Voice
from gateway.stages.identify import Domain, Identification, Possession, identify
from tests.unit.shared_signals.parts import Sink

from .parts import AUDIENCE, CLOCK, ISSUER, NOW, HeldKeys, call, encode, forge, issuer, signer
from .proofs import URL, OnceInATest, bound_token, digest, proven_call, read_key, rules

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

WORKLOAD = "spiffe://example.org/workload"
TOKEN = bound_token("first")
SESSION_REVOKED = "https://schemas.openid.net/secevent/caep/event-type/session-revoked"
JWK = {name: value for name, value in signer().jwk.items() if name in {"kty", "crv", "x", "y"}}
EVERYTHING: dict[str, object] = {
    "iss": ISSUER,
    "sub": "alice",
    "aud": AUDIENCE,
    "iat": int(NOW),
    "exp": int(NOW) + 300,
    "jti": "one-name",
    "client_id": "app",
    "active": True,
    "htm": "POST",
    "htu": URL,
    "ath": encode(digest(TOKEN)).decode(),
    "sub_id": {"format": "iss_sub", "iss": ISSUER, "sub": "alice"},
    "events": {SESSION_REVOKED: {}},
}
# The header's `typ`, and what a kind's own standard forbids it to say.
KINDS: dict[str, tuple[str | None, tuple[str, ...]]] = {
    "access token": ("at+jwt", ()),
    "proof of possession": ("dpop+jwt", ()),
    "security event": ("secevent+jwt", ("exp", "sub")),
    "JWT-SVID": ("JWT", ("iss",)),
    "ID token": ("JWT", ()),
    "ID token without a type": (None, ()),
    "logout token": ("logout+jwt", ()),
    "transaction token": ("txntoken+jwt", ()),
    "workload identity token": ("wit+jwt", ()),
    "workload proof token": ("wpt+jwt", ()),
    "attestation result": ("eat+jwt", ()),
    "introspection answer": ("token-introspection+jwt", ()),
    "client authentication": ("client-authentication+jwt", ()),
    "assertion of the gateway": ("gateway-assertion+jwt", ()),
}
OWN = {
    ("access token", "as an access token"),
    ("JWT-SVID", "as an access token"),
    ("proof of possession", "as a proof"),
    ("security event", "as an event"),
}


def made(kind: str) -> str:
    """Sign a token of one kind."""
    typ, forbidden = KINDS[kind]
    claims = {name: value for name, value in EVERYTHING.items() if name not in forbidden}
    header: dict[str, object] = {"alg": "ES256", "kid": signer().kid}
    if typ is not None:
        header["typ"] = typ
    if kind == "JWT-SVID":
        claims["sub"] = WORKLOAD
    else:  # a JWT-SVID must not have any other member
        header["jwk"] = JWK
    return forge(header, claims)


async def as_an_access_token(token: str) -> None:
    """Show it as a bearer token, to a gateway that takes JWTs and JWT-SVIDs."""
    domain = Domain("example.org", HeldKeys(signer()), AUDIENCE)
    await identify(call(token), Identification([issuer()], domains=[domain]), NOW)


async def as_a_proof(token: str) -> None:
    """Show it as the proof for a token that is bound to the very key."""
    possession = Possession(rules(), read_key, once=OnceInATest())
    await identify(proven_call(TOKEN, token), Identification([issuer()], possession=possession), NOW)


async def as_an_event(token: str) -> None:
    """Push it as a security event, of an issuer that is the transmitter, too."""
    transmitter = Transmitter(
        ISSUER, AUDIENCE, HeldKeys(signer()), frozenset({"ES256"}), Voice((ISSUER,)), 3600.0
    )
    await Receiver(transmitter, Sink(), CLOCK, lambda _event, _facts: None).take(token.encode())


PLACES: dict[str, Callable[[str], Awaitable[None]]] = {
    "as an access token": as_an_access_token,
    "as a proof": as_a_proof,
    "as an event": as_an_event,
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", KINDS)
async def test_a_token_counts_in_its_own_place_alone(kind: str, place: str) -> None:
    """On the diagonal it is taken, so that the others are refused for their kind and for nothing else."""
    token = made(kind)
    if (kind, place) in OWN:
        await PLACES[place](token)
        return
    with pytest.raises((Refused, Rejected)):
        await PLACES[place](token)

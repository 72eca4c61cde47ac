"""Parts that the tests of this stage share: a clock, keys, tokens and calls, all real but small."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from functools import cache
from pathlib import Path
from typing import final

import msgspec

from gateway.core.call import Call
from gateway.core.identity import Peer, PeerCertificate
from gateway.credentials.development import DevelopmentIssuer
from gateway.credentials.jwk import parse_set
from gateway.credentials.jwks import Keys
from gateway.credentials.signing import Signer, generate_key, key_set
from gateway.stages.identify import Issuer

NOW = 1_790_000_000.0
ISSUER = "https://idp.example.org"
AUDIENCE = "model-gateway"


@final
class FixedClock:
    """A clock that stands still until it is moved."""

    def __init__(self, now: float = NOW) -> None:
        self.now = now

    def wall(self) -> float:
        return self.now

    def tick(self) -> float:
        return self.now


CLOCK = FixedClock()


def signer(algorithm: str = "ES256", name: str = "first") -> Signer:
    """One key per algorithm and name for the whole test run: RSA keys are slow to make."""
    return _signer(algorithm, name)


@cache
def _signer(algorithm: str, name: str) -> Signer:
    return Signer(generate_key(algorithm), algorithm, kid=f"{algorithm}-{name}")


def idp(algorithm: str = "ES256", name: str = "first", issuer: str = ISSUER) -> DevelopmentIssuer:
    """An issuer whose tokens are minted at NOW."""
    return DevelopmentIssuer(Path(), signer(algorithm, name), issuer, AUDIENCE, CLOCK)


@final
class HeldKeys:
    """A key set in memory, whose refresh brings the keys that it was given for that."""

    def __init__(self, *signers: Signer, then: tuple[Signer, ...] | None = None) -> None:
        self.keys = Keys(parse_set(key_set(*signers))) if signers else Keys()
        self.then = then
        self.generation = 1
        self.is_usable = bool(signers)
        self.refreshes = 0
        self.lookups: list[tuple[str | None, str]] = []

    def find(self, kid: str | None, algorithm: str, /) -> object | None:
        self.lookups.append((kid, algorithm))
        return self.keys.find(kid, algorithm)

    def replace(self, *signers: Signer) -> None:
        self.keys = Keys(parse_set(key_set(*signers)))
        self.is_usable = True
        self.generation += 1

    async def refresh(self) -> bool:
        self.refreshes += 1
        if self.then is None:
            return False
        self.replace(*self.then)
        return True


def issuer(*algorithms: str, keys: HeldKeys | None = None, name: str = ISSUER, **options: object) -> Issuer:
    """An issuer entry that accepts these algorithms, each with its first key."""
    accepted = algorithms or ("ES256",)
    held = keys or HeldKeys(*(signer(algorithm) for algorithm in accepted))
    return Issuer(name, held, AUDIENCE, frozenset(accepted), **options)


def certificate(
    fingerprint: str = "f" * 43,
    *,
    spiffe: str | None = None,
    subject: str = "CN=batch,O=Example",
    dns: tuple[str, ...] = (),
    uris: tuple[str, ...] | None = None,
    not_before: float = NOW - 3600,
    not_after: float = NOW + 3600,
) -> PeerCertificate:
    """A certificate as the handshake leaves it."""
    names = uris if uris is not None else ((spiffe,) if spiffe else ())
    return PeerCertificate(
        fingerprint, subject, "CN=clients CA", "2a", names, dns, spiffe, not_before, not_after
    )


def call(
    authorization: str | bytes | None = None,
    peer: PeerCertificate | None = None,
    *,
    headers: dict[bytes, bytes] | None = None,
    query: str = "",
    address: str = "192.0.2.1",
) -> Call:
    """A request with these credentials."""
    fields = dict(headers or {})
    if authorization is not None:
        fields[b"authorization"] = (
            authorization if isinstance(authorization, bytes) else f"Bearer {authorization}".encode()
        )
    return Call("id", "POST", "/v1/chat/completions", query, fields, Peer(address, 4711, peer), None)  # type: ignore[arg-type]


def encode(data: bytes) -> bytes:
    """base64url without padding."""
    return urlsafe_b64encode(data).rstrip(b"=")


def forge(header: bytes | dict[str, object], payload: bytes | dict[str, object]) -> str:
    """A token with exactly these octets, signed by the first ES256 key."""
    head = header if isinstance(header, bytes) else msgspec.json.encode(header)
    body = payload if isinstance(payload, bytes) else msgspec.json.encode(payload)
    one = signer()
    message = encode(head) + b"." + encode(body)
    return (message + b"." + encode(one._sign(message))).decode()


def header(**members: object) -> dict[str, object]:
    """A good header, with changes."""
    return {"alg": "ES256", "typ": "at+jwt", "kid": signer().kid} | members


def claims(**members: object) -> dict[str, object]:
    """Good claims, with changes."""
    return {
        "iss": ISSUER,
        "sub": "alice",
        "aud": AUDIENCE,
        "iat": int(NOW),
        "exp": int(NOW) + 300,
        "jti": "j1",
        "client_id": "app",
    } | members

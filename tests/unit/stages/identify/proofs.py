"""Parts that the tests about proofs share: a holder of a key, a URL, and what was used before, all real."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any, final

from gateway.core.ports import StoreUnavailable
from gateway.credentials.development_proof import make_proof
from gateway.credentials.jwk import parse_key
from gateway.stages.identify import Identification, Possession, ProofRules
from gateway.stages.identify.nonce import Nonces

from .parts import NOW, call, certificate, idp, issuer, signer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.core.call import Call
    from gateway.core.identity import PeerCertificate

ORIGIN = "https://gateway.example.org"
URL = f"{ORIGIN}/v1/chat/completions"
ALGORITHMS = frozenset({"ES256", "ES384", "EdDSA", "Ed25519", "PS256", "RS256"})
NONCES = Nonces(b"fleet", 60.0)


def read_key(jwk: Mapping[str, object], /) -> tuple[object, frozenset[str]] | None:
    """The parser of keys that the program uses."""
    found = parse_key(jwk)
    return None if found is None else (found.key, found.algorithms)


@final
class OnceInATest:
    """What was used before, and for how long it counts."""

    def __init__(self) -> None:
        self.claims: dict[bytes, float] = {}
        self.is_down = False

    async def claim(self, name: bytes, seconds: float, /) -> bool:
        if self.is_down:
            raise StoreUnavailable
        if name in self.claims:
            return False
        self.claims[name] = seconds
        return True


def rules(**options: Any) -> ProofRules:
    """Rules that take every algorithm, with changes."""
    origins = options.pop("origins", (ORIGIN,))
    return ProofRules(origins, options.pop("algorithms", ALGORITHMS), **options)


def accepting(once: OnceInATest | None = None, **options: Any) -> Identification:
    """A gateway that takes tokens and proofs."""
    possession = Possession(rules(**options), read_key, once=once or OnceInATest())
    return Identification([issuer()], possession=possession)


def bound_token(name: str = "holder", algorithm: str = "ES256", **options: Any) -> str:
    """A token that is bound to a key."""
    return idp().mint(bind_key=signer(algorithm, name).thumbprint, **options)


def proof_for(token: str, name: str = "holder", algorithm: str = "ES256", **options: Any) -> str:
    """A good proof for a request with this token, with changes."""
    method, url = options.pop("method", "POST"), options.pop("url", URL)
    at = options.pop("at", NOW)
    return make_proof(signer(algorithm, name), method, url, at, token=token, **options)


def digest(token: str) -> bytes:
    """SHA-256 of a token."""
    return sha256(token.encode()).digest()


def proven_call(
    token: str,
    proof: str | bytes | None,
    peer: PeerCertificate | None = None,
    *,
    scheme: str = "DPoP",
) -> Call:
    """A request with a token and a proof."""
    value = None if proof is None else proof if isinstance(proof, bytes) else proof.encode()
    headers = {} if value is None else {b"dpop": value}
    return call(f"{scheme} {token}".encode(), peer, headers=headers)


__all__ = ["NOW", "certificate", "idp", "signer"]

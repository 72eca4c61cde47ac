"""Reads and writes the bundle of a trust domain (SPIFFE Trust Domain and Bundle, section 4).

A bundle is a JWK set: entries for `x509-svid` each carry one authority, entries for `jwt-svid` one key.
Entries for other uses, or without one, are ignored, as the standard says; a bundle without entries is a
bundle, and vouches for nobody. A PEM file is a bundle of authorities alone.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from typing import TYPE_CHECKING, Final, NamedTuple, final

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from gateway.credentials.authorities import UNREADABLE
from gateway.credentials.documents import DocumentError, parse_object
from gateway.credentials.jwk import PRIVATE_MEMBERS, JwksError, parse_key
from gateway.credentials.jwks import Keys
from gateway.credentials.paths import is_strong

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gateway.credentials.jwk import VerificationKey

MAX_BUNDLE_BYTES: Final = 1024 * 1024
MAX_ENTRIES: Final = 256
MAX_SEQUENCE: Final = 2**63
X509: Final = "x509-svid"
JWT: Final = "jwt-svid"
_BASE64: Final = re.compile(r"[A-Za-z0-9+/]+={0,2}\Z")  # RFC 7517, section 4.7: not base64url


class BundleError(ValueError):
    """A bundle that cannot be used; the text names the first fault and repeats nothing of it."""


@final
class Bundle(NamedTuple):
    """What a trust domain says of itself.

    Args:
        authorities: Who vouches for X.509-SVIDs.
        keys: Who signs JWT-SVIDs.
        sequence: Grows with every bundle; None if it does not say.
        refresh_hint: Seconds after which it should be asked for again; None if it does not say.
    """

    authorities: tuple[x509.Certificate, ...]
    keys: Keys
    sequence: int | None = None
    refresh_hint: float | None = None


def parse_bundle(data: bytes) -> Bundle:
    """Parse a bundle.

    Args:
        data: A JWK set, or PEM; partly trusted: it comes from the trust domain, over a file or a network.

    Raises:
        BundleError: It is neither, or an entry that counts is malformed, weak or a secret.
    """
    if len(data) > MAX_BUNDLE_BYTES:
        raise BundleError(f"the bundle is larger than {MAX_BUNDLE_BYTES} bytes")
    if data.lstrip().startswith(b"-----BEGIN"):
        try:
            found = x509.load_pem_x509_certificates(data)
        except UNREADABLE as malformed:
            raise BundleError("the bundle holds no certificates in PEM form") from malformed
        return Bundle(tuple(map(_checked, found)), Keys())
    try:
        document = parse_object(data, MAX_BUNDLE_BYTES)
    except DocumentError as malformed:
        raise BundleError("the bundle is neither PEM nor a JSON object") from malformed
    entries = document.get("keys")
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise BundleError("the bundle has no list of keys")
    if len(entries) > MAX_ENTRIES:
        raise BundleError(f"the bundle has more than {MAX_ENTRIES} keys")
    if any(entry.get("kty") == "oct" or not PRIVATE_MEMBERS.isdisjoint(entry) for entry in entries):
        raise BundleError("the bundle publishes a secret: a private or symmetric key")
    return Bundle(
        tuple(one for entry in entries if entry.get("use") == X509 for one in _authority(entry)),
        Keys(_signers([entry for entry in entries if entry.get("use") == JWT])),
        _count(document, "spiffe_sequence"),
        _count(document, "spiffe_refresh_hint"),
    )


def _count(document: Mapping[str, object], name: str) -> int | None:
    value = document.get(name)
    if value is None:
        return None
    if type(value) is not int or not 0 <= value < MAX_SEQUENCE:
        raise BundleError(f"`{name}` is no number that it could be")
    return value


def _authority(entry: Mapping[str, object]) -> Iterable[x509.Certificate]:
    """Return the one authority of an entry; none if it has no `x5c` (section 4.2.2: it is ignored)."""
    chain = entry.get("x5c")
    if chain is None:
        return
    if not isinstance(chain, list) or not chain or not isinstance(chain[0], str):
        raise BundleError("the `x5c` of a key is no list of certificates")
    if not _BASE64.match(chain[0]):
        raise BundleError("the `x5c` of a key is not base64")
    try:
        authority = x509.load_der_x509_certificate(b64decode(chain[0], validate=True))
    except UNREADABLE as malformed:
        raise BundleError("the `x5c` of a key is no certificate") from malformed
    yield _checked(authority)


def _checked(authority: x509.Certificate) -> x509.Certificate:
    """Refuse authorities that could never vouch: whoever put them there meant something else."""
    try:
        key = authority.public_key()
        is_authority = authority.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (x509.ExtensionNotFound, *UNREADABLE) as unusable:
        raise BundleError("a certificate is not that of an authority") from unusable
    if not is_authority:
        raise BundleError("a certificate is not that of an authority")
    if not isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey) or not is_strong(key):
        raise BundleError("an authority's key is not RSA (2048 bits or more) or EC")
    return authority


def _signers(entries: list[dict[str, object]]) -> tuple[VerificationKey, ...]:
    found = []
    for entry in entries:
        if not isinstance(entry.get("kid"), str) or not entry["kid"]:
            raise BundleError("a key for `jwt-svid` has no `kid`")
        try:
            key = parse_key({**entry, "use": "sig"})
        except JwksError as unusable:
            raise BundleError(str(unusable)) from unusable
        if key is not None:
            found.append(key)
    kids = [key.kid for key in found]
    if len(kids) != len(set(kids)):
        raise BundleError("two keys for `jwt-svid` have the same key id")
    return tuple(found)


def _members(authority: x509.Certificate) -> dict[str, object]:
    key = authority.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        jwk = RSAAlgorithm.to_jwk(key, as_dict=True)
    elif isinstance(key, ec.EllipticCurvePublicKey):
        jwk = ECAlgorithm.to_jwk(key, as_dict=True)
    else:
        raise BundleError("an authority's key is not RSA (2048 bits or more) or EC")
    return {name: jwk[name] for name in ("kty", "crv", "x", "y", "n", "e") if name in jwk}


def write_bundle(
    authorities: Iterable[x509.Certificate],
    keys: Iterable[Mapping[str, object]] = (),
    *,
    sequence: int = 1,
    refresh_hint: int = 300,
) -> bytes:
    """Write a bundle.

    Args:
        authorities: Who vouches for X.509-SVIDs; EC or RSA.
        keys: Public keys that sign JWT-SVIDs, as JWKs with a `kid`.
        sequence: Greater than that of the bundle before.
        refresh_hint: Seconds after which others should ask again.
    """
    entries: list[dict[str, object]] = []
    for authority in authorities:
        der = authority.public_bytes(Encoding.DER)
        entries.append({"use": X509, **_members(authority), "x5c": [b64encode(der).decode()]})
    entries += [{**key, "use": JWT} for key in keys]
    return msgspec.json.encode(
        {"keys": entries, "spiffe_sequence": sequence, "spiffe_refresh_hint": refresh_hint}
    )

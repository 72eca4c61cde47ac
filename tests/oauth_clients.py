"""The OAuth clients that the tests' identity provider knows: what is registered, and how each proves itself."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from jwskate import Jwk
from requests_oauth2client import ClientSecretBasic, PrivateKeyJwt, PublicApp

from gateway.credentials.development import Issued
from gateway.credentials.signing import base64url, private_pem

if TYPE_CHECKING:
    from pathlib import Path

    from requests_oauth2client.client_authentication import BaseClientAuthenticationMethod

    from gateway.credentials.development import DevelopmentPki

SCOPES: Final = "models:chat models:embed models:infer models:admin"
EXCHANGE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
CALLBACK: Final = "https://app.example.org/callback"
WORKLOAD_ID: Final = "spiffe://example.org/robot/workload"
GATEWAY_ID: Final = "spiffe://example.org/gateway/at-the-provider"


@final
@dataclass(frozen=True)
class Registered:
    """One client: its metadata at the provider (RFC 7591), and what it proves itself with."""

    id: str
    method: dict[str, Any]
    secret: str | None = None
    key: Jwk | None = None
    certificate: Issued | None = None

    @property
    def metadata(self) -> dict[str, Any]:
        """What the provider is told."""
        usual = {"grant_types": ["client_credentials"], "response_types": [], "redirect_uris": []}
        return usual | {"client_id": self.id, "scope": SCOPES} | self.method

    @property
    def authentication(self) -> BaseClientAuthenticationMethod:
        """What it sends to the token endpoint; who shows a certificate sends its name alone."""
        if self.key is not None:
            return PrivateKeyJwt(self.id, self.key)
        return PublicApp(self.id) if self.secret is None else ClientSecretBasic(self.id, self.secret)


def with_secret(name: str, **more: Any) -> Registered:
    """Make a client with `client_secret_basic`."""
    secret = f"{name}-secret"
    return Registered(name, {"client_secret": secret} | more, secret=secret)


def with_key(name: str, **more: Any) -> Registered:
    """Make a client with `private_key_jwt` (RFC 7523)."""
    key = Jwk.generate(alg="ES256", kid=f"{name}-key", use="sig")
    method = {
        "token_endpoint_auth_method": "private_key_jwt",
        "token_endpoint_auth_signing_alg": "ES256",
        "jwks": {"keys": [dict(key.public_jwk())]},
    }
    return Registered(name, method | more, key=key)


def with_certificate(name: str, certificate: Issued, spiffe: str, **more: Any) -> Registered:
    """Make a client with `tls_client_auth`, known by its SPIFFE ID (RFC 8705, section 2.1)."""
    method = {"token_endpoint_auth_method": "tls_client_auth", "tls_client_auth_san_uri": spiffe}
    return Registered(name, method | more, certificate=certificate)


def with_own_certificate(name: str, directory: Path, **more: Any) -> Registered:
    """Make a client with `self_signed_tls_client_auth`, known by its certificate (RFC 8705, section 2.2)."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    issued = Issued(directory / f"{name}.pem", directory / f"{name}.key")
    issued.certificate.write_bytes(certificate.public_bytes(Encoding.PEM))
    issued.key.write_bytes(private_pem(key))
    jwk = dict(Jwk(key.public_key())) | {
        "use": "sig",
        "x5c": [b64encode(certificate.public_bytes(Encoding.DER)).decode()],
        "x5t#S256": base64url(certificate.fingerprint(hashes.SHA256())).decode(),
    }
    method = {"token_endpoint_auth_method": "self_signed_tls_client_auth", "jwks": {"keys": [jwk]}}
    return Registered(name, method | more, certificate=issued)


def issued_once(pki: DevelopmentPki, name: str, spiffe: str) -> Issued:
    """Return a client certificate that several providers of one PKI share."""
    issued = Issued(pki.directory / f"{name}.pem", pki.directory / f"{name}.key")
    return issued if issued.certificate.exists() else pki.issue(name, spiffe=spiffe)


def registered(directory: Path, pki: DevelopmentPki) -> dict[str, Registered]:
    """Make all clients; `IdentityProvider` says what each is for.

    Args:
        directory: Takes the self-signed certificate.
        pki: Issues the others.
    """
    workload = issued_once(pki, "workload", WORKLOAD_ID)
    gateway = issued_once(pki, "gateway-at-the-provider", GATEWAY_ID)
    research = {"token_claims": {"groups": ["ml-research"], "acr": "urn:example:loa:1", "amr": ["pwd"]}}
    machines = {"token_claims": {"groups": ["batch"]}}
    bound = {"tls_client_certificate_bound_access_tokens": True}
    proves = {"dpop_bound_access_tokens": True}
    acts: dict[str, Any] = {"grant_types": ["client_credentials", EXCHANGE]}
    app = {
        "token_endpoint_auth_method": "none",
        "grant_types": ["authorization_code"],
        "response_types": ["code"],
        "redirect_uris": [CALLBACK],
        "scope": f"openid {SCOPES}",
    }
    clients = (
        with_secret("alice", **research),
        with_secret("bob", **machines),
        with_key("batch", **machines),
        with_certificate("robot", workload, WORKLOAD_ID, **machines, **bound),
        with_secret("bound", **research, **bound),
        with_own_certificate("self-signed", directory, **machines, **bound),
        with_secret("dpop", **research, **proves),
        with_secret("dpop-nonce", **research, **proves, demand_dpop_nonce=True),
        Registered("app", app | research),
        with_secret("gateway-basic", **acts),
        with_key("gateway-jwt", **acts),
        with_certificate("gateway-mtls", gateway, GATEWAY_ID, **acts),
    )
    return {client.id: client for client in clients}

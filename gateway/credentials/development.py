"""A certificate authority and a token issuer for development, demos and tests. Never for production.

Private keys lie unencrypted beside their certificates (mode 0600), one authority per purpose so that
a certificate made for one listener proves nothing to another.
"""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from gateway.credentials.certificates import leaf_fingerprint
from gateway.credentials.clock import SystemClock
from gateway.credentials.development_issuer import DevelopmentIssuer
from gateway.credentials.files import PRIVATE, write_new
from gateway.credentials.signing import private_pem

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from gateway.core.ports import Clock

__all__ = ["AUTHORITIES", "LEAF_DAYS", "DevelopmentIssuer", "DevelopmentPki", "Issued", "fingerprint"]

Kind = Literal["server", "client", "backend"]
Authority = Literal["gateway", "clients", "backends"]

AUTHORITIES: Final[tuple[Authority, ...]] = ("gateway", "clients", "backends")
AUTHORITY_OF: Final[Mapping[Kind, Authority]] = {
    "server": "gateway",
    "client": "clients",
    "backend": "backends",
}
CA_DAYS: Final = 365
LEAF_DAYS: Final = 90
CRL_DAYS: Final = 30
BACKDATE: Final = timedelta(minutes=5)  # a client whose clock is a little behind
CLOCK: Final = SystemClock()


class Issued(NamedTuple):
    """Paths of a certificate and of its private key."""

    certificate: Path
    key: Path


def fingerprint(certificate: Path | bytes) -> str:
    """Return base64url SHA-256 of a PEM certificate, as `cnf.x5t#S256` wants it (RFC 8705, section 3.1)."""
    pem = certificate if isinstance(certificate, bytes) else certificate.read_bytes()
    return leaf_fingerprint(pem)


def _key_usage(*, is_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_authority,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Gateway development"),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _alternative_name(value: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(value))
    except ValueError:
        return x509.DNSName(value)


def _leaf_extensions(
    builder: x509.CertificateBuilder, kind: Kind, dns: Sequence[str], uris: Sequence[str]
) -> x509.CertificateBuilder:
    purposes = {ExtendedKeyUsageOID.CLIENT_AUTH if kind == "client" else ExtendedKeyUsageOID.SERVER_AUTH}
    if uris:  # SPIFFE demands both purposes where any is named (X.509-SVID, section 4.4)
        purposes = {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH}
    builder = (
        builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(is_authority=False), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage(sorted(purposes, key=lambda oid: oid.dotted_string)), critical=False
        )
    )
    names = [_alternative_name(one) for one in dns] + [x509.UniformResourceIdentifier(uri) for uri in uris]
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder


@final
class DevelopmentPki:
    """Three small authorities in one directory: `gateway`, `clients` and `backends`.

    Files: `<authority>-ca.pem`, `<authority>-ca.key`, `<authority>.crl`, and per issued certificate
    `<name>.pem` and `<name>.key`. All keys are ECDSA P-256.

    Args:
        directory: Where everything lies.
        clock: Time.
    """

    __slots__ = ("clock", "directory")

    def __init__(self, directory: Path, clock: Clock = CLOCK) -> None:
        self.directory = directory
        self.clock = clock

    def ca(self, authority: Authority) -> Path:
        """Path of an authority's certificate."""
        return self.directory / f"{authority}-ca.pem"

    def crl(self, authority: Authority = "clients") -> Path:
        """Path of an authority's revocation list."""
        return self.directory / f"{authority}.crl"

    def init(self, *, days: float = CA_DAYS, force: bool = False) -> None:
        """Make the authorities and their empty revocation lists.

        Raises:
            FileExistsError: One of them exists, and `force` is False.
        """
        if not force:
            for authority in AUTHORITIES:
                for path in (self.ca(authority), self.ca(authority).with_suffix(".key")):
                    if path.exists():
                        raise FileExistsError(path.name)
        now = self._now()
        for authority in AUTHORITIES:
            key = ec.generate_private_key(ec.SECP256R1())
            name = _name(f"Development {authority} CA")
            identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
            certificate = (
                self._builder(name, name, key.public_key(), now, timedelta(days=days))
                .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
                .add_extension(_key_usage(is_authority=True), critical=True)
                .add_extension(identifier, critical=False)
                .sign(key, hashes.SHA256())
            )
            paths = Issued(self.ca(authority), self.ca(authority).with_suffix(".key"))
            self._write(paths, certificate, key, force=force)
            self._write_crl(authority, [])

    def issue(
        self,
        name: str,
        kind: Kind = "client",
        *,
        dns: Sequence[str] = (),
        spiffe: str | Sequence[str] | None = None,
        common_name: str | None = None,
        days: float = LEAF_DAYS,
        authority: Authority | None = None,
        force: bool = False,
    ) -> Issued:
        """Issue a certificate with a new key.

        Args:
            name: File name without suffix, and common name unless that is given.
            kind: What it is for: decides authority and extended key usage.
            dns: DNS names and IP addresses; a server or backend without any gets localhost.
            spiffe: URI subject alternative name(s); not checked, so that tests can make bad ones.
            common_name: Common name.
            days: Validity from now; negative makes an expired certificate.
            authority: Another authority than the kind's, such as a client of the backends.
            force: Overwrite.

        Returns:
            Paths of the certificate and its key.

        Raises:
            FileExistsError: The files exist, and `force` is False.
            FileNotFoundError: The authority was never made.
        """
        authority = authority or AUTHORITY_OF[kind]
        issuer, issuer_key = self._load(authority)
        uris = (spiffe,) if isinstance(spiffe, str) else tuple(spiffe or ())
        if kind != "client" and not dns:
            dns = ("localhost", "127.0.0.1", "::1")
        key = ec.generate_private_key(ec.SECP256R1())
        subject = _name(common_name or name)
        builder = self._builder(subject, issuer.subject, key.public_key(), self._now(), timedelta(days=days))
        builder = builder.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False
        )
        builder = _leaf_extensions(builder, kind, dns, uris)
        issued = Issued(self.directory / f"{name}.pem", self.directory / f"{name}.key")
        self._write(issued, builder.sign(issuer_key, hashes.SHA256()), key, force=force)
        return issued

    def revoke(self, certificate: Path, authority: Authority | None = None) -> Path:
        """Put a certificate on the revocation list of the authority that issued it.

        Args:
            certificate: PEM file.
            authority: Its authority; None finds it by the issuer's name.

        Returns:
            Path of the revocation list.

        Raises:
            ValueError: None of the authorities issued it.
        """
        revoked = x509.load_pem_x509_certificate(certificate.read_bytes())
        for one in (authority,) if authority else AUTHORITIES:
            if self._load(one)[0].subject == revoked.issuer:
                known = x509.load_pem_x509_crl(self.crl(one).read_bytes())
                serials = {entry.serial_number: entry.revocation_date_utc for entry in known}
                serials.setdefault(revoked.serial_number, self._now())
                return self._write_crl(one, list(serials.items()))
        raise ValueError("certificate was not issued by these authorities")

    def write_crl(self, authority: Authority = "clients", *, days: float = CRL_DAYS) -> Path:
        """Renew a revocation list with the same entries; negative `days` makes a stale one."""
        known = x509.load_pem_x509_crl(self.crl(authority).read_bytes())
        entries = [(entry.serial_number, entry.revocation_date_utc) for entry in known]
        return self._write_crl(authority, entries, days)

    def _now(self) -> datetime:
        return datetime.fromtimestamp(int(self.clock.wall()), UTC)

    def _load(self, authority: Authority) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
        path = self.ca(authority)
        key = serialization.load_pem_private_key(path.with_suffix(".key").read_bytes(), password=None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ValueError("authority's key is not one that this program made")  # noqa: TRY004 - a wrong file
        return x509.load_pem_x509_certificate(path.read_bytes()), key

    @staticmethod
    def _builder(
        subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime, life: timedelta
    ) -> x509.CertificateBuilder:
        start = min(now, now + life) - BACKDATE
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(now + life)
        )

    @staticmethod
    def _write(
        issued: Issued, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey, *, force: bool
    ) -> None:
        write_new(issued.key, private_pem(key), mode=PRIVATE, force=force)
        write_new(issued.certificate, certificate.public_bytes(serialization.Encoding.PEM), force=force)

    def _write_crl(
        self, authority: Authority, entries: Iterable[tuple[int, datetime]], days: float = CRL_DAYS
    ) -> Path:
        issuer, key = self._load(authority)
        now = self._now()
        last = min(now, now + timedelta(days=days)) - BACKDATE
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(issuer.subject)
            .last_update(last)
            .next_update(now + timedelta(days=days))
            .add_extension(x509.CRLNumber(int(now.timestamp())), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False
            )
        )
        for serial, date in entries:
            builder = builder.add_revoked_certificate(
                x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(date).build()
            )
        path = self.crl(authority)
        crl = builder.sign(key, hashes.SHA256())
        write_new(path, crl.public_bytes(serialization.Encoding.PEM), force=True)
        return path

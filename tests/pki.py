"""Authorities and certificates of every kind, bad ones too, made by `cryptography` for one test."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple, Self, final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    Extension = tuple[x509.ExtensionType, bool]

BOTH = (ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH)
DAY = 86400.0
USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


def usage(*names: str) -> x509.KeyUsage:
    """A key usage with these bits."""
    return x509.KeyUsage(**{name: name in names for name in USAGES})


def moment(seconds: float) -> datetime:
    """Seconds since the epoch as the library wants them."""
    return datetime.fromtimestamp(int(seconds), UTC)


def new_key() -> ec.EllipticCurvePrivateKey:
    """A quick, good key."""
    return ec.generate_private_key(ec.SECP256R1())


def digest(key: Any) -> hashes.HashAlgorithm | None:
    """What a key signs over."""
    return None if isinstance(key, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey) else hashes.SHA256()


class Leaf(NamedTuple):
    """A certificate with its key."""

    certificate: x509.Certificate
    key: Any

    @property
    def der(self) -> bytes:
        """As it comes over the wire."""
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def pem(self) -> bytes:
        """As it stands in a file."""
        return self.certificate.public_bytes(Encoding.PEM)

    def write(self, directory: Path, name: str, *chain: Ca | Leaf) -> tuple[Path, Path]:
        """Write certificate, chain and key; return both paths."""
        paths = directory / f"{name}.pem", directory / f"{name}.key"
        paths[0].write_bytes(self.pem + b"".join(one.pem for one in chain))
        paths[1].write_bytes(self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        paths[1].chmod(0o600)
        return paths


@final
class Ca:
    """An authority.

    Args:
        name: Common name.
        now: Middle of its validity, seconds since the epoch.
        issuer: Who signs it; None: it does.
        key: Its key.
        more: More extensions; one of a kind that it has replaces that, None leaves that kind out.
        days: Half of its validity.
        path_length: Of its basic constraints.
    """

    def __init__(
        self,
        name: str,
        now: float,
        *,
        issuer: Self | None = None,
        key: Any = None,
        more: dict[type[x509.ExtensionType], Extension | None] | None = None,
        days: float = 30.0,
        path_length: int | None = None,
        purposes: Iterable[str] = ("key_cert_sign", "crl_sign"),
    ) -> None:
        self.now = now
        self.key = new_key() if key is None else key
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        signer = issuer or self
        extensions: dict[type[x509.ExtensionType], Extension | None] = {
            x509.BasicConstraints: (x509.BasicConstraints(ca=True, path_length=path_length), True),
            x509.KeyUsage: (usage(*purposes), True),
            x509.SubjectKeyIdentifier: (
                x509.SubjectKeyIdentifier.from_public_key(self.key.public_key()),
                False,
            ),
        }
        if issuer is not None:
            extensions[x509.AuthorityKeyIdentifier] = (issuer.identifier, False)
        self.certificate = _build(
            self.name,
            signer,
            self.key.public_key(),
            now - days * DAY,
            now + days * DAY,
            extensions | (more or {}),
        )

    @property
    def identifier(self) -> x509.AuthorityKeyIdentifier:
        """How its certificates name its key."""
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())

    @property
    def der(self) -> bytes:
        """As it comes over the wire."""
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def pem(self) -> bytes:
        """As it stands in a file."""
        return self.certificate.public_bytes(Encoding.PEM)

    def issue(
        self,
        *uris: str,
        name: str | None = "leaf",
        key: Any = None,
        dns: Iterable[str] = (),
        days: float = 1.0,
        begins: float | None = None,
        serial: int | None = None,
        more: dict[type[x509.ExtensionType], Extension | None] | None = None,
    ) -> Leaf:
        """Issue a certificate for clients: an X.509-SVID if it gets a SPIFFE ID."""
        key = new_key() if key is None else key
        subject = x509.Name([] if name is None else [x509.NameAttribute(NameOID.COMMON_NAME, name)])
        extensions: dict[type[x509.ExtensionType], Extension | None] = {
            x509.BasicConstraints: (x509.BasicConstraints(ca=False, path_length=None), True),
            x509.KeyUsage: (usage("digital_signature"), True),
            x509.ExtendedKeyUsage: (x509.ExtendedKeyUsage(BOTH), False),
            x509.AuthorityKeyIdentifier: (self.identifier, False),
        }
        names = [*map(x509.UniformResourceIdentifier, uris), *map(x509.DNSName, dns)]
        if names:
            extensions[x509.SubjectAlternativeName] = (x509.SubjectAlternativeName(names), name is None)
        begins = self.now - DAY if begins is None else begins
        made = _build(
            subject,
            self,
            key.public_key(),
            begins,
            max(self.now, begins) + days * DAY if days > 0 else self.now + days * DAY / 2,
            extensions | (more or {}),
            serial,
        )
        return Leaf(made, key)

    def revoke(
        self,
        *revoked: Leaf | Ca,
        number: int | None = 1,
        is_number_critical: bool = False,
        begins: float | None = None,
        days: float = 1.0,
        key: Any = None,
        more: Iterable[Extension] = (),
        entry: Extension | None = None,
        over: hashes.HashAlgorithm | None = None,
    ) -> bytes:
        """Make a revocation list, PEM."""
        begins = self.now - 60.0 if begins is None else begins
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.name)
            .last_update(moment(begins))
            .next_update(moment(begins + days * DAY))
            .add_extension(self.identifier, critical=False)
        )
        if number is not None:
            builder = builder.add_extension(x509.CRLNumber(number), critical=is_number_critical)
        for extension, critical in more:
            builder = builder.add_extension(extension, critical=critical)
        for one in revoked:
            made = x509.RevokedCertificateBuilder().serial_number(one.certificate.serial_number)
            made = made.revocation_date(moment(begins))
            if entry is not None:
                made = made.add_extension(*entry)
            builder = builder.add_revoked_certificate(made.build())
        key = key or self.key
        return builder.sign(key, over or digest(key)).public_bytes(Encoding.PEM)


def unread_names(kind: type[x509.ExtensionType]) -> x509.UnrecognizedExtension:
    """Return alternative names with an X.400 address: the library raises an error of its own kind for them."""
    return x509.UnrecognizedExtension(kind.oid, bytes.fromhex("3004a3023000"))


def other_version(der: bytes) -> bytes:
    """Change a certificate or revocation list into one of a version that there is not."""
    for version in ("a003020102", "020101"):
        at = der.find(bytes.fromhex(version))
        if at >= 0:
            end = at + len(version) // 2
            return der[: end - 1] + b"\x07" + der[end:]
    raise AssertionError("no version")


def _build(
    subject: x509.Name,
    issuer: Ca,
    key: Any,
    begins: float,
    ends: float,
    extensions: dict[type[x509.ExtensionType], Extension | None],
    serial: int | None = None,
) -> x509.Certificate:
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.name)
        .public_key(key)
        .serial_number(serial or x509.random_serial_number())
        .not_valid_before(moment(begins))
        .not_valid_after(moment(ends))
    )
    for extension in extensions.values():
        if extension is not None:
            builder = builder.add_extension(extension[0], critical=extension[1])
    return builder.sign(issuer.key, digest(issuer.key))

"""Writes configurations and the files that they name, for tests."""

from __future__ import annotations

import copy
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID

from gateway.config.errors import ConfigurationError, Problem
from gateway.config.load import Loaded, load

if TYPE_CHECKING:
    from pathlib import Path

NOW = 1_800_000_000.0
MOMENT = datetime.fromtimestamp(NOW, UTC)
DAY = timedelta(days=1)

MINIMAL: dict[str, object] = {
    "server": {"listen": "127.0.0.1:0"},
    "identity": {
        "issuers": [
            {
                "issuer": "https://idp.example.org",
                "jwks": "https://idp.example.org/jwks",
                "audience": "model-gateway",
                "algorithms": ["ES256"],
            }
        ]
    },
    "roles": {"user": {"groups": ["users"]}},
    "backends": {"local": {"endpoints": ["unix:/run/model.sock"]}},
    "routes": [
        {
            "name": "chat",
            "match": {"methods": ["POST"], "path": "/v1/chat/completions"},
            "dialect": "openai.chat",
            "backend": "local",
            "allow": [{"name": "users", "roles": ["user"]}],
        }
    ],
    "audit": {"checkpoint_key": "checkpoint.key"},
}
REMOVED = object()


class FixedClock:
    """Stands still."""

    def wall(self) -> float:
        """Return the moment that test certificates are made for."""
        return NOW

    def tick(self) -> float:
        """Return nothing of interest."""
        return 0.0


def variant(changes: dict[str, object]) -> bytes:
    """Return the minimal configuration with changes, as JSON, which is YAML.

    Args:
        changes: Dotted paths to new values; indices are numbers.
    """
    tree = copy.deepcopy(MINIMAL)
    for dotted, value in changes.items():
        *path, last = dotted.split(".")
        node: object = tree
        for step in path:
            if isinstance(node, list):
                node = node[int(step)]
            else:
                assert isinstance(node, dict)
                node = node.setdefault(step, {})
        if isinstance(node, list):
            index = int(last)
            node[index : index + 1] = [] if value is REMOVED else [value]
        else:
            assert isinstance(node, dict)
            node[last] = value
            if value is REMOVED:
                del node[last]
    return msgspec.json.format(msgspec.json.encode(tree), indent=1)


def load_variant(directory: Path, changes: dict[str, object]) -> Loaded:
    """Load the minimal configuration with changes."""
    return load_bytes(directory, variant(changes))


def load_bytes(directory: Path, data: bytes) -> Loaded:
    """Load a configuration from bytes; the key that signs checkpoints lies beside it."""
    key = directory / "checkpoint.key"
    if not key.exists():
        key.write_bytes(private_pem(ed25519.Ed25519PrivateKey.generate()))
        key.chmod(0o600)
    file = directory / "gateway.yaml"
    file.write_bytes(data)
    return load(file, FixedClock())


def problems(directory: Path, changes: dict[str, object]) -> list[Problem]:
    """Return what is wrong with a variant; nothing if it loads."""
    return problems_of(directory, variant(changes))


def problems_of(directory: Path, data: bytes) -> list[Problem]:
    """Return what is wrong with a configuration; nothing if it loads."""
    try:
        load_bytes(directory, data)
    except ConfigurationError as fault:
        return list(fault.problems)
    return []


def messages(directory: Path, changes: dict[str, object]) -> list[tuple[str, str]]:
    """Return offending text and message of everything that is wrong with a variant."""
    return [(problem.text, problem.message) for problem in problems(directory, changes)]


def warnings(directory: Path, changes: dict[str, object]) -> list[str]:
    """Return the messages of a variant's warnings."""
    return [problem.message for problem in load_variant(directory, changes).warnings]


Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


class Authority:
    """A certificate authority whose certificates say what a test wants.

    Args:
        directory: Where files are written.
        name: Common name, and file name.
    """

    def __init__(self, directory: Path, name: str = "ca") -> None:
        self.directory = directory
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = self._sign(
            self.name, self.key, MOMENT - DAY, MOMENT + 365 * DAY, is_authority=True
        )
        self.file = self.write(f"{name}.pem", self.certificate.public_bytes(serialization.Encoding.PEM))

    def write(self, name: str, data: bytes, mode: int = 0o600) -> Path:
        """Write a file."""
        file = self.directory / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        file.chmod(mode)
        return file

    def issue(
        self,
        name: str,
        begins: datetime = MOMENT - DAY,
        ends: datetime = MOMENT + 90 * DAY,
        key: Key | None = None,
    ) -> tuple[Path, Path]:
        """Issue a certificate; return its file and its key's."""
        key = key or ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        leaf = self._sign(subject, key, begins, ends, is_authority=False)
        pem = leaf.public_bytes(serialization.Encoding.PEM)
        return self.write(f"{name}.pem", pem), self.write(f"{name}.key", private_pem(key))

    def revoke(
        self, name: str = "clients.crl", begins: datetime = MOMENT - DAY, ends: datetime = MOMENT + DAY
    ) -> Path:
        """Write a revocation list."""
        builder = x509.CertificateRevocationListBuilder(self.name, begins, ends)
        pem = builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        return self.write(name, pem)

    def _sign(
        self, subject: x509.Name, key: Key, begins: datetime, ends: datetime, *, is_authority: bool
    ) -> x509.Certificate:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begins)
            .not_valid_after(ends)
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
            .sign(self.key, hashes.SHA256())
        )


def private_pem(key: Key, password: bytes | None = None) -> bytes:
    """Write a private key as PEM."""
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if password is not None:
        encryption = serialization.BestAvailableEncryption(password)
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)

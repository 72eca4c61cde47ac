"""Every example in config/ loads, on a machine where the files that it names are there."""

from __future__ import annotations

from pathlib import Path

import jsonschema_rs
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519

from gateway.config.yaml import parse
from tests.unit.config.writing import Authority, load_bytes, private_pem

EXAMPLES = Path(__file__).parents[3] / "config"
NAMES = sorted(file.name for file in EXAMPLES.glob("*.yaml"))
UNSIGNED = "no `checkpoint_key` signs the audit log: whoever can write it can rewrite all of it unnoticed"
WARNINGS = {
    "gateway.yaml": [],
    "minimal.yaml": [
        UNSIGNED,
        "this backend is not verified: whoever listens on that port gets the prompts",
    ],
    "redis.yaml": [],
}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A directory with all files that the examples name."""
    certs = tmp_path / "certs"
    clients = Authority(certs, "clients-ca")
    clients.revoke("clients.crl")
    backends = Authority(certs, "backends-ca")
    backends.issue("to-llama")
    Authority(certs, "redis-ca").issue("gateway")
    clients.write("assertions.key", private_pem(ed25519.Ed25519PrivateKey.generate()))
    clients.write("checkpoints.key", private_pem(ed25519.Ed25519PrivateKey.generate()))
    for name in ("secrets/admin-token", "secrets/llama-key", "secrets/revocations"):
        Authority.write(clients, f"../{name}", b"secret\n")
    Authority.write(clients, "../schemas/chat.json", b"{}")
    return tmp_path


def test_there_are_examples() -> None:
    """The three that the documentation speaks of, and no other without an entry here."""
    assert sorted(WARNINGS) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_an_example_loads(directory: Path, name: str) -> None:
    """Examples are right, and their warnings are known."""
    loaded = load_bytes(directory, (EXAMPLES / name).read_bytes())

    assert WARNINGS[name] == [warning.message for warning in loaded.warnings]


@pytest.mark.parametrize("name", NAMES)
def test_an_example_fits_the_published_schema(name: str) -> None:
    """What the gateway takes, editors take: the first line of an example names the schema."""
    data = (EXAMPLES / name).read_bytes()
    schema = msgspec.json.decode((EXAMPLES / "gateway.schema.json").read_bytes())

    assert data.startswith(b"# yaml-language-server: $schema=gateway.schema.json\n")
    tree = msgspec.json.decode(msgspec.json.encode(parse(data, name).tree))
    jsonschema_rs.Draft202012Validator(schema).validate(tree)

"""Keys come from where they cannot be replaced, from where they can be reached, and in time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from tests.unit.config.writing import REMOVED, Authority, messages, private_pem, problems, warnings

if TYPE_CHECKING:
    from pathlib import Path

ONE = "identity.issuers.0."
ASKED = {"client_id": "gateway", "authentication": {"private_key_jwt": {"private_key": "own.key"}}}


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A directory with an authority and a file of keys."""
    authority = Authority(tmp_path)
    authority.write("own.key", private_pem(ec.generate_private_key(ec.SECP256R1())))
    (tmp_path / "jwks.json").write_text("{}")
    return tmp_path


def changed(**changes: object) -> dict[str, object]:
    """Changes of the first issuer."""
    return {ONE + key: value for key, value in changes.items()}


@pytest.mark.parametrize(
    ("changes", "text", "message"),
    [
        (
            changed(jwks=REMOVED, issuer="idp"),
            '"idp"',
            "`idp` is no URL, so its keys cannot be discovered",
        ),
        (
            changed(jwks=None, issuer="https://idp.example.org?a=b"),
            '"https://idp.example.org?a=b"',
            "`https://idp.example.org?a=b` is no URL, so its keys cannot be discovered",
        ),
        (
            changed(jwks=REMOVED, issuer="https://127.1"),
            '"https://127.1"',
            "`https://127.1` is no URL, so its keys cannot be discovered",
        ),
        (
            changed(jwks=REMOVED, issuer="http://idp.example.org"),
            '"http://idp.example.org"',
            "whoever sits on the network path could replace these keys",
        ),
        (
            changed(jwks="http://idp/jwks"),
            '"http://idp/jwks"',
            "whoever sits on the network path could replace these keys",
        ),
        (
            changed(jwks="file:jwks.json", jwks_ca="ca.pem"),
            '"jwks_ca"',
            "`jwks_ca` has no effect: nothing is fetched by `https://`",
        ),
        (
            changed(jwks=REMOVED, issuer="http://localhost:1/a", jwks_ca="ca.pem"),
            '"jwks_ca"',
            "`jwks_ca` has no effect: nothing is fetched by `https://`",
        ),
        (
            changed(jwks_origins=["https://keys.example.org"]),
            '"jwks_origins"',
            "`jwks_origins` has no effect: `jwks` says where the keys are",
        ),
        (
            changed(jwks="file:jwks.json", networks=["10.0.0.0/8"]),
            '"networks"',
            "`networks` has no effect: nothing is fetched from another machine",
        ),
        (
            changed(jwks="https://10.0.0.5/jwks"),
            '"https://10.0.0.5/jwks"',
            "10.0.0.5 is no public address, and no `networks` are listed",
        ),
        (
            changed(jwks=REMOVED, issuer="https://[fd00::5]"),
            '"https://[fd00::5]"',
            "fd00::5 is no public address, and no `networks` are listed",
        ),
        (
            changed(jwks="https://10.0.0.5/jwks", networks=["10.1.0.0/16"]),
            '"https://10.0.0.5/jwks"',
            "10.0.0.5 is in none of `networks`",
        ),
        (
            changed(jwks=REMOVED, jwks_origins=["https://10.0.0.5"]),
            '"https://10.0.0.5"',
            "10.0.0.5 is no public address, and no `networks` are listed",
        ),
        (
            changed(introspection=ASKED | {"endpoint": "https://10.0.0.5/introspect"}),
            '"https://10.0.0.5/introspect"',
            "10.0.0.5 is no public address, and no `networks` are listed",
        ),
        (
            changed(
                jwks="file:jwks.json",
                jwks_ca="ca.pem",
                introspection=ASKED | {"endpoint": "https://idp.example.org/introspect", "ca": "ca.pem"},
            ),
            '"jwks_ca"',
            "`jwks_ca` has no effect: nothing is fetched by `https://`",
        ),
        (
            changed(introspection=ASKED | {"endpoint": "http://[::1]/introspect", "ca": "ca.pem"}),
            '"ca"',
            "`ca` has no effect: nothing is fetched by `https://`",
        ),
        (
            changed(refresh="999ms"),
            '"999ms"',
            "keys are fetched once a second at most, and once an hour at least",
        ),
        (
            changed(refresh="61m"),
            '"61m"',
            "keys are fetched once a second at most, and once an hour at least",
        ),
        (changed(keys_hard_age="59s"), '"59s"', "keys would die between two fetches"),
        (changed(refresh="1h", keys_hard_age="119m"), '"119m"', "keys would die between two fetches"),
        (
            changed(keys_hard_age="8d"),
            '"8d"',
            "keys that nobody has confirmed for more than a week prove nothing",
        ),
        (
            changed(jwks="file:jwks.json", keys_hard_age="24h"),
            '"keys_hard_age"',
            "`keys_hard_age` has no effect: a file is not fetched",
        ),
    ],
)
def test_sources_that_cannot_be_relied_on_are_refused(
    files: Path, changes: dict[str, object], text: str, message: str
) -> None:
    """Each mistake alone, at its place."""
    assert [(text, message)] == messages(files, changes)


def test_the_mend_can_be_copied(files: Path) -> None:
    """What to write for a private address is said with the address."""
    [problem] = problems(files, changed(jwks="https://10.0.0.5/jwks"))

    assert "add `networks: [10.0.0.5/32]`, or the network that it is in" == problem.mend


@pytest.mark.parametrize(
    "changes",
    [
        changed(jwks=REMOVED),
        changed(jwks=None, jwks_origins=["https://keys.example.org:8443"], jwks_ca="ca.pem"),
        changed(jwks=REMOVED, issuer="http://127.0.0.1:8080/realm"),
        changed(jwks="https://10.0.0.5/jwks", networks=["10.0.0.0/8"]),
        changed(jwks="https://8.8.8.8/jwks"),
        changed(jwks="http://127.0.0.1/jwks"),
        changed(networks=["10.0.0.0/8", "fd00::/8"]),
        changed(refresh="1s", keys_hard_age="1m"),
        changed(refresh="1h", keys_hard_age="7d"),
        changed(jwks="file:jwks.json", refresh="1s"),
        # the same file and networks are for questions, and for where discovery leads
        changed(
            jwks="file:jwks.json",
            jwks_ca="ca.pem",
            networks=["10.0.0.0/8"],
            introspection=ASKED | {"endpoint": "https://10.0.0.5/introspect"},
        ),
        changed(
            jwks=REMOVED,
            issuer="http://localhost:1/a",
            jwks_origins=["https://10.0.0.5"],
            jwks_ca="ca.pem",
            networks=["10.0.0.0/8"],
        ),
    ],
)
def test_sources_that_load(files: Path, changes: dict[str, object]) -> None:
    """Discovery, listed networks and origins, this machine, files."""
    assert [] == warnings(files, changes)

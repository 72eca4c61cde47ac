"""Introspection and gateway keys: what is ambiguous, in the clear, or open to others does not load."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from tests.unit.config.writing import MINIMAL, REMOVED, Authority, messages, private_pem, problems, warnings

if TYPE_CHECKING:
    from pathlib import Path

ISSUER: dict[str, Any] = MINIMAL["identity"]["issuers"][0]  # type: ignore[index]
ASKED: dict[str, Any] = {
    "endpoint": "https://idp.example.org/introspect",
    "client_id": "gateway",
    "authentication": {"private_key_jwt": {"private_key": "own.key"}},
}
PLACE = "identity.issuers.0.introspection"
KEYS = {"file": "keys.jsonl", "pepper": "file:pepper"}


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A directory with everything that is named here."""
    authority = Authority(tmp_path)
    authority.issue("gateway")
    authority.write("own.key", private_pem(ec.generate_private_key(ec.SECP256R1())))
    authority.write("pepper", b"p" * 40)
    authority.write("secret", b"s")
    authority.write("keys.jsonl", b"")
    return tmp_path


def asked(**changes: object) -> dict[str, Any]:
    """A good section, with changes."""
    return {key: value for key, value in (ASKED | changes).items() if value is not REMOVED}


def other(**changes: object) -> dict[str, Any]:
    """A second issuer that is asked about opaque tokens."""
    return ISSUER | {"issuer": "https://other.example.org", "introspection": asked(**changes)}


def first(**changes: object) -> dict[str, Any]:
    """The first one."""
    return ISSUER | {"introspection": asked(**changes)}


@pytest.mark.parametrize(
    "changes",
    [
        {PLACE: ASKED},
        {PLACE: asked(endpoint=REMOVED), "identity.issuers.0.jwks": REMOVED},
        {PLACE: asked(endpoint="http://127.0.0.1:1/introspect")},
        {
            PLACE: asked(
                authentication={"mtls": {"certificate": "gateway.pem", "private_key": "gateway.key"}},
                ca="ca.pem",
            )
        },
        {"identity.issuers": [first(), other(token_prefix="acme_")]},
        {"identity.issuers": [first(token_prefix="a_"), other(token_prefix="b_")]},
        {"identity.keys": KEYS},
        {"identity": {"keys": KEYS}, "roles": {"user": {}}, "routes.0.require": {"token": {"keys": "allow"}}},
    ],
)
def test_what_is_clear_and_safe_loads(files: Path, changes: dict[str, object]) -> None:
    """Without a warning."""
    assert [] == warnings(files, changes)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"identity.issuers": [first(), other()]},
            "opaque tokens without a prefix could be those of `https://idp.example.org` or of this issuer",
        ),
        (
            {"identity.issuers": [first(token_prefix="a"), other(token_prefix="ab")]},
            "a token that begins so could be one of `https://idp.example.org`, whose prefix is `a`",
        ),
        (
            {"identity.issuers": [first(token_prefix="ab"), other(token_prefix="a")]},
            "a token that begins so could be one of `https://idp.example.org`, whose prefix is `ab`",
        ),
        (
            {PLACE: asked(token_prefix="gk_")},
            "gateway keys begin with `gk_`: none is ever shown to an issuer",
        ),
        ({PLACE: asked(token_prefix="g")}, "gateway keys begin with `gk_`: none is ever shown to an issuer"),
        ({PLACE: asked(token_prefix="a b")}, "`a b` is not the begin of a token"),
        (
            {PLACE: asked(endpoint=REMOVED)},
            "nobody knows where to ask: nothing is discovered, as `jwks` is given",
        ),
        (
            {PLACE: asked(endpoint="http://idp.example.org/introspect")},
            "tokens would be sent in the clear, and anybody on the network path could call one active",
        ),
        ({PLACE: asked(cache="11s")}, "a revoked token would be good for as long as this"),
        ({PLACE: asked(timeout="31s")}, "a client would wait this long for an issuer that does not answer"),
        ({PLACE: asked(authentication={})}, "no way to prove who asks"),
        (
            {
                PLACE: asked(
                    authentication={
                        "private_key_jwt": {"private_key": "own.key"},
                        "mtls": {"certificate": "gateway.pem", "private_key": "gateway.key"},
                    }
                )
            },
            "more than one way: private_key_jwt, mtls",
        ),
        (
            {PLACE: asked(authentication={"private_key_jwt": {"private_key": "none.key"}})},
            "there is no file {}/none.key",
        ),
        (
            {PLACE: asked(authentication={"mtls": {"certificate": "gateway.pem", "private_key": "own.key"}})},
            "the private key {}/own.key does not belong to the certificate {}/gateway.pem",
        ),
        ({PLACE: asked(ca="none.pem")}, "there is no file {}/none.pem"),
        (
            {PLACE: asked(authentication={"client_secret": "sesame"})},
            "a secret must not stand in the configuration",
        ),
        ({PLACE: asked(authentication={"client_secret": "file:none"})}, "there is no file {}/none"),
        ({"identity.keys": KEYS | {"pepper": "file:none"}}, "there is no file {}/none"),
        (
            {
                "identity.keys": KEYS,
                "roles": {},
                "routes.0.allow.0": {"name": "a", "networks": ["10.0.0.0/8"]},
            },
            "a gateway key needs a role, and there are none",
        ),
        (
            {"routes.0.require": {"token": {"keys": "allow"}}},
            "gateway keys are allowed here, but there are none",
        ),
        (
            {
                "identity.keys": KEYS,
                "routes.0.require": {"token": {"keys": "allow"}, "authentication": {"acr": ["high"]}},
            },
            "a gateway key says nothing about an authentication: it would be refused",
        ),
        (
            {"identity": {"keys": KEYS}, "routes.0.require": {"token": {}}},
            "a token is demanded, but no issuer is believed",
        ),
        ({"identity.issuers.0.issuer": "key"}, "`key` could be taken for another caller's name"),
    ],
)
def test_what_is_not_does_not(files: Path, changes: dict[str, object], expected: str) -> None:
    """One finding, at its place, with a mend."""
    found = problems(files, changes)

    assert [expected.replace("{}", str(files))] == [problem.message for problem in found]
    assert all(problem.mend for problem in found)


def test_a_shared_secret_is_warned_of(files: Path) -> None:
    """It is taken, and the better ways are named."""
    changes = {PLACE: asked(authentication={"client_secret": "file:secret"})}

    assert ["a shared secret goes to the issuer with every question"] == warnings(files, changes)


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        (0o600, []),
        (0o640, []),
        (0o604, ["every user of this machine may open {}/keys.jsonl"]),
    ],
)
def test_a_file_that_others_may_read(files: Path, mode: int, expected: list[str]) -> None:
    """Is warned of: digests under a pepper are no keys, but names of callers."""
    (files / "keys.jsonl").chmod(mode)

    assert [each.replace("{}", str(files)) for each in expected] == warnings(files, {"identity.keys": KEYS})


@pytest.mark.parametrize("mode", [0o620, 0o602])
def test_a_file_that_others_may_write(files: Path, mode: int) -> None:
    """Does not load: who writes it gives roles."""
    (files / "keys.jsonl").chmod(mode)
    message = f"others than its owner may write {files}/keys.jsonl, and so give roles to any key"

    assert [message] == [each for _, each in messages(files, {"identity.keys": KEYS})]


def test_a_pepper_that_others_may_read(files: Path) -> None:
    """Is warned of, as every secret is."""
    (files / "pepper").chmod(0o604)

    assert [f"every user of this machine may open {files}/pepper"] == warnings(files, {"identity.keys": KEYS})


def test_a_file_that_is_not_there_yet(files: Path) -> None:
    """Is warned of: the first key makes it."""
    (files / "keys.jsonl").unlink()
    message = f"there is no file {files}/keys.jsonl: there are no gateway keys yet"

    assert [message] == warnings(files, {"identity.keys": KEYS})


def test_a_file_that_cannot_be_looked_at(files: Path) -> None:
    """Does not load."""
    changes = {"identity.keys": KEYS | {"file": "pepper/keys.jsonl"}}
    message = f"{files}/pepper/keys.jsonl cannot be read: not a directory"

    assert [message] == [each for _, each in messages(files, changes)]

"""Introspection and gateway keys, compiled: what asks whom, how it proves itself, and what can be wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jwt
import pytest
from structlog.testing import capture_logs

from gateway.config.errors import ConfigurationError
from gateway.credentials.discovery import Metadata
from gateway.credentials.gateway_keys import KeyFile
from gateway.credentials.introspection import IntrospectionClient
from gateway.credentials.key_records import write_records
from tests.unit.app.settings import FULL, line_of
from tests.unit.credentials.test_gateway_keys import records

if TYPE_CHECKING:
    from gateway.app.compilation import Compilation
    from tests.unit.app.settings import Directory

FIRST = "audience: model-gateway, algorithms: [ES256]}"
KEYS = "identity:\n  keys: {file: keys.jsonl, pepper: file:pepper}\n"
PROOF = "private_key_jwt: {private_key: certs/assertions.key, key_id: k}"


def asking(proof: str, more: str = "endpoint: https://127.0.0.1:9/introspect, ") -> str:
    """A configuration whose first issuer is asked about opaque tokens."""
    section = f"introspection: {{{more}client_id: gateway, authentication: {{{proof}}}, token_prefix: acme_}}"
    return FULL.replace(FIRST, f"{FIRST[:-1]}, {section}}}", 1)


def client(made: Compilation) -> IntrospectionClient:
    """The one that asks."""
    [found] = [each for each in made.key_sets if isinstance(each, IntrospectionClient)]
    return found


async def test_an_issuer_is_asked_at_its_endpoint(directory: Directory) -> None:
    """With an assertion for that issuer, about tokens with its prefix."""
    made = directory.compile(asking(PROOF))
    one = client(made)
    form = one._authentication.form()
    claims = jwt.decode(form["client_assertion"], options={"verify_signature": False})
    entry = made.identification.opaque.find(b"acme_token")

    assert "https://127.0.0.1:9/introspect" == one._endpoint()
    assert ("gateway", "https://idp.example.org") == (claims["iss"], claims["aud"])
    assert "k" == jwt.get_unverified_header(form["client_assertion"])["kid"]
    assert entry is not None
    assert ("https://idp.example.org", 10.0) == (entry.issuer.issuer, entry.belief)
    assert made.identification.opaque.find(b"token") is None


async def test_an_endpoint_can_be_discovered(directory: Directory) -> None:
    """With the issuer's keys; not known before those are. An assertion can name it as its audience."""
    text = asking(PROOF.replace("key_id: k", "audience: endpoint"), "").replace(
        'jwks: "file:issuer/jwks.json", ', ""
    )
    made = directory.compile(text)
    one = client(made)
    source: Any = made.key_sets[0].source  # type: ignore[union-attr]

    def audience() -> str:
        options = {"verify_signature": False}
        aud: str = jwt.decode(one._authentication.form()["client_assertion"], options=options)["aud"]
        return aud

    assert (None, "https://idp.example.org") == (one._endpoint(), audience())
    source.metadata = Metadata("i", "https://i/jwks", "https://i/introspect", None)
    assert ("https://i/introspect", "https://i/introspect") == (one._endpoint(), audience())


async def test_the_other_ways_to_prove_who_asks(directory: Directory) -> None:
    """By a certificate, which the connection shows; by a secret, which the field shows."""
    mtls = "mtls: {certificate: certs/to-backend.pem, private_key: certs/to-backend.key}"
    by_certificate, by_secret = (
        client(directory.compile(asking(each)))._authentication
        for each in (mtls, "client_secret: file:secret")
    )

    assert ({"client_id": "gateway"}, {}) == (by_certificate.form(), by_certificate.headers())
    assert ({}, {"Authorization": "Basic Z2F0ZXdheTpjb3JyZWN0LWhvcnNl"}) == (
        by_secret.form(),
        by_secret.headers(),
    )


def test_files_that_change_while_they_are_read(directory: Directory) -> None:
    """Are findings like any other."""
    text = asking(PROOF)
    found = directory.findings(text, lambda: directory.write("certs/assertions.key", b"x"))

    assert line_of(text, "introspection") in {line for line, _ in found}


def test_gateway_keys_are_read(directory: Directory) -> None:
    """From the file, under the pepper, with the configuration's roles."""
    directory.write("pepper", b"p" * 32)
    write_records(directory.path / "keys.jsonl", records("a"))
    made = directory.compile(
        FULL.replace("identity:\n", KEYS).replace("  researcher", "  batch: {}\n  researcher")
    )
    keys = made.identification.keys

    assert isinstance(keys, KeyFile)
    assert (1, True) == (len(keys), keys in made.key_sets)
    with capture_logs() as lines:
        write_records(directory.path / "keys.jsonl", [])
        keys.reload()
        directory.write("keys.jsonl", b"{")
        keys.reload()
    assert [("gateway-keys-changed", "info"), ("gateway-keys-broken", "error")] == [
        (each["event"], each["log_level"]) for each in lines
    ]


@pytest.mark.parametrize(
    ("pepper", "keys", "part", "message"),
    [
        (b"short", b"", "pepper:", "fewer than 32 characters"),
        (b"p" * 32, b"{", "keys.jsonl", "line 1 is no gateway key"),
    ],
)
def test_keys_that_cannot_be_used(
    directory: Directory, pepper: bytes, keys: bytes, part: str, message: str
) -> None:
    """Are found at their place."""
    directory.write("pepper", pepper)
    directory.write("keys.jsonl", keys)
    text = FULL.replace("identity:\n", KEYS)
    [(line, found)] = directory.findings(text)

    assert line_of(text, part) == line
    assert message in found


def test_a_secret_that_is_not_there_has_its_own_mend(directory: Directory) -> None:
    """A variable is to be set, wherever it is named: not the files of the section around it corrected."""
    texts = [
        asking("client_secret: env:GATEWAY_NOWHERE"),
        FULL.replace("identity:\n", KEYS.replace("file:pepper", "env:GATEWAY_NOWHERE")),
        FULL.replace("credential: file:secret", "credential: env:GATEWAY_NOWHERE", 1),
    ]
    found = []
    for text in texts:
        with pytest.raises(ConfigurationError) as raised:
            directory.compile(text)
        found += [(problem.message, problem.mend[:29]) for problem in raised.value.problems]

    missing = "the environment variable GATEWAY_NOWHERE is not set"
    assert [(missing, "set it before the command sta")] * 3 == found


def test_a_failing_issuer_is_logged(directory: Directory) -> None:
    """By name and word."""
    one = client(directory.compile(asking(PROOF)))
    with capture_logs() as lines:
        one._report("timeout")
        one._report("timeout")

    assert [("introspection-failed", "https://idp.example.org", "timeout")] == [
        (each["event"], each["issuer"], each["why"]) for each in lines
    ]

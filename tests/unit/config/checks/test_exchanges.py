"""Tokens for backends come from servers that can be believed, and nothing else takes their place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.config.writing import Authority, messages

if TYPE_CHECKING:
    from pathlib import Path

EXCHANGE: dict[str, Any] = {
    "endpoint": "https://as.example.org/token",
    "server": "https://as.example.org",
    "client_id": "gateway",
    "authentication": {"client_secret": "file:secret"},
    "audience": "urn:backend:local",
}


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A directory with a secret."""
    Authority(tmp_path).write("secret", b"correct-horse\n")
    return tmp_path


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"backends.local.exchange": EXCHANGE}, []),
        (
            {"backends.local.exchange": EXCHANGE, "backends.local.credential": "file:secret"},
            [
                (
                    '"credential"',
                    "the backend would be shown two bearer tokens: its `credential` and the exchanged one",
                )
            ],
        ),
        (
            {"backends.local.exchange": EXCHANGE, "backends.local.audience": "x"},
            [('"audience"', "`audience` has no effect: this backend gets a token, and no assertion")],
        ),
        (
            {"backends.local.exchange": {**EXCHANGE, "endpoint": "http://as.example.org/token"}},
            [('"http://as.example.org/token"', "callers' tokens would be sent in the clear")],
        ),
        (
            {"backends.local.exchange": {**EXCHANGE, "timeout": "31s"}},
            [('"31s"', "a client would wait this long for a server that does not answer")],
        ),
        (
            {"backends.local.exchange": {**EXCHANGE, "endpoint": "https://10.0.0.9/token"}},
            [('"https://10.0.0.9/token"', "10.0.0.9 is no public address, and no `networks` are listed")],
        ),
        (
            {
                "backends.local.exchange": {
                    **EXCHANGE,
                    "endpoint": "http://[::1]/token",
                    "networks": ["::1/128"],
                }
            },
            [('"networks"', "`networks` has no effect: nothing is fetched from another machine")],
        ),
        (
            {"backends.local.exchange": {**EXCHANGE, "endpoint": "http://[::1]/token", "ca": "ca.pem"}},
            [('"ca"', "`ca` has no effect: nothing is fetched by `https://`")],
        ),
        (
            {"backends.local.exchange": {**EXCHANGE, "ca": "secret"}},
            [('"secret"', "{}/secret holds no readable certificate")],
        ),
        (
            {"backends.local.exchange": {**EXCHANGE, "authentication": {}}},
            [('"authentication"', "no way to prove who asks")],
        ),
    ],
)
def test_exchanges_are_checked(files: Path, changes: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    """One bearer token per request, over a line that nobody reads, with one way to prove who asks."""
    assert [(text, message.format(files)) for text, message in expected] == messages(files, changes)

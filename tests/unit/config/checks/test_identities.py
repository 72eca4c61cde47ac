"""Somebody can be identified, and every role can be had."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.unit.config.writing import MINIMAL, REMOVED, Authority, messages, warnings

if TYPE_CHECKING:
    from pathlib import Path

UNREACHABLE = "nobody can have the role `user`: the credentials that it looks at are never asked for"
ISSUER = MINIMAL["identity"]["issuers"][0]  # type: ignore[index]
TLS = {"certificate": "gateway.pem", "private_key": "gateway.key", "client_ca": "ca.pem"}


ORIGIN: dict[str, object] = {"server.origins": ["https://gateway.example.org"]}


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A directory with an authority and a certificate."""
    Authority(tmp_path).issue("gateway")
    return tmp_path


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"identity.issuers": [ISSUER, ISSUER]},
            [
                (
                    '"https://idp.example.org"',
                    "`https://idp.example.org` stands twice: its tokens could be judged either way",
                )
            ],
        ),
        (
            {"identity.issuers.0.issuer": "a|b"},
            [('"a|b"', "`a|b` could be taken for another caller's name")],
        ),
        (
            {"identity.issuers.0.jwks": "http://idp/jwks"},
            [('"http://idp/jwks"', "whoever sits on the network path could replace these keys")],
        ),
        ({"identity.issuers.0.skew": "61s"}, [('"61s"', "clocks this far apart make expired tokens valid")]),
        (
            {"identity.issuers.0.jwks": "http://127.0.0.1/jwks", "identity.issuers.0.jwks_ca": "ca.pem"},
            [('"jwks_ca"', "`jwks_ca` has no effect: nothing is fetched by `https://`")],
        ),
        (
            {"identity.proofs": {}},
            [
                (
                    '"proofs"',
                    "no origin is named: nobody can tell which URLs proofs of possession are made for",
                )
            ],
        ),
        (
            ORIGIN | {"identity": {"proofs": {}, "anonymous": {"roles": ["user"]}}},
            [('"proofs"', "`proofs` has no effect: no issuer of tokens is believed")],
        ),
        (
            ORIGIN | {"identity.proofs": {"max_age": "301s"}},
            [('"301s"', "a proof that somebody copied would be good for this long elsewhere")],
        ),
        (
            ORIGIN | {"identity.proofs": {"ahead": "61s"}},
            [('"61s"', "a proof that somebody copied would be good for this long elsewhere")],
        ),
        (
            ORIGIN | {"identity.proofs": {"nonce": "required", "nonce_lifetime": "2h"}},
            [('"2h"', "a proof that somebody copied would be good for this long elsewhere")],
        ),
        (
            ORIGIN | {"identity.proofs": {"nonce_lifetime": "30s"}},
            [('"nonce_lifetime"', "`nonce_lifetime` has no effect: no nonces are made")],
        ),
        (
            ORIGIN | {"identity.proofs": {"nonce": "required"}, "state": {"url": "redis://127.0.0.1"}},
            [
                (
                    '"required"',
                    "anybody could make nonces: their key comes from the store's password, and it has none",
                )
            ],
        ),
        ({"roles.user": {}}, [('"user"', "nothing can match the role `user`")]),
        ({"roles.user": {"groups": []}}, [('"user"', "nothing can match the role `user`")]),
        ({"roles.user": {"certificates": ["CN=a"]}}, [('"user"', UNREACHABLE)]),
        (
            {"roles.user": {"roles_from_token": ["a"]}},
            [('"roles_from_token"', "no issuer has a `roles_claim`")],
        ),
        (
            {"identity": REMOVED, "roles.user": {"spiffe": ["spiffe://a/b"]}},
            [
                (
                    "{",
                    "nobody can be identified: there are no issuers, and no client certificates are asked for",
                ),
                ('"user"', UNREACHABLE),
            ],
        ),
        (
            {"identity": {"anonymous": {"roles": ["public"]}}},
            [('"user"', UNREACHABLE)],
        ),
        (
            {"identity.issuers": [], "server.tls": {**TLS, "client_certificate": "optional"}},
            [('"user"', UNREACHABLE)],
        ),
    ],
)
def test_what_can_never_be_proven_is_refused(
    files: Path, changes: dict[str, object], expected: list[tuple[str, str]]
) -> None:
    """Issuers that contradict each other and roles that nobody can have are refused."""
    assert expected == messages(files, changes)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"roles.user": {"spiffe": ["spiffe://a/b"]}}, []),
        ({"roles.user": {"claims": {"department": ["a", 1]}}}, []),
        ({"roles.user": {"roles_from_token": ["a"]}, "identity.issuers.0.roles_claim": "roles"}, []),
        ({"identity.issuers.0.skew": "60s", "identity.issuers.0.jwks_ca": "ca.pem"}, []),
        (
            {
                "identity": {"issuers": []},
                "server.tls": TLS,
                "roles.user": {"certificates": ["batch.example.org"]},
            },
            [],
        ),
        ({"identity": {"issuers": []}, "server.tls": TLS, "roles.user": {"spiffe": ["spiffe://a/**"]}}, []),
        (
            {"identity": {"anonymous": {"roles": ["user"]}}, "roles.user": {}},
            ["callers without any credential are let in"],
        ),
    ],
)
def test_roles_that_somebody_can_have_load(
    files: Path, changes: dict[str, object], expected: list[str]
) -> None:
    """Tokens, certificates, or being anonymous: any of them suffices; the last is warned of."""
    assert expected == warnings(files, changes)

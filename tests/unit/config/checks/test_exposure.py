"""Nothing crosses a network in the clear, nothing is open to anybody, unless it is said loudly."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.unit.config.writing import Authority, messages, warnings

if TYPE_CHECKING:
    from pathlib import Path

SEALED = {"secret": "env:SECRET"}
TLS = {"certificate": "gateway.pem", "private_key": "gateway.key"}


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A directory with an authority, a certificate, and a token."""
    authority = Authority(tmp_path)
    authority.issue("gateway")
    authority.revoke()
    authority.write("token", b"secret\n")
    return tmp_path


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"server.listen": "0.0.0.0:8443"}, ('"0.0.0.0:8443"', "no TLS on a network address")),
        (
            {"server.listen": "0.0.0.0:8443", "server.tls": TLS},
            ('"tls"', "client certificates are asked for, but no authority for them is named"),
        ),
        (
            {"server.tls": {**TLS, "client_certificate": "none", "client_ca": "ca.pem"}},
            ('"ca.pem"', "`client_ca` has no effect: client certificates are not asked for"),
        ),
        (
            {"server.tls": {**TLS, "client_certificate": "none", "revocation_list": "clients.crl"}},
            ('"clients.crl"', "`revocation_list` has no effect: client certificates are not asked for"),
        ),
        (
            {"server.listen": "127.0.0.1:8443", "admin": {"listen": "127.0.0.1:8443"}},
            ('"127.0.0.1:8443"', "clients and operators have the same address"),
        ),
        (
            {"server.origins": ["https://gateway.example.org", "http://gateway.example.org"]},
            (
                '"http://gateway.example.org"',
                "clients would reach the gateway in the clear under this origin",
            ),
        ),
        (
            {"admin": {"listen": "0.0.0.0:9443", "tls": TLS}},
            ('"0.0.0.0:9443"', "operators need no token on a network address"),
        ),
        (
            {"state.url": "redis://redis:6379/0"},
            ('"redis://redis:6379/0"', "limits and identities cross a network in the clear"),
        ),
        (
            {
                "server": {
                    "listen": "127.0.0.1:0",
                    "tls": {**TLS, "client_ca": "ca.pem", "revocation_grace": "1h"},
                }
            },
            ('"revocation_grace"', "`revocation_grace` has no effect without `revocation_list`"),
        ),
        (
            {
                "server": {"listen": "127.0.0.1:0", "tls": {**TLS, "revocation_list": "clients.crl"}},
                "identity.trust_domains": {"example.org": {"bundle": "file:ca.pem"}},
            },
            (
                '"revocation_list"',
                "`revocation_list` has no effect without `client_ca`: trust domains have their own",
            ),
        ),
        (
            {"state.url": "rediss://redis/0"},
            ('"rediss://redis/0"', "no authority is named that could verify the server"),
        ),
        (
            {"state": {"url": "redis://127.0.0.1/0", "tls": {"ca": "ca.pem"}}},
            ('"tls"', "`tls` has no effect with a `redis:` URL"),
        ),
        (
            {"state.url": "redis+sentinel://127.0.0.1,s2/m"},
            (
                '"redis+sentinel://127.0.0.1,s2/m"',
                "limits and identities cross a network in the clear",
            ),
        ),
        (
            {"state.url": "redis+cluster://127.0.0.1,n2"},
            ('"redis+cluster://127.0.0.1,n2"', "limits and identities cross a network in the clear"),
        ),
        (
            {"state.url": "rediss+sentinel://s1/m"},
            ('"rediss+sentinel://s1/m"', "no authority is named that could verify the server"),
        ),
        (
            {"state": {"url": "redis://127.0.0.1/0", "sentinel_password": "file:token"}},
            ('"sentinel_password"', "`sentinel_password` has no effect with a `redis:` URL"),
        ),
        ({"state.password": "file:token"}, ('"password"', "`password` has no effect with `memory://`")),
        (
            {"backends.local.endpoints": ["http://10.0.0.1:8000"]},
            ('"http://10.0.0.1:8000"', "prompts and answers cross a network in the clear"),
        ),
        (
            {"backends.local.endpoints": ["https://10.0.0.1:8000"]},
            ('"https://10.0.0.1:8000"', "no authority is named that could verify this endpoint"),
        ),
        (
            {"backends.local.endpoints": ["unix:/a", "unix:/a"]},
            ('"unix:/a"', "this endpoint stands twice"),
        ),
        (
            {"backends.local": {"endpoints": ["http://127.0.0.1:1"], "networks": ["10.0.0.0/8"]}},
            (
                '"http://127.0.0.1:1"',
                "127.0.0.1 lies in none of the backend's networks: it would never be connected to",
            ),
        ),
        (
            {"backends.local.tls": {"ca": "ca.pem"}},
            ('"tls"', "`tls` has no effect: no endpoint is `https://`"),
        ),
        (
            {
                "backends.local": {
                    "endpoints": ["https://10.0.0.1"],
                    "tls": {"ca": "ca.pem", "identity": "spiffe://a/b", "server_name": "c"},
                }
            },
            ('"c"', "`identity` and `server_name` are two different proofs"),
        ),
    ],
)
def test_what_is_exposed_is_refused(
    files: Path, changes: dict[str, object], expected: tuple[str, str]
) -> None:
    """Each exposure is refused at the setting that causes it, and it is all that is wrong."""
    assert [expected] == messages(files, changes)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        ({"server": {"listen": "0.0.0.0:8443", "tls": {**TLS, "client_ca": "ca.pem"}}}, []),
        ({"server": {"listen": "0.0.0.0:8443", "tls": {**TLS, "client_certificate": "none"}}}, []),
        (
            {
                "server": {"listen": "0.0.0.0:8443", "tls": TLS},
                "identity.trust_domains": {"example.org": {"bundle": "file:ca.pem"}},
            },
            [],
        ),
        ({"server.listen": "unix:/run/g.sock", "admin": {"listen": "unix:/run/a.sock"}}, []),
        ({"admin": {"listen": "127.0.0.1:0"}}, []),
        ({"admin": {"listen": "0.0.0.0:9443", "token": "file:token", "tls": TLS}}, []),
        (
            {"admin": {"listen": "0.0.0.0:9443", "token": "env:TOKEN"}},
            ["operators and their token cross a network in the clear"],
        ),
        (
            {
                "state": {"url": "rediss://r/0", "password": "file:token", "tls": {"ca": "ca.pem"}},
                "revocations": SEALED,
            },
            [],
        ),
        ({"state": {"url": "redis://127.0.0.1/0", "password": "env:PASSWORD"}, "revocations": SEALED}, []),
        (
            {
                "state": {
                    "url": "rediss+sentinel://gateway@s1,s2,s3/m",
                    "password": "file:token",
                    "sentinel_password": "file:token",
                    "tls": {"ca": "ca.pem"},
                },
                "revocations": SEALED,
            },
            [],
        ),
        ({"state": {"url": "redis+sentinel://127.0.0.1,[::1]/m"}, "revocations": SEALED}, []),
        (
            {
                "backends.local": {
                    "endpoints": ["https://10.0.0.1"],
                    "tls": {"ca": "ca.pem"},
                    "networks": ["10.0.0.0/8"],
                }
            },
            [],
        ),
        (
            {"backends.local": {"endpoints": ["https://model"], "tls": {"ca": "ca.pem", "server_name": "m"}}},
            ["this name may lead to any address"],
        ),
        (
            {"backends.local.endpoints": ["http://localhost:8000"]},
            ["this backend is not verified: whoever listens on that port gets the prompts"],
        ),
        ({"traces": {"endpoint": "http://127.0.0.1:4318/v1/traces"}}, []),
        (
            {"traces": {"endpoint": "http://collector:4318/v1/traces"}},
            ["traces cross a network in the clear, and they name identities"],
        ),
    ],
)
def test_what_is_safe_loads_and_what_is_doubtful_warns(
    files: Path, changes: dict[str, object], expected: list[str]
) -> None:
    """A configuration that loads says aloud what an operator should know."""
    assert expected == warnings(files, changes)

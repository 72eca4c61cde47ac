"""Trust domains: bundles that cannot be replaced on the way, and somebody who can prove an identity."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.config.writing import DAY, MOMENT, Authority, messages, warnings

if TYPE_CHECKING:
    from pathlib import Path

TLS = {"certificate": "gateway.pem", "private_key": "gateway.key"}
SERVER = {"listen": "127.0.0.1:0", "tls": TLS}
URL = "https://spiffe.example.org/bundle"
UNPROVABLE = "nobody can prove an identity of `example.org`: no certificates, no audience for tokens"


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A directory with an authority, its list, and a certificate."""
    authority = Authority(tmp_path)
    authority.issue("gateway")
    authority.revoke("fresh.crl")
    authority.revoke("stale.crl", begins=MOMENT - 2 * DAY, ends=MOMENT - DAY / 24)
    return tmp_path


def said(files: Path, domain: dict[str, Any], **more: Any) -> list[str]:
    """What is wrong with one trust domain."""
    changes = {"server": SERVER, "identity.trust_domains": {"example.org": domain}} | more
    return [message.replace(f"{files}/", "") for _, message in messages(files, changes)]


@pytest.mark.parametrize(
    ("domain", "expected"),
    [
        ({"bundle": "file:ca.pem"}, []),
        (
            {
                "bundle": URL,
                "bundle_ca": "ca.pem",
                "networks": ["10.0.0.0/8"],
                "refresh": "1m",
                "hard_age": "1h",
            },
            [],
        ),
        ({"bundle": "http://127.0.0.1:8443/bundle"}, []),
        ({"bundle": "https://10.0.0.1/", "networks": ["10.0.0.0/8"]}, []),
        ({"bundle": "file:none.json"}, ["there is no file none.json"]),
        ({"bundle": "http://a.example/"}, ["whoever sits on the network path could replace this bundle"]),
        ({"bundle": URL, "bundle_ca": "none.pem"}, ["there is no file none.pem"]),
        (
            {"bundle": "file:ca.pem", "bundle_ca": "ca.pem"},
            ["`bundle_ca` has no effect: nothing is fetched by `https://`"],
        ),
        (
            {"bundle": "file:ca.pem", "networks": ["10.0.0.0/8"]},
            ["`networks` has no effect: nothing is fetched from another machine"],
        ),
        (
            {"bundle": "https://127.0.0.1/", "networks": ["10.0.0.0/8"]},
            ["`networks` has no effect: nothing is fetched from another machine"],
        ),
        ({"bundle": "https://10.0.0.1/", "networks": ["10.1.0.0/16"]}, ["10.0.0.1 is in none of `networks`"]),
        ({"bundle": "https://10.0.0.1/"}, ["10.0.0.1 is no public address, and no `networks` are listed"]),
        ({"bundle": "https://9.9.9.9/"}, []),
        (
            {"bundle": URL, "refresh": "10ms"},
            ["a bundle is looked at once a second at most, and once an hour at least"],
        ),
        (
            {"bundle": URL, "refresh": "2h"},
            ["a bundle is looked at once a second at most, and once an hour at least"],
        ),
        ({"bundle": URL, "skew": "2m"}, ["clocks this far apart make expired tokens valid"]),
        ({"bundle": "file:ca.pem", "hard_age": "1h"}, ["`hard_age` has no effect: a file is not fetched"]),
        (
            {"bundle": URL, "hard_age": "8d"},
            ["a bundle that nobody has confirmed for more than a week proves nothing"],
        ),
        ({"bundle": URL, "refresh": "1h", "hard_age": "1h"}, ["the bundle would die between two fetches"]),
        ({"bundle": "file:ca.pem", "revocation_list": "fresh.crl", "revocation_grace": "1h"}, []),
        (
            {"bundle": "file:ca.pem", "revocation_list": "stale.crl"},
            ["the revocation list stale.crl expired on 2027-01-15 07:00 UTC"],
        ),
        (
            {"bundle": "file:ca.pem", "revocation_grace": "1h"},
            ["`revocation_grace` has no effect without `revocation_list`"],
        ),
    ],
)
def test_each_fault_is_named(files: Path, domain: dict[str, Any], expected: list[str]) -> None:
    """At the setting that causes it, and nothing else is said."""
    assert expected == said(files, domain)


def test_a_stale_list_in_its_grace_is_a_warning(files: Path) -> None:
    """The gateway runs, and says what will hurt soon."""
    domain = {"bundle": "file:ca.pem", "revocation_list": "stale.crl", "revocation_grace": "2h"}
    changes = {"server": SERVER, "identity.trust_domains": {"example.org": domain}}

    assert [] == said(files, domain)
    assert ["the revocation list stale.crl expired on 2027-01-15 07:00 UTC"] == [
        message.replace(f"{files}/", "") for message in warnings(files, changes)
    ]


def test_somebody_can_prove_an_identity(files: Path) -> None:
    """By certificate, or by token for an audience: the domain's own, or the gateway's origin."""
    bundle = {"bundle": "file:ca.pem"}
    plain: dict[str, Any] = {"server": {"listen": "127.0.0.1:0"}}
    silent: dict[str, Any] = {"server": {**SERVER, "tls": {**TLS, "client_certificate": "none"}}}

    assert [UNPROVABLE] == said(files, bundle, **plain)
    assert [UNPROVABLE] == said(files, bundle, **silent)
    assert [] == said(files, {**bundle, "audience": "gateway"}, **plain)
    assert [] == said(
        files, bundle, server={"listen": "127.0.0.1:0", "origins": ["https://gateway.example.org"]}
    )


def test_lists_of_one_authority_do_not_count_for_another(files: Path) -> None:
    """Who revokes on the clients' list alone is told that workloads stay; with both lists nothing is said."""
    server = SERVER | {"tls": TLS | {"client_ca": "ca.pem", "revocation_list": "fresh.crl"}}
    domain = {"bundle": "file:ca.pem"}
    changes = {"server": server, "identity.trust_domains": {"example.org": domain}}

    assert [
        "certificates of `example.org` are not on `server.tls.revocation_list`: no list revokes them"
    ] == warnings(files, changes)
    changes["identity.trust_domains"] = {"example.org": {**domain, "revocation_list": "fresh.crl"}}
    assert [] == warnings(files, changes)


def test_a_trust_domain_alone_identifies_callers(files: Path) -> None:
    """No issuer is needed, and a role by SPIFFE ID can be had."""
    changes = {
        "server": SERVER,
        "identity": {"trust_domains": {"example.org": {"bundle": "file:ca.pem"}}},
        "roles.user": {"spiffe": ["spiffe://example.org/a"]},
    }

    assert [] == messages(files, changes)


@pytest.mark.parametrize("name", ["Example.org", "spiffe://example.org", "example.org/a", "", "a" * 256])
def test_names_of_trust_domains(files: Path, name: str) -> None:
    """The name alone, in its one spelling."""
    [found] = said_about(files, name)

    assert "is no name of a trust domain" in found


def said_about(files: Path, name: str) -> list[str]:
    """What is wrong with a domain of this name."""
    changes = {"server": SERVER, "identity.trust_domains": {name: {"bundle": "file:ca.pem"}}}
    return [message for _, message in messages(files, changes)]

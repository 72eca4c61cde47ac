"""What strangers can read of the gateway, and no more than that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from gateway.app.discovery import documents, metadata_url, proof_algorithms
from gateway.core.route import WELL_KNOWN_METADATA
from tests.unit.app.settings import FULL

if TYPE_CHECKING:
    from tests.unit.app.settings import Directory

ORIGIN = "https://gateway.example.org"
KNOWN = FULL.replace(
    "  listen: 127.0.0.1:0\n  tls:",
    f"  listen: 127.0.0.1:0\n  origins: ['{ORIGIN}', 'https://other.example.org:8443']\n  tls:",
    1,
)


def metadata(directory: Directory, text: str = KNOWN, algorithms: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return what a configuration publishes."""
    [(path, document)] = documents(directory.compile(text).settings, algorithms).items()
    assert WELL_KNOWN_METADATA == path
    assert document.headers == b"Content-Type: application/json\r\nCache-Control: public, max-age=3600\r\n"
    return dict(msgspec.json.decode(document.body))


def test_what_is_published(directory: Directory) -> None:
    """RFC 9728, section 2: the first origin byte for byte, the issuers, how tokens are shown; no scope."""
    assert metadata(directory) == {
        "resource": ORIGIN,
        "authorization_servers": ["https://idp.example.org", "https://other.example.org"],
        "bearer_methods_supported": ["header"],
        "tls_client_certificate_bound_access_tokens": True,
        "dpop_bound_access_tokens_required": False,
    }


def test_nothing_of_routes_is_published(directory: Directory) -> None:
    """Names, paths, scopes, models, roles and limits of routes are for callers, not for strangers."""
    [document] = documents(directory.compile(KNOWN).settings).values()

    for word in (b"models:chat", b"/v1/", b"researcher", b"llama", b"chat"):
        assert word not in document.body


def test_what_operators_add(directory: Directory) -> None:
    """Scopes, a name and a page are published if the configuration lists them for that."""
    added = (
        "  metadata: {name: Models, documentation: 'https://docs.example.org/api', scopes: ['models:chat']}\n"
    )
    read = metadata(directory, KNOWN.replace("  tls:", added + "  tls:", 1))

    assert ("Models", "https://docs.example.org/api") == (
        read["resource_name"],
        read["resource_documentation"],
    )
    assert ["models:chat"] == read["scopes_supported"]


def test_proofs_of_possession(directory: Directory) -> None:
    """Algorithms are named; "required" only where every route demands binding and no certificate could do."""
    algorithms = ("ES256", "EdDSA")
    read = metadata(directory, algorithms=algorithms)

    assert list(algorithms) == read["dpop_signing_alg_values_supported"]
    assert read["dpop_bound_access_tokens_required"] is False

    settings = directory.compile(KNOWN).settings
    tls = settings.server.tls
    assert tls is not None
    server = settings.server.model_copy(update={"tls": tls.model_copy(update={"client_certificate": "none"})})
    bound = [route for route in settings.routes if route.require.token and route.require.token.bound]
    for routes, expected in ((bound, True), (settings.routes, False)):
        changed = settings.model_copy(update={"server": server, "routes": tuple(routes)})
        [document] = documents(changed, algorithms).values()
        read = msgspec.json.decode(document.body)
        assert expected is read["dpop_bound_access_tokens_required"]
        assert read["tls_client_certificate_bound_access_tokens"] is False


@pytest.mark.parametrize(
    ("bound", "expected"), [(("key", "key"), True), (("key", "either"), False), (("key", ""), False)]
)
def test_proofs_are_required_where_every_route_demands_a_key(
    directory: Directory, bound: tuple[str, str], expected: bool
) -> None:
    """Then no certificate could do, though one is asked for."""
    settings = directory.compile(KNOWN).settings
    route = settings.routes[0]
    assert route.require.token is not None
    routes = tuple(
        route.model_copy(
            update={
                "require": route.require.model_copy(
                    update={"token": route.require.token.model_copy(update={"bound": each})}
                )
            }
        )
        for each in bound
    )
    changed = settings.model_copy(update={"routes": routes})
    [document] = documents(changed, proof_algorithms(changed)).values()
    read = msgspec.json.decode(document.body)

    assert expected is read["dpop_bound_access_tokens_required"]
    assert ["ES256", "EdDSA", "Ed25519"] == read["dpop_signing_alg_values_supported"]


def test_issuers_that_nobody_can_look_up_are_left_out(directory: Directory) -> None:
    """`authorization_servers` holds URLs of https (RFC 8414, section 2); a list without entries is left out."""
    text = KNOWN.replace("issuer: https://idp.example.org", "issuer: local-issuer").replace(
        "issuer: https://other.example.org", "issuer: http://other.example.org"
    )

    assert "authorization_servers" not in metadata(directory, text)


def test_without_an_origin_there_is_nothing_to_say(directory: Directory) -> None:
    """What a request says of its host never names the gateway."""
    settings = directory.compile().settings

    assert ({}, "") == (documents(settings), metadata_url(settings))
    assert ORIGIN + WELL_KNOWN_METADATA == metadata_url(directory.compile(KNOWN).settings)

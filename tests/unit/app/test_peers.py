"""Who is at the other end of a connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from gateway.app.peers import Peers
from gateway.core.identity import Peer
from gateway.credentials.certificates import Certificates

if TYPE_CHECKING:
    from gateway.core.refusal import Refusal
    from tests.unit.app.settings import Directory


class Secured:
    """A finished handshake."""

    def __init__(self, der: bytes | None) -> None:
        self.der = der

    def getpeercert(self, *, binary_form: bool) -> bytes | None:
        """Return the certificate as it came."""
        assert binary_form
        return self.der

    def version(self) -> str:
        """Return what was negotiated."""
        return "TLSv1.3"


class Transport:
    """A connection."""

    def __init__(self, name: object, secured: Secured | None = None) -> None:
        self.extra = {"peername": name, "ssl_object": secured}

    def get_extra_info(self, name: str) -> object:
        """Return what is known."""
        return self.extra[name]


@pytest.fixture
def refused() -> list[tuple[str, Refusal]]:
    """Certificates that were reported."""
    return []


def peer(transport: Any, refused: list[tuple[str, Refusal]]) -> Peer | None:
    """Return who it is."""
    return Peers(Certificates(), lambda address, refusal: refused.append((address, refusal)))(transport)


def der(directory: Directory, name: str, **options: Any) -> bytes:
    """Return a client certificate as it comes over the wire."""
    issued = directory.pki.issue(name, **options)
    return x509.load_pem_x509_certificate(issued.certificate.read_bytes()).public_bytes(Encoding.DER)


def test_a_plain_connection_proves_an_address(refused: list[tuple[str, Refusal]]) -> None:
    """IPv4, IPv6 with its scope, and a unix socket, which has none."""
    assert Peer("10.0.0.1", 4711) == peer(Transport(("10.0.0.1", 4711)), refused)
    assert Peer("fe80::1", 4711) == peer(Transport(("fe80::1", 4711, 0, 2)), refused)
    assert Peer("unix", 0) == peer(Transport(""), refused)
    assert Peer("unix", 0) == peer(Transport(None), refused)


def test_tls_without_a_certificate(refused: list[tuple[str, Refusal]]) -> None:
    """Encrypted, and nobody."""
    assert Peer("10.0.0.1", 1, tls="TLSv1.3") == peer(Transport(("10.0.0.1", 1), Secured(None)), refused)


def test_tls_with_a_certificate(directory: Directory, refused: list[tuple[str, Refusal]]) -> None:
    """What the handshake proved possession of."""
    data = der(directory, "ada", spiffe="spiffe://example.org/ada")
    found = peer(Transport(("10.0.0.1", 1), Secured(data)), refused)

    assert found is not None
    assert found.certificate is not None
    assert ("spiffe://example.org/ada", "TLSv1.3", []) == (found.certificate.spiffe_id, found.tls, refused)


def test_a_certificate_against_our_rules(directory: Directory, refused: list[tuple[str, Refusal]]) -> None:
    """Two SPIFFE IDs are no identity: no peer, and the operators hear of it."""
    data = der(directory, "two", spiffe=["spiffe://example.org/a", "spiffe://example.org/b"])

    assert peer(Transport(("10.0.0.1", 1), Secured(data)), refused) is None
    assert ["10.0.0.1"] == [address for address, _ in refused]

"""Who is at the other end of a connection."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from gateway.app.peers import Peers, peer_chain
from gateway.core.identity import Peer
from gateway.core.refusal import Reason
from gateway.credentials.certificate_files import read_vouchers
from gateway.credentials.chains import Chains
from gateway.credentials.trust import Trust
from tests.pki import Ca
from tests.unit.app.settings import CLOCK

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.core.refusal import Refusal
    from tests.unit.app.settings import Directory


class Sent:
    """One certificate of a chain, as Python shows it before 3.13."""

    def __init__(self, der: bytes) -> None:
        self.der = der

    def public_bytes(self, form: int) -> bytes:
        """Return DER."""
        assert 2 == form
        return self.der


class Secured:
    """A finished handshake; what else an `SSLObject` has depends on the version of Python."""

    def __init__(self, der: bytes | None, **more: Any) -> None:
        self.der = der
        self.__dict__.update(more)

    def getpeercert(self, *, binary_form: bool) -> bytes | None:
        """Return the certificate as it came."""
        assert binary_form
        return self.der

    def version(self) -> str:
        """Return what was negotiated."""
        return "TLSv1.3"


def old(*chain: bytes) -> dict[str, Any]:
    """The chain under its private name."""
    return {"_sslobj": SimpleNamespace(get_unverified_chain=lambda: [Sent(one) for one in chain] or None)}


def new(*chain: bytes) -> dict[str, Any]:
    """The chain as Python 3.13 shows it."""
    return {"get_unverified_chain": lambda: list(chain)}


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


def peer(transport: Any, refused: list[tuple[str, Refusal]], ca: Path | None = None) -> Peer | None:
    """Return who it is."""
    trust = Trust() if ca is None else Trust(read_vouchers(ca, None, CLOCK))
    return Peers(Chains(trust, CLOCK), lambda address, refusal: refused.append((address, refusal)))(transport)


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
    ca = directory.pki.ca("clients")
    found = peer(Transport(("10.0.0.1", 1), Secured(data, **old(data))), refused, ca)

    assert found is not None
    assert found.certificate is not None
    assert ("spiffe://example.org/ada", "TLSv1.3", []) == (found.certificate.spiffe_id, found.tls, refused)


def test_a_certificate_against_our_rules(directory: Directory, refused: list[tuple[str, Refusal]]) -> None:
    """Two SPIFFE IDs are no identity: no peer, and the operators hear of it."""
    data = der(directory, "two", spiffe=["spiffe://example.org/a", "spiffe://example.org/b"])

    assert peer(Transport(("10.0.0.1", 1), Secured(data)), refused) is None
    assert ["10.0.0.1"] == [address for address, _ in refused]


@pytest.mark.parametrize("show", [old, new])
def test_the_whole_chain_counts(show: Any, refused: list[tuple[str, Refusal]], tmp_path: Path) -> None:
    """A certificate under an intermediate is believed with the chain that its owner sent, and not without."""
    root = Ca("root", CLOCK.wall())
    between = Ca("between", CLOCK.wall(), issuer=root)
    leaf = between.issue("spiffe://example.org/a").der
    ca = tmp_path / "ca.pem"
    ca.write_bytes(root.pem)

    def of(**more: Any) -> Peer | None:
        return peer(Transport(("10.0.0.1", 1), Secured(leaf, **more)), refused, ca)

    assert of(**show(leaf, between.der)) is not None
    for without in ({}, show(), show(between.der, leaf), show(leaf)):
        assert of(**without) is None
    assert {Reason.CERTIFICATE_UNTRUSTED} == {refusal.reason for _, refusal in refused}
    assert 4 == len(refused)


def test_no_certificate_is_no_chain() -> None:
    """Whatever else there is."""
    assert () == peer_chain(cast("Any", Secured(None, **new(b"x"))))

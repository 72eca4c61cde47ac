"""`tls`: real handshakes, in memory, between our contexts."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from gateway.credentials.certificate_files import read_authorities
from gateway.credentials.development import DevelopmentPki
from gateway.credentials.tls import (
    TlsError,
    check_server_identity,
    client_context,
    server_context,
)

from .parts import FixedClock

if TYPE_CHECKING:
    from pathlib import Path

BACKEND = "spiffe://example.org/backend/llama"


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> DevelopmentPki:
    """Authorities and a certificate of each kind."""
    one = DevelopmentPki(tmp_path_factory.mktemp("pki"))
    one.init()
    one.issue("gateway", "server")
    one.issue("llama", "backend", spiffe=BACKEND, dns=["llama.example"])
    one.issue("alice", spiffe="spiffe://example.org/alice")
    one.issue("bob")
    one.issue("old", days=-1)
    one.issue("old-server", "server", days=-1)
    one.issue("impostor", authority="gateway")
    one.revoke(one.directory / "bob.pem")
    return one


def pair(pki: DevelopmentPki, name: str) -> tuple[Path, Path]:
    """Certificate and key of a name."""
    return pki.directory / f"{name}.pem", pki.directory / f"{name}.key"


def listener(pki: DevelopmentPki, **options: object) -> ssl.SSLContext:
    """The gateway's listener; demands client certificates unless told otherwise."""
    authorities = read_authorities(pki.ca("clients"), pki.clock)
    return server_context(*pair(pki, "gateway"), pki.clock, **({"authorities": authorities} | options))


def caller(pki: DevelopmentPki, name: str | None = None) -> ssl.SSLContext:
    """A client's context that trusts the gateway's authority."""
    context = ssl.create_default_context(cafile=pki.ca("gateway"))
    if name:
        context.load_cert_chain(*pair(pki, name))
    return context


def shake(
    server: ssl.SSLContext, client: ssl.SSLContext, host: str | None = "localhost"
) -> tuple[ssl.SSLObject, ssl.SSLObject]:
    """Shake hands until both sides are done; raises what either side raises."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (
        server.wrap_bio(to_server, to_client, server_side=True),
        client.wrap_bio(to_client, to_server, server_hostname=host),
    )
    for _ in range(6):
        for end in ends[::-1]:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return ends


def test_a_good_client_is_let_in(pki: DevelopmentPki) -> None:
    """TLS 1.3, HTTP/1.1 by ALPN, the client's certificate in the server's hand."""
    client = caller(pki, "alice")
    client.set_alpn_protocols(["h2", "http/1.1"])
    server, _ = shake(listener(pki), client)

    assert ("TLSv1.3", "http/1.1") == (server.version(), server.selected_alpn_protocol())
    assert server.getpeercert(binary_form=True)


@pytest.mark.parametrize("name", [None, "old", "impostor", "gateway"])
def test_other_clients_are_not(pki: DevelopmentPki, name: str | None) -> None:
    """No certificate, an expired one, one of another authority, a server's own."""
    with pytest.raises(ssl.SSLError):
        shake(listener(pki), caller(pki, name))


def test_without_authorities_nobody_is_let_in(pki: DevelopmentPki) -> None:
    """As long as no trust domain has sent its bundle, say."""
    with pytest.raises(ssl.SSLError):
        shake(listener(pki, authorities=[]), caller(pki, "alice"))


def test_certificates_may_be_optional_but_not_wrong(pki: DevelopmentPki) -> None:
    """Optional means none or a good one."""
    server, _ = shake(listener(pki, client_certificate="optional"), caller(pki))

    assert not server.getpeercert(binary_form=True)
    with pytest.raises(ssl.SSLError):
        shake(listener(pki, client_certificate="optional"), caller(pki, "impostor"))


def test_without_client_certificates_none_is_asked_for(pki: DevelopmentPki) -> None:
    """A certificate that nobody verifies is never seen."""
    server, _ = shake(listener(pki, client_certificate="none", authorities=[]), caller(pki, "alice"))

    assert server.getpeercert(binary_form=True) is None


def test_old_protocols_are_refused(pki: DevelopmentPki) -> None:
    """The configured minimum holds."""
    old = caller(pki, "alice")
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    server, _ = shake(listener(pki), old)

    assert "TLSv1.2" == server.version()
    assert "ECDHE" in server.cipher()[0]
    with pytest.raises(ssl.SSLError):
        shake(listener(pki, minimum_version="1.3"), old)


def test_sessions_are_not_handed_out(pki: DevelopmentPki) -> None:
    """No tickets, no compression, no renegotiation."""
    context = listener(pki)

    assert 0 == context.num_tickets
    assert context.options & ssl.OP_NO_TICKET
    assert context.options & ssl.OP_NO_COMPRESSION
    assert context.options & ssl.OP_NO_RENEGOTIATION


def test_contradictions_are_refused(pki: DevelopmentPki) -> None:
    """A listener that does not ask for certificates has no authorities."""
    with pytest.raises(TlsError, match="not asked for"):
        listener(pki, client_certificate="none")


def test_broken_files_are_named(pki: DevelopmentPki, tmp_path: Path) -> None:
    """Each error names the file and what is wrong with it."""
    certificate, key = pair(pki, "gateway")
    garbage = tmp_path / "garbage.pem"
    garbage.write_text("garbage")
    encrypted = tmp_path / "encrypted.key"
    secret = serialization.load_pem_private_key(key.read_bytes(), None)
    encrypted.write_bytes(
        secret.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"x"),
        )
    )
    clock = pki.clock
    cases = {
        "garbage.pem has no certificates": lambda: server_context(
            garbage, key, clock, client_certificate="none"
        ),
        "garbage.pem is no unencrypted": lambda: server_context(
            certificate, garbage, clock, client_certificate="none"
        ),
        "encrypted.key is no unencrypted": lambda: server_context(
            certificate, encrypted, clock, client_certificate="none"
        ),
        "none.key: No such file": lambda: server_context(
            certificate, tmp_path / "none.key", clock, client_certificate="none"
        ),
        "alice.key is not the key of": lambda: server_context(
            certificate, pair(pki, "alice")[1], clock, client_certificate="none"
        ),
        "old-server.pem expired on": lambda: server_context(
            *pair(pki, "old-server"), clock, client_certificate="none"
        ),
        "gateway.pem is not valid before": lambda: server_context(
            certificate, key, FixedClock(0.0), client_certificate="none"
        ),
    }
    for fault, make in cases.items():
        with pytest.raises(TlsError, match=fault):
            make()


def backend(pki: DevelopmentPki) -> ssl.SSLContext:
    """A backend that demands a certificate of its own authority."""
    return server_context(
        *pair(pki, "llama"), pki.clock, authorities=read_authorities(pki.ca("backends"), pki.clock)
    )


def test_a_backend_is_known_by_its_identity(pki: DevelopmentPki) -> None:
    """Own authority, our certificate, and exactly the SPIFFE ID or name that was meant."""
    ours = pki.issue("to-llama", authority="backends", force=True)
    context = client_context(
        pki.clock,
        ca=pki.ca("backends"),
        certificate=ours.certificate,
        private_key=ours.key,
        is_identity_checked_later=True,
    )
    _, client = shake(backend(pki), context, None)
    der = client.getpeercert(binary_form=True)

    check_server_identity(der, BACKEND)
    check_server_identity(der, "LLAMA.example")
    for other in (
        "spiffe://example.org/backend/other",
        "spiffe://example.org/backend",
        "other.example",
        "example",
    ):
        with pytest.raises(ValueError, match="another identity"):
            check_server_identity(der, other)


def test_nameless_servers_are_nobody(pki: DevelopmentPki) -> None:
    """A common name is no identity, and neither is garbage."""
    bob = x509.load_pem_x509_certificate(pair(pki, "bob")[0].read_bytes())
    for der in (bob.public_bytes(serialization.Encoding.DER), b"garbage"):
        with pytest.raises(ValueError, match="alternative names"):
            check_server_identity(der, "bob")


@pytest.mark.parametrize(("host", "ca"), [("other.example", "backends"), ("llama.example", "gateway")])
def test_other_backends_are_refused(pki: DevelopmentPki, host: str, ca: str) -> None:
    """Another host name, another authority."""
    server = server_context(*pair(pki, "llama"), pki.clock, client_certificate="none")
    shake(server, client_context(pki.clock, ca=pki.ca("backends")), "llama.example")

    with pytest.raises(ssl.SSLCertVerificationError):
        shake(server, client_context(pki.clock, ca=pki.ca(ca)), host)


def test_system_authorities_sign_no_identities(pki: DevelopmentPki) -> None:
    """An expected identity needs an own authority; a certificate needs its key."""
    with pytest.raises(TlsError, match="own"):
        client_context(pki.clock, is_identity_checked_later=True)
    with pytest.raises(TlsError, match="together"):
        client_context(pki.clock, certificate=pair(pki, "alice")[0])

    assert client_context(pki.clock).check_hostname

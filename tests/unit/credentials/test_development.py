"""`development`: the authorities and the issuer that demos and tests use."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jwt
import msgspec
import pytest
from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store

from gateway.credentials.development import AUTHORITIES, DevelopmentIssuer, DevelopmentPki, fingerprint
from gateway.credentials.signing import ALGORITHMS, generate_key, private_pem

from .parts import NOW, FixedClock

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def pki(tmp_path: Path) -> DevelopmentPki:
    """Fresh authorities."""
    one = DevelopmentPki(tmp_path)
    one.init()
    return one


def serials(pki: DevelopmentPki, authority: str = "clients") -> set[int]:
    """What is on a revocation list."""
    return {entry.serial_number for entry in x509.load_pem_x509_crl(pki.crl(authority).read_bytes())}


def test_authorities_are_made_once(pki: DevelopmentPki) -> None:
    """A second `init` touches nothing unless forced; private keys are private."""
    before = {path: path.read_bytes() for path in pki.directory.iterdir()}
    assert 3 * 3 == len(before)
    assert {0o600} == {path.stat().st_mode & 0o777 for path in before if path.suffix == ".key"}
    with pytest.raises(FileExistsError):
        pki.init()
    assert before == {path: path.read_bytes() for path in pki.directory.iterdir()}
    pki.init(force=True)

    assert all(before[pki.ca(one)] != pki.ca(one).read_bytes() for one in AUTHORITIES)


def test_clients_verify_under_their_authority_alone(pki: DevelopmentPki) -> None:
    """A strict verifier accepts what the clients' authority issued, and no other authority's."""
    leaf = x509.load_pem_x509_certificate(
        pki.issue("a", spiffe="spiffe://example.org/a").certificate.read_bytes()
    )

    def verify(authority: str) -> object:
        store = Store([x509.load_pem_x509_certificate(pki.ca(authority).read_bytes())])
        return PolicyBuilder().store(store).build_client_verifier().verify(leaf, [])

    assert verify("clients")
    with pytest.raises(x509.verification.VerificationError):
        verify("gateway")


def test_servers_have_names(pki: DevelopmentPki) -> None:
    """Localhost unless told otherwise; IP addresses are IP addresses."""
    leaf = x509.load_pem_x509_certificate(pki.issue("gateway", "server").certificate.read_bytes())
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value

    assert ["localhost"] == names.get_values_for_type(x509.DNSName)
    assert ["127.0.0.1", "::1"] == [str(one) for one in names.get_values_for_type(x509.IPAddress)]


def test_nothing_is_overwritten(pki: DevelopmentPki) -> None:
    """Issuing twice needs force; without authorities nothing is issued."""
    pki.issue("a")
    with pytest.raises(FileExistsError):
        pki.issue("a")
    pki.issue("a", force=True)
    with pytest.raises(FileNotFoundError):
        DevelopmentPki(pki.directory / "none").issue("a")


def test_revocation_adds_up(pki: DevelopmentPki) -> None:
    """Each revoked certificate stays on the list of its own authority, once."""
    first, second = pki.issue("a"), pki.issue("b")
    server = pki.issue("c", "backend")
    pki.revoke(first.certificate)
    pki.revoke(first.certificate, "clients")

    assert pki.crl() == pki.revoke(second.certificate)
    assert pki.crl("backends") == pki.revoke(server.certificate)
    assert (2, 1, 0) == (len(serials(pki)), len(serials(pki, "backends")), len(serials(pki, "gateway")))
    pki.write_crl()
    assert 2 == len(serials(pki))


def test_strangers_cannot_be_revoked(pki: DevelopmentPki, tmp_path: Path) -> None:
    """A certificate that no authority here issued is on no list of theirs."""
    self_signed = pki.issue("x")
    with pytest.raises(ValueError, match="not issued"):
        pki.revoke(self_signed.certificate, "gateway")


def test_a_foreign_authority_key_is_refused(pki: DevelopmentPki) -> None:
    """The authority's key is one that this program made."""
    pki.ca("clients").with_suffix(".key").write_bytes(private_pem(generate_key("EdDSA")))
    with pytest.raises(ValueError, match="not one"):
        pki.issue("a")


def test_expired_certificates_can_be_made(pki: DevelopmentPki) -> None:
    """Tests of others need them."""
    leaf = x509.load_pem_x509_certificate(pki.issue("a", days=-1).certificate.read_bytes())

    assert leaf.not_valid_before_utc < leaf.not_valid_after_utc
    assert leaf.not_valid_after_utc.timestamp() < pki.clock.wall()


def test_fingerprint_takes_file_or_text(pki: DevelopmentPki) -> None:
    """RFC 8705: SHA-256 of the DER, base64url, 43 characters."""
    path = pki.issue("a").certificate

    assert fingerprint(path) == fingerprint(path.read_bytes())
    assert 43 == len(fingerprint(path))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_issuers_can_be_loaded_again(tmp_path: Path, algorithm: str) -> None:
    """What `create` wrote, `load` reads: the same key, issuer and audience."""
    made = DevelopmentIssuer.create(tmp_path, algorithm, issuer="https://i", audience="a")
    found = DevelopmentIssuer.load(tmp_path)

    assert (made.signer.jwk, "https://i", "a") == (found.signer.jwk, found.issuer, found.audience)
    assert 0o600 == (tmp_path / "issuer.key").stat().st_mode & 0o777
    assert [made.signer.jwk] == msgspec.json.decode(made.jwks.read_bytes())["keys"]
    with pytest.raises(FileExistsError):
        DevelopmentIssuer.create(tmp_path)


def test_every_claim_can_be_set(tmp_path: Path) -> None:
    """Right tokens by default, wrong ones on demand."""
    issuer = DevelopmentIssuer.create(tmp_path, clock=FixedClock())
    unchecked = {"verify_signature": False}
    plain = jwt.decode(issuer.mint(), options=unchecked)
    assert ("alice", "model-gateway", int(NOW), int(NOW) + 300) == tuple(
        plain[name] for name in ("sub", "aud", "iat", "exp")
    )
    token = issuer.mint(
        "bob",
        issuer="x",
        audience=["a", "b"],
        expires_in=-5,
        not_before=7,
        issued_at=100,
        groups=["g"],
        scopes=["s", "t"],
        bind="f",
        claims={"extra": {"k": 1}},
        headers={"typ": "JWT", "kid": "k"},
        omit=["jti", "client_id", "alg"],
    )

    assert {
        "iss": "x",
        "sub": "bob",
        "aud": ["a", "b"],
        "iat": 100,
        "exp": 95,
        "nbf": 7,
        "groups": ["g"],
        "scope": "s t",
        "cnf": {"x5t#S256": "f"},
        "extra": {"k": 1},
    } == jwt.decode(token, options=unchecked)
    assert {"typ": "JWT", "kid": "k"} == msgspec.json.decode(jwt.utils.base64url_decode(token.split(".")[0]))

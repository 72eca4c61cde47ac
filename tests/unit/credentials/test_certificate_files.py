"""`certificate_files`: what stands in files, and what is said about those that cannot be used."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from gateway.credentials.certificate_files import TlsError, read_authorities, read_lists, read_vouchers
from gateway.credentials.files import MAX_CREDENTIAL_BYTES
from tests.pki import DAY, Ca, other_version

from .parts import NOW, FixedClock

if TYPE_CHECKING:
    from pathlib import Path

CLOCK = FixedClock()
ROOT = Ca("root", NOW)
BETWEEN = Ca("between", NOW, issuer=ROOT)


def write(directory: Path, name: str, data: bytes) -> Path:
    """Write a file."""
    path = directory / name
    path.write_bytes(data)
    return path


def test_authorities_and_lists(tmp_path: Path) -> None:
    """Several authorities, several lists, and neither of them twice."""
    ca = write(tmp_path, "ca.pem", ROOT.pem + BETWEEN.pem + ROOT.pem)
    lists = write(tmp_path, "ca.crl", ROOT.revoke() + BETWEEN.revoke())
    found = read_vouchers(ca, lists, CLOCK)

    assert [ROOT.certificate, BETWEEN.certificate] == list(found.authorities.certificates)
    assert found.revocations is not None
    assert 2 == len(found.revocations.lists)
    assert read_vouchers(ca, None, CLOCK).revocations is None


def test_old_authorities_may_stay_beside_new_ones(tmp_path: Path) -> None:
    """And those of tomorrow be there already; without one that is valid today, the file is an error."""
    old, soon = Ca("old", NOW - 40 * DAY), Ca("soon", NOW + 40 * DAY)

    assert [old.certificate, ROOT.certificate, soon.certificate] == read_authorities(
        write(tmp_path, "all.pem", old.pem + ROOT.pem + soon.pem), CLOCK
    )
    with pytest.raises(TlsError, match=r"old\.pem expired on"):
        read_authorities(write(tmp_path, "old.pem", old.pem), CLOCK)
    with pytest.raises(TlsError, match=r"soon\.pem is not valid before"):
        read_authorities(write(tmp_path, "soon.pem", soon.pem), CLOCK)


def test_authorities_that_could_never_vouch(tmp_path: Path) -> None:
    """An intermediate without its root, a key that no profile allows, a key that cannot be read."""
    odd = ROOT.der.replace(bytes.fromhex("06082a8648ce3d030107"), bytes.fromhex("06082a8648ce3d030106"))
    cases = {
        "no self-signed authority": BETWEEN.pem,
        "whose key is not RSA": ROOT.pem + Ca("ed", NOW, key=ed25519.Ed25519PrivateKey.generate()).pem,
        "whose key is not": ROOT.pem + Ca("weak", NOW, key=rsa.generate_private_key(65537, 1024)).pem,  # noqa: S505
        "key is not RSA": ROOT.pem + pem(odd),
    }
    for fault, data in cases.items():
        with pytest.raises(TlsError, match=fault):
            read_vouchers(write(tmp_path, "ca.pem", data), None, CLOCK)


def pem(der: bytes) -> bytes:
    """Write a certificate as PEM that the library would not make."""
    import ssl

    return ssl.DER_cert_to_PEM_cert(der).encode()


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    """Missing, too large, something else."""
    with pytest.raises(TlsError, match="No such file"):
        read_authorities(tmp_path / "none.pem", CLOCK)
    with pytest.raises(TlsError, match="larger than"):
        read_authorities(write(tmp_path, "large.pem", b" " * (MAX_CREDENTIAL_BYTES + 1)), CLOCK)
    with pytest.raises(TlsError, match="has no certificates"):
        read_authorities(write(tmp_path, "ca.pem", b"hello"), CLOCK)
    with pytest.raises(TlsError, match="has no certificates"):
        read_authorities(write(tmp_path, "ca.pem", pem(other_version(ROOT.der))), CLOCK)
    with pytest.raises(TlsError, match="is no revocation list"):
        read_lists(write(tmp_path, "ca.crl", b"hello"), [], CLOCK)


def test_a_list_in_its_grace(tmp_path: Path) -> None:
    """Stale lists are refused at once unless a grace was asked for."""
    lists = write(tmp_path, "ca.crl", ROOT.revoke(begins=NOW - DAY - 60))

    with pytest.raises(TlsError, match=r"ca\.crl is out of date"):
        read_lists(lists, [ROOT.certificate], CLOCK)
    assert read_lists(lists, [ROOT.certificate], CLOCK, grace=120).lists

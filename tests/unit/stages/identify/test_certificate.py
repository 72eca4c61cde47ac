"""`certificate`: when the peer's certificate still proves somebody."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gateway.stages.identify.certificate import (
    EXPIRED,
    MANY_NAMES,
    NAMELESS,
    NOT_YET,
    certificate_subject,
    check_certificate,
)

from .parts import NOW, certificate

if TYPE_CHECKING:
    from gateway.core.identity import PeerCertificate
    from gateway.core.refusal import Refusal

ID = "spiffe://example.org/a"


@pytest.mark.parametrize(
    ("peer", "expected"),
    [
        (certificate(), None),
        (certificate(spiffe=ID), None),
        (certificate(not_after=NOW), EXPIRED),
        (certificate(not_after=NOW - 0.1), EXPIRED),
        (certificate(not_before=NOW), None),
        (certificate(not_before=NOW + 0.1), NOT_YET),
        (certificate(spiffe=ID, uris=(ID, "spiffe://example.org/b")), MANY_NAMES),
        (certificate(spiffe=ID, uris=(ID, "https://example.org")), MANY_NAMES),
        (certificate(uris=("SPIFFE://example.org/a",)), MANY_NAMES),
        (certificate(uris=("https://example.org/a", "https://example.org/b")), None),
        (certificate(subject=""), NAMELESS),
        (certificate(subject="", dns=("a.example",)), None),
    ],
)
def test_certificates_decide(peer: PeerCertificate, expected: Refusal | None) -> None:
    """Dates inclusive, at most one workload identity, at least one name."""
    assert expected is check_certificate(peer, NOW)


def test_subject_is_the_strongest_name() -> None:
    """SPIFFE ID, then distinguished name, then DNS name."""
    names = ("a.example", "b.example")

    assert ID == certificate_subject(certificate(spiffe=ID, dns=names))
    assert "CN=batch,O=Example" == certificate_subject(certificate(dns=names))
    assert "dns:a.example" == certificate_subject(certificate(subject="", dns=names))

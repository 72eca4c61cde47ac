"""`revocation_lists`: which lists count, for how long, and who is on them."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448
from cryptography.hazmat.primitives.serialization import Encoding

from gateway.core.refusal import Reason, Refusal, Source
from gateway.credentials.authorities import Authorities
from gateway.credentials.revocation_lists import (
    BEGIN,
    END,
    ListError,
    RevocationList,
    RevocationLists,
    issuer_id,
    links,
    parse_lists,
)
from tests.pki import DAY, Ca, other_version, unread_names, usage

from .parts import NOW

if TYPE_CHECKING:
    from collections.abc import Iterable

ROOT = Ca("root", NOW)
BETWEEN = Ca("between", NOW, issuer=ROOT)
GOOD, BAD = ROOT.issue(), ROOT.issue()


def read(
    pem: bytes, *, now: float = NOW, grace: float = 0.0, signers: Iterable[Ca] = (ROOT, BETWEEN)
) -> RevocationLists:
    """Read lists."""
    authorities = [one.certificate for one in signers]
    return RevocationLists(RevocationList(one, authorities, now, grace) for one in parse_lists(pem))


def check(lists: RevocationLists, *path: Any, now: float = NOW) -> Refusal | None:
    """Check a path."""
    return lists.check(links([one.certificate for one in path]), now)


def test_who_is_on_a_list() -> None:
    """By issuer and number: neither the good ones, nor the same number of another issuer."""
    lists = read(ROOT.revoke(BAD))
    twin = BETWEEN.issue(serial=BAD.certificate.serial_number)
    both = read(ROOT.revoke(BAD) + BETWEEN.revoke())
    revoked = check(lists, BAD, ROOT)

    assert check(lists, GOOD, ROOT) is None
    assert revoked is not None
    assert (Reason.CERTIFICATE_REVOKED, "on its issuer's revocation list") == (revoked.reason, revoked.note)
    assert check(both, twin, BETWEEN, ROOT) is None


def test_intermediates_are_looked_at() -> None:
    """A revoked intermediate takes its certificates along."""
    leaf = BETWEEN.issue()
    revoked = check(read(ROOT.revoke(BETWEEN) + BETWEEN.revoke()), leaf, BETWEEN, ROOT)

    assert revoked is not None
    assert Reason.CERTIFICATE_REVOKED is revoked.reason
    assert check(read(ROOT.revoke() + BETWEEN.revoke()), leaf, BETWEEN, ROOT) is None


def test_every_issuer_of_a_path_has_a_list() -> None:
    """Unknown is not good, and a key is not excused by another key's list under the same name."""
    impostor = Ca("root", NOW)
    leaf = BETWEEN.issue()
    for lists in (read(ROOT.revoke()), read(BETWEEN.revoke()), RevocationLists([])):
        refusal = check(lists, leaf, BETWEEN, ROOT)

        assert refusal is not None
        assert (Reason.REVOCATIONS_STALE, Source.GATEWAY) == (refusal.reason, refusal.source)
        assert "there is no revocation list" in refusal.note
    assert check(read(ROOT.revoke()), impostor.issue(), impostor) is not None
    assert issuer_id(ROOT.certificate) != issuer_id(impostor.certificate)


def test_a_stale_list_refuses() -> None:
    """The moment of nextUpdate is the last one, and the record says when that was."""
    lists = read(ROOT.revoke(begins=NOW - DAY))

    assert check(lists, GOOD, ROOT, now=NOW) is None
    refusal = check(lists, GOOD, ROOT, now=NOW + 1)
    assert refusal is not None
    assert Reason.REVOCATIONS_STALE is refusal.reason
    assert "the revocation list ended at 2026-09-21T14:13:20Z" == refusal.note
    with pytest.raises(ListError, match="out of date"):
        read(ROOT.revoke(begins=NOW - DAY), now=NOW + 1)


def test_grace_is_at_most_one_period() -> None:
    """Asking for a year's grace of a daily list gives a day."""
    pem = ROOT.revoke(begins=NOW - DAY, days=1.0)
    lists = read(pem, grace=60.0)

    assert check(lists, GOOD, ROOT, now=NOW + 60) is None
    assert check(lists, GOOD, ROOT, now=NOW + 61) is not None
    assert NOW + DAY == read(pem, grace=365 * DAY).lists[0].ends
    assert NOW == read(pem, grace=60.0).lists[0].next_update


DELTA = (x509.DeltaCRLIndicator(1), True)
PART = (
    x509.IssuingDistributionPoint(
        full_name=None,
        relative_name=None,
        only_contains_user_certs=True,
        only_contains_ca_certs=False,
        only_some_reasons=None,
        indirect_crl=False,
        only_contains_attribute_certs=False,
    ),
    True,
)
UNKNOWN = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"more": [DELTA]}, "delta"),
        ({"more": [PART]}, "a part of the certificates"),
        ({"more": [(UNKNOWN, True)]}, "critical extension"),
        ({"is_number_critical": True}, "critical extension"),
        ({"number": None}, "no number"),
        ({"entry": (UNKNOWN, True)}, "entry with a critical"),
        ({"begins": NOW + 60}, "not valid yet"),
        ({"begins": NOW - 3 * DAY}, "out of date"),
        ({"over": hashes.SHA224()}, "a hash that is not accepted"),
        ({"key": ec.generate_private_key(ec.SECP256R1())}, "not signed by any"),
    ],
)
def test_lists_that_do_not_count(options: dict[str, Any], message: str) -> None:
    """Each of them could hide a revocation."""
    with pytest.raises(ListError, match=message):
        read(ROOT.revoke(BAD, **options))


def test_harmless_extensions() -> None:
    """What is not critical changes nothing."""
    lists = read(
        ROOT.revoke(
            BAD, more=[(UNKNOWN, False)], entry=(x509.CRLReason(x509.ReasonFlags.key_compromise), False)
        )
    )

    assert check(lists, BAD, ROOT) is not None


def test_who_may_sign_a_list() -> None:
    """An authority whose key is for that, or says nothing about it; never one that was not asked."""
    silent = Ca("silent", NOW, more={x509.KeyUsage: None})
    only_certificates = Ca("only", NOW, purposes=("key_cert_sign",))
    odd = Ca("odd", NOW, more={x509.KeyUsage: (usage("crl_sign"), False)})

    assert read(silent.revoke(), signers=[ROOT, silent]).lists
    assert read(odd.revoke(), signers=[odd]).lists
    with pytest.raises(ListError, match="not for revocation lists"):
        read(only_certificates.revoke(), signers=[only_certificates])
    with pytest.raises(ListError, match="not signed"):
        read(ROOT.revoke(), signers=[BETWEEN])


def test_a_list_is_of_the_authority_that_it_names() -> None:
    """Another one may have the same key: who is meant is said by the name."""
    twin = Ca("twin", NOW, key=ROOT.key)
    lists = read(ROOT.revoke(BAD), signers=[twin, ROOT])

    assert issuer_id(ROOT.certificate) == lists.lists[0].issuer
    with pytest.raises(ListError, match="not signed"):
        read(ROOT.revoke(BAD), signers=[twin])


def test_garbage_is_no_list() -> None:
    """Neither nothing, nor something else, nor a broken one."""
    [good] = parse_lists(ROOT.revoke())
    later = b64encode(other_version(good.public_bytes(Encoding.DER)))
    for pem in (
        b"",
        ROOT.pem,
        BEGIN + b"\n" + later + b"\n" + END,
        b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n",
    ):
        with pytest.raises(ListError, match="no revocation list in PEM form"):
            parse_lists(pem)


def test_an_unreadable_extension_refuses_the_list() -> None:
    """A number that is none, names of an unknown kind, signed nevertheless; likewise of who signs."""
    garbled = (x509.UnrecognizedExtension(x509.CRLNumber.oid, b"\x04\x01\x00"), False)

    with pytest.raises(ListError, match="cannot be read"):
        read(ROOT.revoke(number=None, more=[garbled]))
    with pytest.raises(ListError, match="cannot be read"):
        read(ROOT.revoke(more=[(unread_names(x509.IssuerAlternativeName), False)]))
    names = (unread_names(x509.SubjectAlternativeName), False)
    unread = Ca("unread", NOW, more={x509.SubjectAlternativeName: names})
    with pytest.raises(ListError, match="not for revocation lists"):
        read(unread.revoke(), signers=[unread])


def test_the_newest_list_of_an_issuer_counts() -> None:
    """Whatever their order, and an older set is known as such."""
    old, new = ROOT.revoke(number=1), ROOT.revoke(BAD, number=2)
    for pem in (old + new, new + old):
        assert check(read(pem), BAD, ROOT) is not None

    assert read(old).is_older_than(read(new))
    assert not read(new).is_older_than(read(old))
    assert not read(new).is_older_than(read(new))
    assert not read(BETWEEN.revoke(number=1)).is_older_than(read(new))


def test_authorities_of_an_unknown_kind_sign_nothing() -> None:
    """An authority whose key cannot be read, or is of a kind that signs no lists, vouches for none."""
    odd = ROOT.der.replace(bytes.fromhex("06082a8648ce3d030107"), bytes.fromhex("06082a8648ce3d030106"))
    unknown = x509.load_der_x509_certificate(odd)
    [revoked] = parse_lists(ROOT.revoke())
    other_kind = Ca("root", NOW, key=ed448.Ed448PrivateKey.generate())

    with pytest.raises(ListError, match="not signed"):
        RevocationList(revoked, [other_kind.certificate], NOW)
    with pytest.raises(ListError, match="not signed"):
        RevocationList(revoked, [unknown], NOW)
    assert RevocationList(revoked, [unknown, ROOT.certificate], NOW).number == 1
    assert Authorities([ROOT.certificate]).has_anchor

"""`trust` and `chains`: who may vouch for whom, and looking again when that has changed."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.core.identity import PeerCertificate
from gateway.core.refusal import Reason, Refusal
from gateway.credentials.authorities import Authorities
from gateway.credentials.certificates import AUTHORITY, UNREADABLE, URIS
from gateway.credentials.chains import Chains
from gateway.credentials.revocation_lists import RevocationList, RevocationLists, parse_lists
from gateway.credentials.trust import EXPIRED, MAX_SENT, TOO_MANY, Judged, Trust, Vouchers
from tests.pki import DAY, Ca

from .parts import NOW, FixedClock

ONE, TWO, CLIENTS = Ca("ca", NOW), Ca("ca", NOW), Ca("clients", NOW)
BETWEEN = Ca("between", NOW, issuer=ONE)
A, B = "spiffe://one.example/a", "spiffe://two.example/b"


def vouchers(*authorities: Ca, lists: bytes | None = None) -> Vouchers:
    """Authorities, with revocation lists if there are any."""
    signers = [one.certificate for one in authorities]
    if lists is None:
        return Vouchers(Authorities(signers))
    read = RevocationLists(RevocationList(one, signers, NOW) for one in parse_lists(lists))
    return Vouchers(Authorities(signers), read)


FEDERATION = Trust(vouchers(CLIENTS), {"one.example": vouchers(ONE), "two.example": vouchers(TWO)})


def judge(trust: Trust, *chain: Any, now: float = NOW) -> Any:
    """The SPIFFE ID or subject that is believed, or why not."""
    found = trust.judge([one.der for one in chain], now)
    if isinstance(found, Judged):
        return found.certificate.spiffe_id or found.certificate.subject
    return found.reason, found.note


def untrusted(note: str) -> tuple[Reason, str]:
    """The answer for what leads nowhere."""
    return Reason.CERTIFICATE_UNTRUSTED, note


NO_PATH = untrusted("no valid path to an authority")


def test_a_trust_domain_is_vouched_for_by_itself_alone() -> None:
    """Not by a neighbour, although both authorities bear one name; not by those of ordinary clients."""
    assert A == judge(FEDERATION, ONE.issue(A))
    assert B == judge(FEDERATION, TWO.issue(B))
    assert A == judge(FEDERATION, BETWEEN.issue(A), BETWEEN)
    assert "CN=leaf" == judge(FEDERATION, CLIENTS.issue(dns=["a.example"]))
    for stranger in (TWO.issue(A), CLIENTS.issue(A), ONE.issue(B)):
        assert NO_PATH == judge(FEDERATION, stranger)
    assert NO_PATH == judge(FEDERATION, ONE.issue(dns=["a.example"]))
    assert untrusted("its trust domain is not configured") == judge(
        FEDERATION, ONE.issue("spiffe://three.example/c")
    )


def test_without_trust_domains_client_authorities_vouch() -> None:
    """As for every other client certificate; without them there is nobody to vouch."""
    assert A == judge(Trust(vouchers(ONE)), ONE.issue(A))
    assert untrusted("no authority without a trust domain") == judge(Trust(), ONE.issue())
    assert untrusted("no authority without a trust domain") == judge(
        Trust(None, {"one.example": vouchers(ONE)}), ONE.issue()
    )
    assert untrusted("there is no authority for it") == judge(
        Trust(None, {"one.example": vouchers()}), ONE.issue(A)
    )


@pytest.mark.parametrize(
    "uris",
    [
        (A, "spiffe://one.example/b"),
        (A, "https://one.example/"),
        ("spiffe://one.example",),
        ("spiffe://one.example/",),
        ("SPIFFE://one.example/a",),
        ("spiffe://ONE.example/a",),
        ("spiffe://one.example/a/",),
        ("spiffe://one.example//a",),
        ("spiffe://one.example/../a",),
        ("spiffe://one.example/%61",),
        ("spiffe://one.example/a?q",),
        ("spiffe://one.example/a#f",),
        ("spiffe://u@one.example/a",),
        ("spiffe://one.example:443/a",),
    ],
)
def test_the_cases_of_svids(uris: tuple[str, ...]) -> None:
    """What the library lets pass and X.509-SVID forbids, however good the authority."""
    assert (Reason.CERTIFICATE_REFUSED, "") == judge(FEDERATION, ONE.issue(*uris))
    assert URIS == FEDERATION.judge([ONE.issue(*uris).der], NOW)


def test_chains_of_the_wrong_form() -> None:
    """Too many certificates, unreadable ones anywhere, one too large, an authority as a client."""
    leaf = ONE.issue(A)
    assert TOO_MANY is FEDERATION.judge([leaf.der] * (MAX_SENT + 1), NOW)
    assert UNREADABLE is FEDERATION.judge([], NOW)
    assert UNREADABLE is FEDERATION.judge([b"\x30\x00"], NOW)
    assert UNREADABLE is FEDERATION.judge([leaf.der, b"\x30\x00"], NOW)
    assert UNREADABLE is FEDERATION.judge([leaf.der, b"\x00" * 65537], NOW)
    assert AUTHORITY is FEDERATION.judge([ONE.der], NOW)


def test_expiry_is_that_of_the_whole_path() -> None:
    """What is believed ends with the first certificate of its path."""
    short = Ca("short", NOW, issuer=ONE, days=0.5)
    found = FEDERATION.judge([short.issue(A, days=30).der, short.der], NOW)

    assert isinstance(found, Judged)
    assert NOW + DAY / 2 == found.certificate.not_after
    assert EXPIRED is FEDERATION.judge([ONE.issue(A).der], NOW + 2 * DAY)


def test_revocation_belongs_to_one_set_of_authorities() -> None:
    """A domain with lists is checked against them, its neighbour without is not."""
    bad, good = ONE.issue(A), ONE.issue(A)
    trust = Trust(None, {"one.example": vouchers(ONE, lists=ONE.revoke(bad)), "two.example": vouchers(TWO)})

    assert (Reason.CERTIFICATE_REVOKED, "on its issuer's revocation list") == judge(trust, bad)
    assert A == judge(trust, good)
    assert B == judge(trust, TWO.issue(B))


def again(before: Trust, after: Trust, *chain: Any, now: float = NOW) -> Any:
    """Judge under one trust, look again under another."""
    found = before.judge([one.der for one in chain], NOW)
    assert isinstance(found, Judged)
    refusal = after.still(found, now)
    return None if refusal is None else (refusal.reason, refusal.note)


def test_looking_again() -> None:
    """Authorities that stay, come and go; helping intermediates; lists; time in both directions."""
    leaf, deep = ONE.issue(A), BETWEEN.issue(A)
    helped = Trust(vouchers(ONE, BETWEEN))
    more = Trust(vouchers(CLIENTS, ONE))
    gone = untrusted("an authority of its path is no longer trusted")

    assert again(Trust(vouchers(ONE)), more, leaf) is None
    assert gone == again(more, Trust(vouchers(CLIENTS)), leaf)
    assert again(helped, helped, deep) is None
    assert gone == again(helped, Trust(vouchers(ONE)), deep)
    assert again(Trust(vouchers(ONE)), Trust(vouchers(ONE)), deep, BETWEEN) is None
    assert again(FEDERATION, Trust(None, {"two.example": vouchers(ONE)}), leaf) == untrusted(
        "its trust domain is not configured"
    )
    assert again(FEDERATION, Trust(None, {"one.example": vouchers(TWO)}), leaf) == gone
    revoking = Trust(vouchers(ONE, lists=ONE.revoke(leaf)))
    assert (Reason.CERTIFICATE_REVOKED, "on its issuer's revocation list") == again(more, revoking, leaf)
    assert (Reason.CERTIFICATE_EXPIRED, "") == again(more, more, leaf, now=NOW + 2 * DAY)
    assert untrusted("a certificate of its path is not valid yet") == again(
        more, more, leaf, now=NOW - 2 * DAY
    )


def test_an_authority_that_the_client_sends_itself_vouches_only_while_it_is_configured() -> None:
    """Sending the root along changes nothing."""
    leaf = ONE.issue(A)

    assert again(Trust(vouchers(ONE)), Trust(vouchers(TWO)), leaf, ONE) is not None


def test_a_chain_is_verified_once() -> None:
    """The result is kept, and forgotten as a whole when there are too many; refusals are not kept."""
    chains = Chains(FEDERATION, FixedClock(), capacity=2)
    good = [ONE.issue(A).der]
    first = chains.verify(good)

    assert isinstance(first, PeerCertificate)
    assert first is chains.verify(good)
    assert isinstance(chains.verify([TWO.issue(A).der]), Refusal)
    assert first is chains.verify(good)
    chains.verify([ONE.issue(A).der])
    chains.verify([ONE.issue(A).der])
    assert first == chains.verify(good)
    assert first is not chains.verify(good)


def test_what_was_kept_is_looked_at_again() -> None:
    """Each time: dates, lists and authorities of the moment count, and another path may be found."""
    clock = FixedClock()
    leaf = BETWEEN.issue(A)
    chain = [leaf.der, BETWEEN.der]
    chains = Chains(Trust(vouchers(ONE)), clock)
    assert isinstance(chains.verify(chain), PeerCertificate)

    chains.trust = Trust(vouchers(ONE, BETWEEN, lists=ONE.revoke() + BETWEEN.revoke(leaf)))
    revoked = chains.verify(chain)
    assert isinstance(revoked, Refusal)
    assert Reason.CERTIFICATE_REVOKED is revoked.reason

    chains.trust = Trust(vouchers(ONE))
    assert isinstance(chains.verify(chain), PeerCertificate)
    root = Ca("another", NOW)
    crossed = Ca("between", NOW, issuer=root, key=BETWEEN.key)
    chains.trust = Trust(vouchers(root))
    assert isinstance(chains.verify(chain), Refusal)
    assert isinstance(chains.verify([*chain, crossed.der]), PeerCertificate)
    chains.trust = Trust(vouchers(root, crossed))
    assert isinstance(chains.verify(chain), PeerCertificate)
    clock.now += 2 * DAY
    assert chains.verify(chain) is EXPIRED


def test_lengths_are_part_of_a_chain_s_name() -> None:
    """The same octets cut differently are another chain."""
    chains = Chains(FEDERATION, FixedClock())
    leaf, between = BETWEEN.issue(A).der, BETWEEN.der

    assert isinstance(chains.verify([leaf, between]), PeerCertificate)
    assert isinstance(chains.verify([leaf + between]), Refusal)

"""What the listener's files say, part by part: one that cannot be used does not hold up the others."""

from __future__ import annotations

import os
from itertools import count
from typing import TYPE_CHECKING, Any, final

import pytest

from gateway.app.client_trust import ClientTrust
from gateway.config.listener import ServerTls
from gateway.config.trust_domains import TrustDomain as Section
from gateway.core.refusal import Reason, Refusal
from gateway.credentials.bundles import Bundle
from gateway.credentials.chains import Chains
from gateway.credentials.jwks import Keys
from gateway.credentials.tls import TlsError
from gateway.credentials.trust_domains import BundleFile, TrustDomain
from tests.pki import DAY, Ca
from tests.unit.app.settings import CLOCK

if TYPE_CHECKING:
    from pathlib import Path

    from tests.pki import Leaf

NOW = CLOCK.wall()
ROOT, ONE, TWO = Ca("root", NOW), Ca("one", NOW), Ca("two", NOW)
SERVER = Ca("server", NOW)
ID = "spiffe://one.example/a"


@final
class Files:
    """A directory with everything, and what was said about it.

    Args:
        directory: An empty one.
        lists: Whether clients have a revocation list.
        domains: Trust domains to their bundles; None for one that has not come yet.
        domain_list: Revocation list of the first domain.
        more: More settings of `server.tls`.
    """

    def __init__(
        self,
        directory: Path,
        *,
        lists: bytes | None = None,
        domains: dict[str, tuple[Ca, ...] | None] | None = None,
        domain_list: bytes | None = None,
        **more: Any,
    ) -> None:
        self.directory = directory
        self.said: list[tuple[str, str | None]] = []
        self.stamps = count(1)
        self.certificate, self.key = SERVER.issue(dns=["localhost"]).write(directory, "server")
        self.ca = self.write("ca.pem", ROOT.pem)
        tls: dict[str, Any] = {"certificate": str(self.certificate), "private_key": str(self.key)}
        tls |= {"client_ca": str(self.ca)} | more
        if lists is not None:
            tls["revocation_list"] = str(self.write("ca.crl", lists))
        self.domains = {name: self.domain(name, bundle) for name, bundle in (domains or {}).items()}
        sections = {name: {"bundle": "file:unused"} for name in self.domains}
        if domain_list is not None:
            sections["one.example"]["revocation_list"] = str(self.write("one.crl", domain_list))
        read = {
            name: Section.model_validate(each, context={"directory": directory})
            for name, each in sections.items()
        }
        settings = ServerTls.model_validate(
            {name: value for name, value in tls.items() if value is not None},
            context={"directory": directory},
        )
        self.trust = ClientTrust(settings, CLOCK, read, self.domains)

    def domain(self, name: str, bundle: tuple[Ca, ...] | None) -> TrustDomain:
        """A trust domain that changes when told to."""
        held = None if bundle is None else Bundle(tuple(one.certificate for one in bundle), Keys())
        return TrustDomain(name, BundleFile(self.directory / "unused"), CLOCK, bundle=held)

    def write(self, name: str, data: bytes) -> Path:
        """Write a file with a stamp of its own."""
        path = self.directory / name
        path.write_bytes(data)
        number = next(self.stamps)
        os.utime(path, ns=(number, number))
        return path

    def take(self, name: str, *authorities: Ca) -> None:
        """A domain gets another bundle."""
        self.domains[name]._take(Bundle(tuple(one.certificate for one in authorities), Keys()))

    def look(self) -> tuple[bool, bool, list[tuple[str, str | None]]]:
        """Look: whether trust and context are new, and what was said."""
        before = len(self.said)
        change = self.trust.look(lambda name, failure: self.said.append((name, failure)))
        return change.trust is not None, change.context is not None, self.said[before:]

    def judge(self, leaf: Leaf) -> Reason | None:
        """Why a client is refused, or None."""
        found = Chains(self.trust.trust, CLOCK).verify([leaf.der])
        return found.reason if isinstance(found, Refusal) else None


def test_nothing_changes_by_itself(tmp_path: Path) -> None:
    """And what is in use is there."""
    files = Files(tmp_path)

    assert (False, False, []) == files.look()
    assert files.judge(ROOT.issue()) is None
    assert () == files.trust.failing
    assert NOW < files.trust.ends


def test_a_new_certificate_is_a_new_context_alone(tmp_path: Path) -> None:
    """Whom to believe is as it was; a key that does not fit keeps the old pair, until it does."""
    files = Files(tmp_path)
    old = files.trust.context
    new = SERVER.issue(dns=["localhost"])
    files.write("server.pem", new.pem)

    changed = files.look()
    assert (False, False) == changed[:2]
    assert "is not the key of" in (changed[2][0][1] or "")
    assert ("certificate",) == files.trust.failing
    assert old is files.trust.context
    new.write(tmp_path, "server")
    assert (False, True, [("certificate", None)]) == files.look()
    assert () == files.trust.failing
    assert old is not files.trust.context


def test_authorities_and_lists_are_one_part(tmp_path: Path) -> None:
    """A list of another authority, a broken one, an older one: nothing of it is used."""
    good, bad = ROOT.issue(), ROOT.issue()
    files = Files(tmp_path, lists=ROOT.revoke(number=5))
    assert files.judge(bad) is None
    files.write("ca.crl", ROOT.revoke(bad, number=6))
    assert (True, True, [("client_ca", None), ("certificate", None)]) == files.look()
    assert Reason.CERTIFICATE_REVOKED is files.judge(bad)

    for lists, fault in (
        (ROOT.revoke(number=5), "is older than the one in use"),
        (TWO.revoke(number=9), "is not signed by any"),
        (b"", "is no revocation list"),
        (ROOT.revoke(number=9, begins=NOW - 9 * 86400), "is out of date"),
    ):
        files.write("ca.crl", lists)
        changed = files.look()
        assert (False, False) == changed[:2]
        assert fault in (changed[2][0][1] or "")
        assert ("client_ca",) == files.trust.failing
    files.write("ca.pem", ROOT.pem + TWO.pem)
    assert (False, False) == files.look()[:2]
    assert (Reason.CERTIFICATE_REVOKED, None) == (files.judge(bad), files.judge(good))
    files.write("ca.crl", ROOT.revoke(number=7) + TWO.revoke())
    assert (True, True) == files.look()[:2]
    assert (None, None) == (files.judge(bad), files.judge(TWO.issue()))


def test_a_broken_certificate_does_not_hold_up_whom_to_believe(tmp_path: Path) -> None:
    """A revocation counts at once although no new handshake can be prepared."""
    bad = ROOT.issue()
    files = Files(tmp_path, lists=ROOT.revoke(number=1))
    files.write("server.pem", b"")
    files.write("ca.crl", ROOT.revoke(bad, number=2))
    changed = files.look()

    assert (True, False) == changed[:2]
    assert ["client_ca", "certificate"] == [name for name, _ in changed[2]]
    assert Reason.CERTIFICATE_REVOKED is files.judge(bad)


def test_domains_come_change_and_go(tmp_path: Path) -> None:
    """Each with its own authorities; an expired one in a bundle vouches for nobody."""
    old = Ca("old", NOW - 40 * 86400)
    files = Files(tmp_path, domains={"one.example": (ONE, old), "two.example": None}, client_ca=None)
    assert files.judge(ONE.issue(ID)) is None
    assert Reason.CERTIFICATE_UNTRUSTED is files.judge(old.issue(ID, begins=NOW - DAY, days=9))
    assert Reason.CERTIFICATE_UNTRUSTED is files.judge(TWO.issue("spiffe://two.example/b"))
    files.take("two.example", TWO)
    assert (True, True) == files.look()[:2]
    assert files.judge(TWO.issue("spiffe://two.example/b")) is None
    files.take("one.example")
    assert (True, True) == files.look()[:2]
    assert Reason.CERTIFICATE_UNTRUSTED is files.judge(ONE.issue(ID))
    assert Reason.CERTIFICATE_UNTRUSTED is files.judge(ROOT.issue())


def test_lists_of_a_domain(tmp_path: Path) -> None:
    """Kept while they cannot be read anew, for a bundle that changes as well."""
    bad, next_one = ONE.issue(ID), Ca("next", NOW)
    files = Files(tmp_path, domains={"one.example": (ONE,)}, domain_list=ONE.revoke(bad, number=3))
    assert Reason.CERTIFICATE_REVOKED is files.judge(bad)

    files.take("one.example", ONE, next_one)
    assert (True, True) == files.look()[:2]
    assert Reason.REVOCATIONS_STALE is files.judge(next_one.issue(ID))
    files.take("one.example", next_one)
    changed = files.look()
    assert (True, True) == changed[:2]
    assert ("revocation_list of one.example",) == files.trust.failing
    assert Reason.REVOCATIONS_STALE is files.judge(next_one.issue(ID))
    files.take("one.example", ONE)
    files.write("one.crl", ONE.revoke(number=2))
    assert "is older than the one in use" in (files.look()[2][0][1] or "")
    assert Reason.CERTIFICATE_REVOKED is files.judge(bad)


def test_lists_of_a_domain_without_a_bundle(tmp_path: Path) -> None:
    """Nobody can have signed them yet, and nobody is believed yet."""
    files = Files(tmp_path, domains={"one.example": None}, domain_list=ONE.revoke())
    assert Reason.CERTIFICATE_UNTRUSTED is files.judge(ONE.issue(ID))
    files.write("one.crl", ONE.revoke(number=2))
    assert (True, True) == files.look()[:2]
    files.take("one.example", ONE)
    assert (True, True) == files.look()[:2]

    assert files.judge(ONE.issue(ID)) is None


def test_without_certificates_of_clients(tmp_path: Path) -> None:
    """Authorities of trust domains are for tokens then; the context asks nobody."""
    files = Files(tmp_path, domains={"one.example": (ONE,)}, client_ca=None, client_certificate="none")

    assert 0 == files.trust.context.verify_mode


def test_the_start_must_succeed(tmp_path: Path) -> None:
    """There is nothing to fall back on."""
    with pytest.raises(TlsError, match="not signed"):
        Files(tmp_path, lists=TWO.revoke())

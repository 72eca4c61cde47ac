"""Makes the clients' listener from its files: a TLS context, and whom client certificates are believed from.

Each part is made again when its files have changed, and the last good one stays while they cannot be used:
the certificate with its key, the clients' authorities with their lists, the lists of each trust domain.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple, final

from gateway.credentials.authorities import Authorities
from gateway.credentials.certificate_files import TlsError, read_lists, read_vouchers
from gateway.credentials.revocation_lists import RevocationLists
from gateway.credentials.tls import Dated, dated, server_context
from gateway.credentials.trust import Trust, Vouchers
from gateway.credentials.watched import Watched

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping
    from pathlib import Path

    from gateway.config.listener import ServerTls
    from gateway.config.trust_domains import TrustDomain as DomainSettings
    from gateway.core.ports import Clock
    from gateway.credentials.trust_domains import TrustDomain
    from gateway.credentials.watched import Report

NO_LISTS = RevocationLists([])


@final
class Change(NamedTuple):
    """What has changed since the last look.

    Args:
        trust: Whom to believe now, or None if that is as it was.
        context: For new handshakes, or None if that is as it was.
    """

    trust: Trust | None = None
    context: ssl.SSLContext | None = None


@final
class ClientTrust:
    """Reads what `server.tls` and the trust domains name, as often as asked.

    Args:
        tls: The section.
        clock: Time.
        sections: The section `identity.trust_domains`.
        domains: The same, compiled.

    Raises:
        TlsError: A file cannot be used.
    """

    def __init__(
        self,
        tls: ServerTls,
        clock: Clock,
        sections: Mapping[str, DomainSettings],
        domains: Mapping[str, TrustDomain],
    ) -> None:
        self._tls = tls
        self._clock = clock
        self._domains = domains
        self._generations = self._generation()
        self._clients: Watched[Vouchers] | None = None
        if tls.client_ca is not None:
            self._clients = Watched(
                "client_ca",
                [tls.client_ca, *([] if tls.revocation_list is None else [tls.revocation_list])],
                partial(self._read_clients, tls.client_ca),
            )
        self._lists: dict[str, Watched[RevocationLists]] = {}
        for name, section in sections.items():
            if section.revocation_list is not None and name in domains:
                path, grace = section.revocation_list, section.revocation_grace
                self._lists[name] = Watched(
                    f"revocation_list of {name}", [path], partial(self._read_lists, name, path, grace)
                )
        self.trust = self._make_trust()
        self._own = Watched("certificate", [tls.certificate, tls.private_key], self._make_context)

    @property
    def context(self) -> ssl.SSLContext:
        """The TLS context in use."""
        return self._own.value.context

    @property
    def ends(self) -> float:
        """When the listener's own certificate ends, seconds since the epoch."""
        return self._own.value.ends

    @property
    def failing(self) -> tuple[str, ...]:
        """Names of the parts whose files cannot be used."""
        found = [self._own.name] if self._own.is_failing else []
        if self._clients is not None and self._clients.is_failing:
            found.append(self._clients.name)
        return (*found, *(lists.name for lists in self._lists.values() if lists.is_failing))

    def look(self, report: Report) -> Change:
        """Look at all files and bundles.

        Args:
            report: Told about every part that was made anew, or could not be.
        """
        generations = self._generation()
        changed_domains = {name for name, value in generations.items() if value != self._generations[name]}
        self._generations = generations
        is_new = bool(changed_domains)
        if self._clients is not None:
            is_new |= self._clients.look(report)
        for name, lists in self._lists.items():
            is_new |= lists.look(report, is_due=name in changed_domains)
        if is_new:
            self.trust = self._make_trust()
        is_renewed = self._own.look(report, is_due=is_new)
        return Change(self.trust if is_new else None, self.context if is_renewed else None)

    def refuse_older(self, held: ClientTrust) -> None:
        """Refuse to follow another one with older lists than it has: they could forget a revocation.

        Args:
            held: The one in use.

        Raises:
            TlsError: A list of ours is older.
        """
        if self._clients is not None and held._clients is not None:
            own, other = self._clients.value.revocations, held._clients.value.revocations
            if own is not None:
                _refuse_older(self._tls.revocation_list, own, other)

    def _generation(self) -> dict[str, int]:
        return {name: domain.generation for name, domain in self._domains.items()}

    def _read_clients(self, ca: Path) -> Vouchers:
        tls = self._tls
        found = read_vouchers(ca, tls.revocation_list, self._clock, tls.revocation_grace)
        if self._clients is not None and found.revocations is not None:
            _refuse_older(tls.revocation_list, found.revocations, self._clients.value.revocations)
        return found

    def _read_lists(self, name: str, path: Path, grace: float) -> RevocationLists:
        domain = self._domains[name]
        held = self._lists.get(name)
        if not domain.is_usable:  # nobody is believed before there is a bundle; who signs is not known yet
            return NO_LISTS if held is None else held.value
        lists = read_lists(path, domain.authorities, self._clock, grace)
        _refuse_older(path, lists, None if held is None else held.value)
        return lists

    def _make_trust(self) -> Trust:
        domains: dict[str, Vouchers] = {}
        for name, domain in self._domains.items():
            lists = self._lists.get(name)
            domains[name] = Vouchers(Authorities(domain.authorities), None if lists is None else lists.value)
        return Trust(None if self._clients is None else self._clients.value, domains)

    def _make_context(self) -> Dated:
        tls = self._tls
        is_asked = tls.client_certificate != "none"
        authorities = [one for each in self.trust.vouchers for one in each.authorities.certificates]
        context = server_context(
            tls.certificate,
            tls.private_key,
            self._clock,
            client_certificate=tls.client_certificate,
            authorities=authorities if is_asked else (),
            minimum_version="1.3" if tls.minimum_version == "1.3" else "1.2",
        )
        return dated(context, tls.certificate)


def _refuse_older(path: Path | None, found: RevocationLists, held: RevocationLists | None) -> None:
    if held is not None and found.is_older_than(held):
        raise TlsError(f"{path} has a list that is older than the one in use: it could forget a revocation")

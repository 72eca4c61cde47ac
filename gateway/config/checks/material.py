"""One check per kind of file: certificate with key, authorities, revocation list, secret, signing key, log.

Every problem of a file is a finding at the setting that names it.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path as FilePath
from shlex import quote
from typing import TYPE_CHECKING, Final, final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

from gateway.config.checks import pem
from gateway.config.checks.findings import Finding

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from gateway.config.references import SecretReference
    from gateway.config.source import Path

SOON: Final = 7 * 86400.0  # seconds: time enough to renew by hand


def _date(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M UTC")


@final
class Files:
    """Checks files at one moment.

    Args:
        now: Seconds since the epoch.
    """

    __slots__ = ("now", "soon")

    def __init__(self, now: float) -> None:
        self.now = datetime.fromtimestamp(now, UTC)
        self.soon = datetime.fromtimestamp(now + SOON, UTC)

    def pair(
        self, path: Path, certificate: FilePath | None, key: FilePath | None, options: str
    ) -> Iterator[Finding]:
        """Check a certificate chain of ours and its private key.

        Args:
            path: The section with `certificate` and `private_key`.
            certificate: PEM file, leaf first.
            key: PEM file.
            options: With which `gateway certs issue` makes such a pair.
        """
        own = private = None
        name = (certificate or key or FilePath("gateway")).stem
        how = f"for development, `gateway certs init` and `gateway certs issue {name}{options}` make both"
        if certificate is not None:
            try:
                own = pem.certificates(certificate)[0]
            except pem.UnusableError as fault:
                yield _unusable((*path, "certificate"), fault, how)
        if key is not None:
            try:
                private = pem.private_key(key)
            except pem.UnusableError as fault:
                yield _unusable((*path, "private_key"), fault, how)
            yield from self._exposed((*path, "private_key"), key)
        if own is None:
            return
        yield from self._validity((*path, "certificate"), own, f"the certificate {certificate}")
        if private is not None and private.public_key() != own.public_key():
            message = f"the private key {key} does not belong to the certificate {certificate}"
            mend = "give the key that the certificate was issued for; the leaf must come first in the file"
            yield Finding((*path, "private_key"), message, mend)

    def authorities(
        self, path: Path, file: FilePath | None
    ) -> Generator[Finding, None, list[x509.Certificate]]:
        """Check a bundle of authorities; return them."""
        if file is None:
            return []
        try:
            found = pem.certificates(file)
        except pem.UnusableError as fault:
            yield _unusable(path, fault, "for development, `gateway certs init` makes authorities in certs/")
            return []
        if not any(_is_authority(certificate) for certificate in found):
            message = f"{file} holds no certificate of an authority"
            yield Finding(path, message, "give the certificate of the authority itself, with `CA:TRUE`")
        valid = [each for each in found if each.not_valid_before_utc <= self.now <= each.not_valid_after_utc]
        if not valid:
            yield from self._validity(path, found[0], f"the authority in {file}")
        return found

    def revocation(
        self, path: Path, file: FilePath | None, authorities: list[x509.Certificate], grace: float = 0.0
    ) -> Iterator[Finding]:
        """Check revocation lists: current, or in their grace, and signed by one of the authorities."""
        if file is None:
            return
        try:
            lists = pem.revocation_lists(file)
        except pem.UnusableError as fault:
            yield _unusable(path, fault, "for development, `gateway certs init` makes certs/clients.crl")
            return
        mend = "fetch or issue a new one: a stale list refuses everybody"
        for each in lists:
            if each.next_update_utc is None:
                yield Finding(path, f"the revocation list {file} never says when it ends (nextUpdate)", mend)
            elif each.next_update_utc < self.now:
                message = f"the revocation list {file} expired on {_date(each.next_update_utc)}"
                period = each.next_update_utc - each.last_update_utc
                ends = each.next_update_utc + min(timedelta(seconds=grace), period)
                yield Finding(path, message, mend, is_warning=self.now <= ends)
            if each.last_update_utc > self.now:
                message = f"the revocation list {file} is not valid before {_date(each.last_update_utc)}"
                yield Finding(path, message, "check the clock of this machine and the list")
            if authorities and not any(_has_signed(authority, each) for authority in authorities):
                message = f"the revocation list {file} is signed by none of the authorities in `client_ca`"
                yield Finding(path, message, "give the list of that authority", (path[:-1],))

    def signing_key(
        self,
        path: Path,
        file: FilePath | None,
        fits: Callable[[pem.PrivateKey], str | None],
        algorithm: str = "ed25519",
    ) -> Iterator[Finding]:
        """Check a private key that signs.

        Args:
            path: The setting.
            file: What it says.
            fits: Returns the mend if the key is of a wrong kind.
            algorithm: How `openssl genpkey` calls a right one.
        """
        if file is None:
            return
        try:
            mend = fits(pem.private_key(file))
        except pem.UnusableError as fault:
            yield _unusable(path, fault, _making(file, f"openssl genpkey -algorithm {algorithm} -out {{}}"))
            return
        if mend is not None:
            yield Finding(path, f"the private key {file} is of the wrong kind", mend)
        yield from self._exposed(path, file)

    def secret(
        self, path: Path, secret: SecretReference | None, *, is_ours: bool = False
    ) -> Iterator[Finding]:
        """Check that a secret's file is there; what stands in the environment is not looked at.

        Args:
            path: The setting.
            secret: What it says.
            is_ours: Any secret will do; otherwise it is the one that another party knows.
        """
        if secret is None or secret.kind == "env":
            return
        file = FilePath(secret.target)
        command = "head -c 32 /dev/urandom | base64 > {}" if is_ours else "cat > {}"
        how = _making(file, command)
        yield from self.readable(path, file, how if is_ours else f"write the secret into it: {how}")
        yield from self._exposed(path, file)

    def readable(self, path: Path, file: FilePath, how: str = "make it") -> Iterator[Finding]:
        """Check that a file is there, and readable; `how` says how one comes to be."""
        try:
            pem.read(file)
        except pem.UnusableError as fault:
            yield _unusable(path, fault, how)

    def writable(self, path: Path, file: FilePath) -> Iterator[Finding]:
        """Check that a file could be written, without touching it."""
        mend = "let the user that runs the gateway write there, or give another path"
        try:
            place = file if file.exists() else next(parent for parent in file.parents if parent.exists())
            if file.exists() and not file.is_file():
                yield Finding(path, f"{file} is no file", "give the path of a file")
            elif place != file and not place.is_dir():
                yield Finding(path, f"{place} is no directory", mend)
            elif not os.access(place, os.W_OK):
                yield Finding(path, f"{place} cannot be written", mend)
        except OSError as fault:
            yield Finding(path, f"{file} cannot be used: {(fault.strerror or 'unknown').lower()}", mend)

    def _exposed(self, path: Path, file: FilePath) -> Iterator[Finding]:
        if pem.is_exposed(file):
            message = f"every user of this machine may open {file}"
            yield Finding(path, message, f"`chmod o= {file}`", is_warning=True)

    def _validity(self, path: Path, certificate: x509.Certificate, what: str) -> Iterator[Finding]:
        begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        if begins > self.now:
            message = f"{what} is not valid before {_date(begins)}"
            yield Finding(path, message, "check the clock of this machine, or wait")
        elif ends < self.now:
            yield Finding(path, f"{what} expired on {_date(ends)}", "renew it")
        elif ends < self.soon:
            yield Finding(path, f"{what} expires on {_date(ends)}", "renew it soon", is_warning=True)


def _unusable(path: Path, fault: pem.UnusableError, how: str) -> Finding:
    is_missing = isinstance(fault, pem.MissingError)
    return Finding(path, fault.message, f"{how}; or correct the path" if is_missing else fault.mend)


def _making(file: FilePath, command: str) -> str:
    """Return what makes a private file, to be copied into a shell."""
    directory = "" if file.parent.is_dir() else f"mkdir -p {quote(str(file.parent))}; "
    return f"`(umask 077; {directory}{command.format(quote(str(file)))})`"


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (x509.ExtensionNotFound, ValueError):
        return False


def _has_signed(authority: x509.Certificate, revoked: x509.CertificateRevocationList) -> bool:
    if authority.subject != revoked.issuer:
        return False
    try:
        return revoked.is_signature_valid(authority.public_key())  # type: ignore[arg-type]  # others raise TypeError
    except (TypeError, ValueError, InvalidSignature, UnsupportedAlgorithm):
        return False

"""Tells who is at the other end of a new client connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from gateway.core.identity import Peer
from gateway.core.refusal import Refusal

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from gateway.credentials.certificates import Certificates


@final
class Peers:
    """Makes the `Peer` of a connection; a certificate that breaks our rules gets none.

    OpenSSL has verified chain, dates and revocation by then; what it does not check (one SPIFFE ID,
    key sizes, key usage) is checked here, once per certificate.

    Args:
        certificates: Reads certificates.
        report: Told the address and the reason of a certificate that is refused.
    """

    def __init__(self, certificates: Certificates, report: Callable[[str, Refusal], None]) -> None:
        self._certificates = certificates
        self._report = report

    def __call__(self, transport: asyncio.BaseTransport) -> Peer | None:
        """Return the peer, or None to refuse the connection."""
        name = transport.get_extra_info("peername")
        address, port = name[:2] if isinstance(name, tuple) else ("unix", 0)
        ssl_object = transport.get_extra_info("ssl_object")
        if ssl_object is None:
            return Peer(address, port)
        der = ssl_object.getpeercert(binary_form=True)
        if der is None:
            return Peer(address, port, tls=ssl_object.version())
        certificate = self._certificates.read(der)
        if isinstance(certificate, Refusal):
            self._report(address, certificate)
            return None
        return Peer(address, port, certificate, ssl_object.version())

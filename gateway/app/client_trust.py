"""Makes the clients' listener from its files: a TLS context, and whom client certificates are believed from.

All of it or nothing: a file that cannot be used leaves what is in use as it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, final

from gateway.credentials.certificate_files import read_vouchers
from gateway.credentials.tls import server_context
from gateway.credentials.trust import Trust

if TYPE_CHECKING:
    import ssl

    from gateway.config.listener import ServerTls
    from gateway.core.ports import Clock


@final
class Loaded(NamedTuple):
    """What the files say.

    Args:
        context: For new handshakes.
        trust: For every client certificate.
    """

    context: ssl.SSLContext
    trust: Trust


@final
class ClientTrust:
    """Reads what the section `server.tls` names, as often as asked.

    Args:
        tls: The section.
        clock: Time.
    """

    def __init__(self, tls: ServerTls, clock: Clock) -> None:
        self._tls = tls
        self._clock = clock

    def load(self) -> Loaded:
        """Read everything.

        Raises:
            TlsError: A file cannot be used; nothing has changed.
        """
        tls = self._tls
        clients = None
        if tls.client_ca is not None:
            clients = read_vouchers(tls.client_ca, tls.revocation_list, self._clock, tls.revocation_grace)
        trust = Trust(clients)
        context = server_context(
            tls.certificate,
            tls.private_key,
            self._clock,
            client_certificate=tls.client_certificate,
            authorities=[one for each in trust.vouchers for one in each.authorities.certificates],
            minimum_version="1.3" if tls.minimum_version == "1.3" else "1.2",
        )
        return Loaded(context, trust)

"""Tells who is at the other end of a new client connection, and whether they still are."""

from __future__ import annotations

from _ssl import ENCODING_DER
from typing import TYPE_CHECKING, Any, Protocol, final

from gateway.core.identity import Peer
from gateway.core.refusal import Refusal

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from gateway.credentials.chains import Chains


class Informed(Protocol):
    """A transport, as far as it is asked here."""

    def get_extra_info(self, name: str, /) -> Any:  # noqa: ANN401 - asyncio's own word for it
        """Return what is known of the connection under a name, or None."""


def peer_chain(ssl_object: ssl.SSLObject) -> tuple[bytes, ...]:
    """Return what the peer sent, DER, its own certificate first; empty if it sent none.

    Python shows the chain from 3.13 on; before, it is there under a private name. Without it the leaf
    stands alone, and is refused unless an authority itself issued it: less is never taken for more.
    """
    leaf = ssl_object.getpeercert(binary_form=True)
    if leaf is None:
        return ()
    is_public = hasattr(ssl_object, "get_unverified_chain")
    source = ssl_object if is_public else getattr(ssl_object, "_sslobj", None)
    read = getattr(source, "get_unverified_chain", None)
    sent = () if read is None else read() or ()
    chain = tuple(one if isinstance(one, bytes) else one.public_bytes(ENCODING_DER) for one in sent)
    return chain if chain and chain[0] == leaf else (leaf,)


@final
class Peers:
    """Makes the `Peer` of a connection; a certificate that is not believed gets none.

    OpenSSL has proven by then that the client holds the key, and that some authority of ours stands
    behind it. Which one may, revocation and what OpenSSL does not check is decided here.

    Args:
        chains: Judges what clients send.
        report: Told the address and the reason of a certificate that is refused.
    """

    def __init__(self, chains: Chains, report: Callable[[str, Refusal], None]) -> None:
        self._chains = chains
        self._report = report

    def __call__(self, transport: Informed) -> Peer | None:
        """Return the peer, or None to refuse the connection."""
        name = transport.get_extra_info("peername")
        address, port = name[:2] if isinstance(name, tuple) else ("unix", 0)
        ssl_object = transport.get_extra_info("ssl_object")
        if ssl_object is None:
            return Peer(address, port)
        chain = peer_chain(ssl_object)
        if not chain:
            return Peer(address, port, tls=ssl_object.version())
        certificate = self._chains.verify(chain)
        if isinstance(certificate, Refusal):
            self._report(address, certificate)
            return None
        return Peer(address, port, certificate, ssl_object.version())

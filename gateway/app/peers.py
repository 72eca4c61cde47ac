"""Tells who is at the other end of a client connection, when it begins and whenever the trust has changed."""

from __future__ import annotations

from _ssl import ENCODING_DER
from typing import TYPE_CHECKING, Any, Final, Protocol, final

import structlog

from gateway.core.identity import Peer
from gateway.core.refusal import Reason, Refusal, Source

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterable

    from gateway.core.identity import PeerCertificate
    from gateway.credentials.chains import Chains
    from gateway.wire.downstream import Downstream


BUG: Final = Refusal(Reason.INTERNAL, note="its certificate could not be looked at", source=Source.GATEWAY)


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


def _judge(chain: tuple[bytes, ...], chains: Chains) -> PeerCertificate | Refusal:
    try:
        return chains.verify(chain)
    except Exception:  # noqa: BLE001 - our bug: this one is not believed, and the others are still looked at
        return BUG


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
        certificate = _judge(chain, self._chains)
        if isinstance(certificate, Refusal):
            self._report(address, certificate)
            return None
        return Peer(address, port, certificate, ssl_object.version())


def recheck(connections: Iterable[Downstream], chains: Chains, report: Callable[[str, Refusal], None]) -> int:
    """Look at every open connection again, and end those whose client is no longer believed.

    Idle ones are closed, running exchanges end with the refusal. Synchronous: called in the turn of the
    event loop in which the trust was replaced, no request can slip in between, and so no request has to
    ask. What a client sent is still in its TLS object: nothing is kept for this.

    Args:
        connections: The open connections; the collection may change meanwhile.
        chains: Judges, under the trust of now.
        report: Told the address and the reason of each that is ended.

    Returns:
        How many were ended.
    """
    ended = 0
    for connection in list(connections):
        peer = connection.peer
        ssl_object = connection.transport_info("ssl_object")
        if peer is None or peer.certificate is None or ssl_object is None or connection.is_ending:
            continue
        certificate = _judge(peer_chain(ssl_object), chains)
        if isinstance(certificate, Refusal):
            ended += 1
            report(peer.address, certificate)
            connection.distrust(certificate)
        elif certificate != peer.certificate:  # another path, which may end earlier
            connection.peer = Peer(peer.address, peer.port, certificate, peer.tls)
    return ended


def say_refused(address: str, refusal: Refusal) -> None:
    """Say in the log whose certificate was refused, and why."""
    structlog.get_logger().warning(
        "certificate-refused",
        address=address,
        reason=refusal.reason.value,
        why=refusal.note or refusal.detail,
    )

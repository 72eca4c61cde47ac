"""The record of a request that was served, put together from parts that were encoded before.

Nearly every record is one of these, and nearly everything in it was in another one: who, from where, what
and by which rule. Those parts are kept, encoded; the rest is numbers. The bytes are those that `encoder`
would make of the same exchange, which takes every other kind; a test holds the two together.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, final

import msgspec

from gateway.core.exchange import Outcome
from gateway.observe.redact import clip, mend, neutralise

if TYPE_CHECKING:
    from gateway.core.call import Call
    from gateway.core.exchange import Exchange
    from gateway.core.identity import Peer
    from gateway.core.permit import Permit
    from gateway.core.prompt import Prompt

MILLION: Final = 1e6
MAX_PARTS: Final = 4096  # kept of each kind, about 0.5 KB each; then all are forgotten
MAX_KEY: Final = 512  # characters of a text that is kept and is the client's

_encode: Final = msgspec.json.Encoder().encode
_MILLIS: Final = tuple([b".%03dZ" % milli for milli in range(1000)])


def text(value: str) -> bytes:
    """Encode one text as a JSON string that is safe to print."""
    try:
        return neutralise(_encode(value))
    except UnicodeEncodeError:  # a lone surrogate in client-controlled text
        return neutralise(_encode(mend(value)))


@final
class ServedEncoder:
    """Encodes served exchanges. One per process; not thread-safe."""

    __slots__ = ("_asked", "_peers", "_second", "_stamp", "_texts")

    def __init__(self) -> None:
        self._asked: dict[tuple[str, str, str, str, str | None, bool], bytes] = {}
        self._peers: dict[tuple[str, str | None, str | None], bytes] = {}
        self._texts: dict[str, bytes] = {}
        self._second = -1
        self._stamp = b""

    def encode(self, ex: Exchange, who: bytes) -> bytes | None:
        """Return the record as JSON without line ends, safe to print; None if it is not a plain one.

        Args:
            ex: A finished exchange; client-controlled in parts.
            who: Its identity, encoded.
        """
        permit, prompt, call, risk, ledger = ex.permit, ex.prompt, ex.call, ex.risk, ex.ledger
        endpoint, assertion = ex.endpoint, ex.assertion
        if permit is None or prompt is None or call is None or endpoint is None or assertion is None:
            return None
        if ex.outcome is not Outcome.SERVED or ex.refusal is not None or not ex.answered_at:
            return None
        if (risk is not None and risk.score > 0.0) or ledger is None or ledger.is_local:
            return None
        try:
            name = ex.id.encode()
        except UnicodeEncodeError:
            return None
        if not name.isalnum():  # ours always is
            return None
        return (
            b'{"time":"%b","id":"%b","outcome":"served","status":%d,%b,"who":%b%b,"endpoint":%b,"assertion":%b%b%b%b}'
            % (
                self.time(ex.started),
                name,
                ex.status,
                self._ask(call, permit, prompt),
                who,
                self._peer(ex.peer),
                self._text(endpoint),
                self._text(assertion),
                _amounts(ex),
                _micros(ex),
                self._version(ex.runtime_version),
            )
        )

    def time(self, started: float) -> bytes:
        """Write a wall clock time as RFC 3339 with milliseconds."""
        millis = int(started * 1000)
        second = millis // 1000
        if second != self._second:
            self._stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second)).encode()
            self._second = second
        return self._stamp + _MILLIS[millis % 1000]

    def _ask(self, call: Call, permit: Permit, prompt: Prompt) -> bytes:
        """Encode what was asked, and by which rule it was allowed."""
        path, model, route = call.path, prompt.model, permit.route.name
        key = (call.method, path, route, permit.rule, model, prompt.stream)
        part = self._asked.get(key)
        if part is None:
            part = b'"method":%b,"path":%b,"route":%b,"rule":%b' % (
                text(call.method),
                text(clip(path)),
                text(route),
                text(permit.rule),
            )
            if model is not None:
                part += b',"model":%b' % text(clip(model))
            if prompt.stream:
                part += b',"stream":true'
            if len(self._asked) >= MAX_PARTS:
                self._asked.clear()
            if len(path) <= MAX_KEY and (model is None or len(model) <= MAX_KEY):
                self._asked[key] = part
        return part

    def _peer(self, peer: Peer) -> bytes:
        certificate = peer.certificate
        fingerprint = None if certificate is None else certificate.fingerprint
        key = (peer.address, fingerprint, peer.tls)
        part = self._peers.get(key)
        if part is None:
            part = b',"peer":%b' % text(peer.address) if peer.address else b""
            if fingerprint is not None:
                part += b',"certificate":%b' % text(fingerprint)
            if peer.tls is not None:
                part += b',"tls":%b' % text(peer.tls)
            if len(self._peers) >= MAX_PARTS:
                self._peers.clear()
            self._peers[key] = part
        return part

    def _version(self, version: str) -> bytes:
        return b',"configuration":%b' % self._text(version) if version else b""

    def _text(self, value: str) -> bytes:
        """Encode a text of ours that comes again and again."""
        part = self._texts.get(value)
        if part is None:
            if len(self._texts) >= MAX_PARTS:
                self._texts.clear()
            part = self._texts[value] = text(value)
        return part


def _amounts(ex: Exchange) -> bytes:
    """Encode what went in and out; what is nothing or not known is left out."""
    usage = ex.usage
    given, produced = usage.input_tokens, usage.output_tokens
    amounts = b""
    if given is not None and produced is not None:
        amounts = b',"input_tokens":%d,"output_tokens":%d' % (given, produced)
    elif given is not None:
        amounts = b',"input_tokens":%d' % given
    elif produced is not None:
        amounts = b',"output_tokens":%d' % produced
    if usage.events:
        amounts = b'%b,"events":%d' % (amounts, usage.events)
    if ex.bytes_in and ex.bytes_out:
        return b',"bytes_in":%d,"bytes_out":%d%b' % (ex.bytes_in, ex.bytes_out, amounts)
    if ex.bytes_in:
        return b',"bytes_in":%d%b' % (ex.bytes_in, amounts)
    if ex.bytes_out:
        return b',"bytes_out":%d%b' % (ex.bytes_out, amounts)
    return amounts


def _micros(ex: Exchange) -> bytes:
    """Encode the time of an exchange, split over its stages; it came all the way."""
    return (
        b',"us":{"total":%d,"identify":%d,"enter":%d,"limit":%d,"inspect":%d,"decide":%d,"backend":%d,"relay":%d}'
        % (
            int((ex.ended_at - ex.began_at) * MILLION),
            int((ex.identified_at - ex.began_at) * MILLION),
            int((ex.entered_at - ex.identified_at) * MILLION),
            int((ex.admitted_at - ex.entered_at) * MILLION),
            int((ex.inspected_at - ex.admitted_at) * MILLION),
            int((ex.forwarded_at - ex.inspected_at) * MILLION),
            int((ex.answered_at - ex.forwarded_at) * MILLION),
            int((ex.ended_at - ex.answered_at) * MILLION),
        )
    )

"""How a refusal looks to a client: status, problem document, challenge, retry fields.

Decides nothing: by then the answer is no. An unknown route and a forbidden one are byte-identical apart
from the request id. No exception text, no upstream text and no input of the client is ever part of an
answer; `Refusal.note` stays in the record. Hints about limits go to identified callers only.

The document is RFC 9457 plus the `error` object that inference SDKs show to their users.
"""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, Final, final

import msgspec

from gateway.stages.refuse.challenges import Challenges, quoted, visible
from gateway.stages.refuse.public import PUBLIC, Challenge, Public

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gateway.core.exchange import Exchange
    from gateway.core.refusal import LimitState, Refusal

__all__ = ["Problems"]

_encode: Final = msgspec.json.Encoder().encode

DEFAULT_RETRY_SECONDS: Final = 1  # where waiting helps and nobody knows how long
MAX_RETRY_SECONDS: Final = 32 * 86_400  # the longest month, and a day for zones
MAX_WINDOW_SECONDS: Final = 10**9  # thirty years: longer than any limit's window
UUID_LENGTH: Final = 36
UUID_DASHES: Final = 4
FIRST_SERVER_ERROR: Final = 500

FIELDS: Final = b"Content-Type: application/problem+json\r\nCache-Control: no-store\r\n"

CONCURRENT: Final = b';qu="concurrent-requests"'
UNITS: Final = {
    "input_tokens": b';qu="gateway-input-tokens"',
    "output_tokens": b';qu="gateway-output-tokens"',
    "tokens": b';qu="gateway-tokens"',
    "cost": b';qu="gateway-microcost"',
    "bytes_out": b';qu="content-bytes"',
    "stream_time": b';qu="gateway-stream-milliseconds"',
    "streams": b';qu="gateway-concurrent-streams"',
}
"""Quota units by measure; requests are the default. What is not registered carries our name."""

# `type` of the error object, in the words that OpenAI-style SDKs know; by status.
SDK_TYPES: Final = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


@final
class _Template:
    """The parts of one reason's answer that never change, encoded once."""

    __slots__ = ("code", "head", "is_retryable", "message", "public", "title")

    def __init__(self, entry: Public, type_base: str) -> None:
        fault = "server_error" if entry.status >= FIRST_SERVER_ERROR else "invalid_request_error"
        sdk = SDK_TYPES.get(entry.status, fault)
        self.public = entry
        self.title = _encode(entry.title)
        self.head = b'{"type":%b,"title":%b,"status":%d' % (
            _encode(entry.type or type_base + entry.word),
            self.title,
            entry.status,
        )
        self.message = b',"error":{"message":'
        self.code = b',"type":%b,"param":null,"code":%b}}' % (_encode(sdk), _encode(entry.word))
        self.is_retryable = entry.status in {429, 503}


@final
class Problems:
    """Renders refusals.

    Args:
        type_base: URL that the public word is appended to: the problem's `type`.
        realm: Realm of challenges.
        report: Takes an exchange and the unexpected exception that ended it, for the operators' log.
        algorithms: Algorithms of proofs of possession (RFC 9449); none: the scheme DPoP is not taken.
        metadata: URL of the gateway's own metadata (RFC 9728), or "".
    """

    __slots__ = ("_challenges", "_report", "_templates")

    def __init__(
        self,
        type_base: str,
        realm: str,
        report: Callable[[Exchange, Exception], None],
        *,
        algorithms: Sequence[str] = (),
        metadata: str = "",
    ) -> None:
        self._report = report
        self._challenges = Challenges(realm, algorithms=algorithms, metadata=metadata)
        shared = {entry: _Template(entry, type_base) for entry in set(PUBLIC.values())}
        self._templates = {reason: shared[entry] for reason, entry in PUBLIC.items()}

    def render(self, ex: Exchange, refusal: Refusal) -> tuple[int, bytes, bytes, bool]:
        """Render a refusal as a whole answer.

        Args:
            ex: The exchange; its id becomes the `instance`, its identity decides about hints.
            refusal: Why.

        Returns:
            Status, complete CRLF-terminated field lines without framing fields, body, and whether
            the connection must be closed after it.
        """
        template = self._templates[refusal.reason]
        entry = template.public
        fields = FIELDS
        if entry.challenge is not Challenge.NONE:
            detail = "" if entry.is_silent else refusal.detail
            fields += self._challenges.write(entry.challenge, entry.status, refusal, detail, ex.call)
        if refusal.nonce is not None:
            fields += b"DPoP-Nonce: %b\r\n" % visible(refusal.nonce).encode()
        if template.is_retryable:
            seconds = _retry_seconds(refusal)
            fields += b"Retry-After: %d\r\n" % seconds
            if refusal.limits and ex.identity is not None and not ex.identity.is_anonymous:
                fields += _rate_limit(refusal.limits, seconds)
        return entry.status, fields, _document(template, ex, refusal), entry.is_closing

    def event(self, ex: Exchange, refusal: Refusal) -> bytes:
        """Render a refusal as the last server-sent event of an answer that has begun.

        Begins with an empty line, which ends whatever event was cut off in the middle.
        """
        return b"\n\nevent: error\ndata: %b\n\n" % _document(self._templates[refusal.reason], ex, refusal)

    def report(self, ex: Exchange, fault: Exception) -> None:
        """Hand an unexpected exception to the operators; clients get the word `internal`, no more."""
        self._report(ex, fault)


def _document(template: _Template, ex: Exchange, refusal: Refusal) -> bytes:
    name = ex.id
    is_uuid = len(name) == UUID_LENGTH and name.count("-") == UUID_DASHES
    instance = _encode(("urn:uuid:" if is_uuid else "urn:request:") + name)
    violated = b""
    if template.public.type and refusal.limits and ex.identity is not None and not ex.identity.is_anonymous:
        violated = b',"violated-policies":' + _encode([limit.name for limit in refusal.limits])
    if not refusal.detail or template.public.is_silent:
        return b'%b,"instance":%b%b%b%b%b' % (
            template.head,
            instance,
            violated,
            template.message,
            template.title,
            template.code,
        )
    detail = _encode(refusal.detail)
    return b'%b,"detail":%b,"instance":%b%b%b%b%b' % (
        template.head,
        detail,
        instance,
        violated,
        template.message,
        detail,
        template.code,
    )


def _retry_seconds(refusal: Refusal) -> int:
    if refusal.retry_after is None:
        return DEFAULT_RETRY_SECONDS
    return max(1, _whole_seconds(refusal.retry_after, MAX_RETRY_SECONDS))


def _whole_seconds(seconds: float, most: int) -> int:
    """Round up, within [0, most]; nothing that a float can be makes this fail."""
    return ceil(min(seconds, most)) if seconds > 0 else 0


def _rate_limit(limits: tuple[LimitState, ...], retry_after: int) -> bytes:
    """Write RateLimit-Policy and RateLimit (draft-ietf-httpapi-ratelimit-headers-10, section 3 and 4).

    `t` is when more becomes available, not when the quota is whole: of a limit that fills up steadily that
    is sooner. It never lies behind `Retry-After` (section 6), whose wait brings what was asked for.
    """
    policies: list[bytes] = []
    states: list[bytes] = []
    for limit in limits:
        name = quoted(limit.name)
        if limit.window > 0:
            window = _whole_seconds(limit.window, MAX_WINDOW_SECONDS)
            reset = min(_whole_seconds(limit.reset, MAX_WINDOW_SECONDS), retry_after)
            policies.append(b"%b;q=%d;w=%d%b" % (name, limit.quota, window, UNITS.get(limit.unit, b"")))
            states.append(b"%b;r=%d;t=%d" % (name, max(0, limit.remaining), reset))
        else:  # a concurrency limit has no window, and nobody knows when a request ends
            policies.append(b"%b;q=%d%b" % (name, limit.quota, UNITS.get(limit.unit, CONCURRENT)))
            states.append(b"%b;r=%d" % (name, max(0, limit.remaining)))
    return b"RateLimit-Policy: %b\r\nRateLimit: %b\r\n" % (b", ".join(policies), b", ".join(states))

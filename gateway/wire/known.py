"""The last head that a backend sent on one connection: most send the same one again and again.

Equal bytes at the start of a message mean equal things, so llhttp, which stands between two messages, need
not see it; only the digits of Content-Length may differ. Looked at only while its connection lives, which
no answer survives that did not end cleanly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from gateway.core.memo import AnswerMemo
from gateway.wire.framing import leading_number, split_at_length

if TYPE_CHECKING:
    from gateway.wire.answer import Answer

MAX_MISSES: Final = 8  # heads in a row that were none of the known ones: then only every
RETRY_MISSES: Final = 64  # so many is kept


@final
class KnownHead:
    """One head, and what it means."""

    __slots__ = ("_headers", "_memo", "_misses", "_prefix", "_status", "_suffix", "length")

    def __init__(self) -> None:
        self.length = 0  # of the body that `match` found announced
        self._prefix = b""  # nothing is kept
        self._suffix = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._status = 0
        self._memo = AnswerMemo()
        self._misses = 0  # heads that were not the last one, in a row

    @property
    def is_kept(self) -> bool:
        """True if there is a head to compare with."""
        return bool(self._prefix)

    def keep(self, data: bytes, answer: Answer) -> None:
        """Keep the head at the start of `data`, which llhttp took, unless its length is not certain."""
        self._prefix = b""
        self._misses += 1
        if self._misses > MAX_MISSES and self._misses % RETRY_MISSES:
            return  # this backend's heads differ, one from the next
        if answer.length is None or not data.startswith(b"HTTP/1.1 "):
            return
        raw = data[: data.find(b"\r\n\r\n") + 4]
        parts = split_at_length(raw, raw.lower())
        if parts is not None and parts[1]:
            self._prefix, self._suffix = parts
            self._headers, self._status, self._memo = answer.headers, answer.status, answer.memo

    def match(self, data: bytes, answer: Answer) -> int:
        """Give an answer the meaning of its head, if that is known.

        Returns:
            Where the body begins in `data`; 0 if it is another head. Then nothing was given.
        """
        prefix = self._prefix
        if not prefix or not data.startswith(prefix):
            return 0
        length, end = leading_number(data, len(prefix))
        begin = end + len(self._suffix)
        if not length or data[end:begin] != self._suffix:
            return 0
        self._misses = 0
        self.length = answer.length = length
        answer.headers = self._headers
        answer.memo = self._memo
        answer.status = self._status
        return begin

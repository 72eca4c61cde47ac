"""Meter: what did the answer use? Read while the bytes pass, never in their way.

A meter sees a backend's bytes, which are as untrusted as a client's: it never raises, keeps a bounded
buffer and takes nothing but plain counts. It never changes or delays a byte, and what it cannot read
stays unknown: `Usage` then says None, which is not zero.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

import msgspec

from gateway.stages.meter.document import decode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.core.exchange import Usage
    from gateway.core.ports import Meter, MeterFactory
    from gateway.stages.meter.document import Tokens

MAX_LINE: Final = 64 * 1024  # bytes of one line of an event stream; a longer one is counted, not read
MAX_DOCUMENT: Final = 1024 * 1024  # bytes of a JSON answer; of a longer one the usage stays unknown

_JSON: Final = b"application/json"
_EVENTS: Final = b"text/event-stream"
_CR: Final = ord("\r")  # an int is found in bytes ten times faster than a byte string


def _read_usage(usage: Usage, document: bytes) -> None:
    """Take over the counts that `document` states; later ones replace earlier ones."""
    try:
        parsed = decode(document)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return  # not ours to judge: the bytes have passed already
    if (tokens := parsed.usage) is not None:
        _take(usage, tokens)
    for part in (parsed.response, parsed.message):
        if part is not None and part.usage is not None:
            _take(usage, part.usage)


def _take(usage: Usage, tokens: Tokens) -> None:
    given = tokens.input_tokens
    if given is None:
        given = tokens.prompt_tokens
    produced = tokens.output_tokens
    if produced is None:
        produced = tokens.completion_tokens
    if produced is None and given is not None and given == tokens.total_tokens:
        produced = 0  # as of embeddings: nothing else was used
    if given is not None:
        cached = (tokens.cache_creation_input_tokens or 0) + (tokens.cache_read_input_tokens or 0)
        usage.input_tokens = given + cached
    if produced is not None:
        usage.output_tokens = produced


@final
class NullMeter:
    """Reads nothing."""

    __slots__ = ()

    def feed(self, data: bytes, /) -> None:
        """Look at nothing."""

    def finish(self) -> None:
        """Write nothing down."""


@final
class JsonMeter:
    """Reads `usage` from a JSON answer once it is whole.

    Args:
        usage: Where the counts go.
    """

    __slots__ = ("_pieces", "_room", "_usage")

    def __init__(self, usage: Usage) -> None:
        self._usage = usage
        self._pieces: list[bytes] = []
        self._room = MAX_DOCUMENT

    def feed(self, data: bytes, /) -> None:
        """Keep the next piece, unless the answer is too long already."""
        self._room -= len(data)
        if self._room >= 0:
            self._pieces.append(data)
        elif self._pieces:
            self._pieces = []

    def finish(self) -> None:
        """Parse what was kept."""
        if self._pieces:
            _read_usage(self._usage, b"".join(self._pieces))
            self._pieces = []


@final
class SseMeter:
    """Counts server-sent events and reads `usage` from them (WHATWG HTML, section 9.2).

    An event is a block of lines that has a `data` line and is ended by a blank line; usage is read
    from `data` lines that are JSON objects. The result depends on the bytes alone, never on how they
    were cut into pieces.

    Args:
        usage: Where the counts go.
    """

    __slots__ = ("_has_data", "_is_skipping", "_rest", "_usage")

    def __init__(self, usage: Usage) -> None:
        self._usage = usage
        self._rest = b""  # the begun line, and a last CR of which nobody knows yet whether LF follows
        self._has_data = False  # the begun block has a data line
        self._is_skipping = False  # inside a line that is too long

    def feed(self, data: bytes, /) -> None:
        """Look at the next piece of the stream."""
        if (  # one whole event without usage: almost every piece of almost every stream
            data.startswith(b"data:")
            and data.endswith(b"\n\n")
            and data.find(b"\n") == len(data) - 2  # the two that end it are the only ones
            and _CR not in data
            and not self._rest
            and not self._has_data
            and not self._is_skipping
            and (b'"usage"' not in data or data.count(b'"usage"') == data.count(b'"usage":null'))
        ):
            self._usage.events += 1
            return
        self._feed_lines(data)

    def finish(self) -> None:
        """Read the last line, if the stream ended within it; an unfinished event is not counted."""
        rest, self._rest = self._rest, b""
        if rest and not self._is_skipping:
            self._line(rest.removesuffix(b"\r"))

    def _feed_lines(self, data: bytes) -> None:
        if self._rest:
            data = self._rest + data
        held = b""
        if data.endswith(b"\r"):
            held = b"\r"
            data = data[:-1]
        if b"\r" in data:
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *lines, rest = data.split(b"\n")
        for line in lines:
            if self._is_skipping:
                self._is_skipping = False  # this is the end of the long line; its start was seen
            else:
                self._line(line)
        if self._is_skipping:
            rest = b""
        elif len(rest) > MAX_LINE:
            self._line(rest)
            self._is_skipping = True
            rest = b""
        self._rest = rest + held

    def _line(self, line: bytes) -> None:
        if not line:
            self._usage.events += self._has_data
            self._has_data = False
        elif line.startswith(b"data:"):
            self._has_data = True
            if b'"usage"' in line and len(line) <= MAX_LINE:
                _read_usage(self._usage, line[5:])


def openai_meter(usage: Usage, content_type: bytes, /) -> Meter:
    """Make the meter that fits an answer's content type.

    Args:
        usage: Where the counts go.
        content_type: As the backend sent it, b"" if it sent none.

    Returns:
        A meter for event streams or JSON; one that reads nothing for everything else.
    """
    media = content_type
    if media != _JSON and media != _EVENTS:  # noqa: PLR1714 - a call less than a set
        media = content_type.partition(b";")[0].strip().lower()
    if media == _EVENTS:
        return SseMeter(usage)
    if media == _JSON:
        return JsonMeter(usage)
    return NullMeter()


def null_meter(usage: Usage, content_type: bytes, /) -> Meter:  # noqa: ARG001 -- the port
    """Make a meter that reads nothing, for dialects whose answers say nothing about usage."""
    return NullMeter()


METERS: Final[Mapping[str, MeterFactory]] = {
    "openai.chat": openai_meter,
    "openai.embeddings": openai_meter,
    "openai.models": null_meter,
    "openai.completions": openai_meter,
    "openai.responses": openai_meter,
    "openai.moderations": null_meter,
    "openai.images": openai_meter,
    "openai.audio": openai_meter,
    "anthropic.messages": openai_meter,
    "anthropic.count_tokens": null_meter,
    "oip": null_meter,
    "json": openai_meter,
    "opaque": null_meter,
}

"""Invariant: what is metered depends on the bytes of the answer, never on how they are cut."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.core.exchange import Usage
from gateway.stages.meter import (
    MAX_DOCUMENT,
    MAX_LINE,
    METERS,
    JsonMeter,
    NullMeter,
    SseMeter,
    null_meter,
    openai_meter,
)

CHUNK = b'data: {"id":"c","choices":[{"index":0,"delta":{"content":" hi"},"finish_reason":null}]}\n\n'
NULL = b'data: {"choices":[],"usage":null}\n\n'
LAST = b'data: {"choices":[],"usage":{"prompt_tokens":11,"completion_tokens":7,"total_tokens":18}}\n\n'
DONE = b"data: [DONE]\n\n"


def metered(*pieces: bytes) -> tuple[int, int | None, int | None]:
    """Meter a stream that comes in these pieces."""
    usage = Usage()
    meter = SseMeter(usage)
    for piece in pieces:
        meter.feed(piece)
    meter.finish()
    return usage.events, usage.input_tokens, usage.output_tokens


def reference(stream: bytes) -> tuple[int, int | None, int | None]:
    """Read a whole stream at once, line by line, as the standard says."""
    lines = stream.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    ended, rest = lines[:-1], lines[-1:]
    events, given_tokens, produced, has_data = 0, None, None, False
    for line in ended + [line for line in rest if line]:
        if not line:
            events += has_data
            has_data = False
        if line.startswith(b"data:"):
            has_data = True
            try:
                found = json.loads(line[5:])["usage"]
                given_tokens, produced = found["prompt_tokens"], found["completion_tokens"]
            except (ValueError, TypeError, KeyError):
                continue
    return events, given_tokens, produced


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    """Cut a stream at these places."""
    marks = sorted({place % (len(stream) + 1) for place in places} | {0, len(stream)})
    return [stream[start:end] for start, end in itertools.pairwise(marks)]


PARTS = st.sampled_from(
    [
        CHUNK,
        NULL,
        LAST,
        DONE,
        LAST.replace(b"\n", b"\r\n"),
        LAST.replace(b"\n", b"\r"),
        CHUNK.replace(b"\n\n", b"\n\r\n"),
        b": ping\n\n",
        b"event: x\ndata: 1\ndata: 2\n\n",
        b"id: 1\n\n",
        b"\n",
        b"\r",
        b"\r\n",
        b"data",
        b"data:",
        b'data: {"usage":{"prompt_tokens":3,"completion_tokens":4}}',
        b'data: {"text":"\\"usage\\": data:"}\n\n',
        b'data: {"usage":\n\n',
        b"\xff\xfe",
    ]
)


@given(st.lists(PARTS, max_size=8).map(b"".join), st.lists(st.integers(0, 2**16), max_size=12))
@example(CHUNK + LAST + DONE, list(range(2**9)))
@example(b"data: 1\n", [])
@example(b"data: 1\r\r", [8])
def test_reads_the_same_however_cut(stream: bytes, places: list[int]) -> None:
    """Any cutting gives what one look at the whole gives."""
    assert reference(stream) == metered(*cut(stream, places))


@given(st.lists(PARTS, max_size=8))
@example([b": no event ", CHUNK])
@example([b"data: 1\n", CHUNK, b"\n"])
@example([b"data: 1\r\rdata: 2\n\n"])
def test_reads_the_same_event_by_event(pieces: list[bytes]) -> None:
    """The short way for whole events agrees with the long way, whatever was begun before."""
    assert reference(b"".join(pieces)) == metered(*pieces)


def test_takes_the_last_word() -> None:
    """Running totals are replaced by later ones."""
    assert metered(CHUNK, LAST.replace(b"7", b"3"), LAST, DONE) == (4, 11, 7)


@pytest.mark.parametrize(
    "event",
    [
        b'data: {"type":"response.completed","response":{"usage":{"input_tokens":5,"output_tokens":6}}}\n\n',
        b'data: {"message":{"usage":{"input_tokens":5,"output_tokens":1}}}\n\ndata: {"usage":{"output_tokens":6}}\n\n',
        b'data:{"usage" : {"prompt_tokens":5,"completion_tokens":6}}\n\n',
    ],
)
def test_reads_every_vocabulary(event: bytes) -> None:
    """Chat completions, responses and messages name and nest their usage differently."""
    assert metered(event)[1:] == (5, 6)


@pytest.mark.parametrize(
    ("total", "produced"), [(b',"total_tokens":5', 0), (b',"total_tokens":6', None), (b"", None)]
)
def test_input_that_is_all_leaves_no_output(total: bytes, produced: int | None) -> None:
    """Of embeddings a backend states no output: if its total is its input there was none, else nobody knows."""
    assert metered(b'data: {"usage":{"prompt_tokens":5' + total + b"}}\n\n")[1:] == (5, produced)


@pytest.mark.parametrize(
    ("events", "tokens"),
    [
        (
            [
                b'data: {"message":{"usage":{"input_tokens":5,"cache_read_input_tokens":7,"output_tokens":1}}}\n\n',
                b'data: {"type":"message_delta","usage":{"output_tokens":6}}\n\n',
            ],
            (12, 6),
        ),
        (
            [
                b'data: {"message":{"usage":{"input_tokens":5,"cache_creation_input_tokens":2,"output_tokens":1}}}\n\n',
                b'data: {"usage":{"input_tokens":5,"cache_creation_input_tokens":2,"output_tokens":6}}\n\n',
            ],
            (7, 6),
        ),
        (
            [b'data: {"usage":{"input_tokens":5,"cache_read_input_tokens":null,"output_tokens":6}}\n\n'],
            (5, 6),
        ),
        ([b'data: {"usage":{"cache_read_input_tokens":7,"output_tokens":6}}\n\n'], (None, 6)),
        (
            [
                b'data: {"usage":{"input_tokens":9,"input_tokens_details":{"cached_tokens":4},"output_tokens":6}}\n\n'
            ],
            (9, 6),
        ),
    ],
)
def test_cached_input_is_input(events: list[bytes], tokens: tuple[int | None, int]) -> None:
    """Anthropic counts cached tokens beside the others, OpenAI among them: both are what was sent."""
    assert metered(*events)[1:] == tokens


@pytest.mark.parametrize(
    "usage",
    [
        b"[]",
        b'"5"',
        b'{"prompt_tokens":"5"}',
        b'{"prompt_tokens":-1}',
        b'{"prompt_tokens":1e99}',
        b'{"prompt_tokens":9007199254740992}',
        b'{"prompt_tokens":1.5}',
        b"{",
        b"[" * 5000,
    ],
)
def test_believes_no_nonsense(usage: bytes) -> None:
    """A count that is no count stays unknown, and nothing is raised."""
    assert metered(b'data: {"usage":' + usage + b"}\n\n") == (1, None, None)


@pytest.mark.parametrize("extra", [-1, 0, 1, 2, 5000])
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("size", [1024, 65_535, 10**9])
def test_skips_a_line_that_is_too_long(extra: int, end: bytes, size: int) -> None:
    """A line beyond the bound is counted but not read; what follows is read, however it is cut."""
    frame = b'data: {"usage":{"prompt_tokens":1,"completion_tokens":2},"x":"%b"}'
    line = frame % (b"x" * (MAX_LINE + extra - len(frame) + 2))
    stream = line + end + end + CHUNK
    expected = (2, 1, 2) if extra <= 0 else (2, None, None)

    assert len(line) == MAX_LINE + extra
    assert expected == metered(*(stream[at : at + size] for at in range(0, len(stream), size)))
    assert metered(*(stream[at : at + size] for at in range(0, len(stream), size)), LAST) == (3, 11, 7)


def test_holds_a_bounded_buffer() -> None:
    """A line without an end costs no memory beyond the bound."""
    meter = SseMeter(Usage())
    for _ in range(100):
        meter.feed(b"data: " + b"x" * 10_000)
        assert len(meter._rest) <= MAX_LINE
    meter.finish()


def test_does_not_take_the_end_of_a_long_line_for_an_event() -> None:
    """What continues a line that is too long belongs to that line."""
    assert metered(b":" + b"x" * MAX_LINE, CHUNK, LAST) == (1, 11, 7)


def test_ends_quietly_inside_a_long_line() -> None:
    """A stream that is cut off within a line that is too long leaves usage unknown."""
    assert metered(b"data: " + b"x" * 2 * MAX_LINE, b'"usage"') == (0, None, None)


def test_reads_usage_of_a_plain_answer() -> None:
    """A JSON answer is read once it is whole, however it came."""
    body = b'{"choices":[],"usage":{"prompt_tokens":11,"completion_tokens":7}}'
    for size in range(1, len(body) + 1):
        usage = Usage()
        meter = JsonMeter(usage)
        for at in range(0, len(body), size):
            meter.feed(body[at : at + size])
        meter.finish()
        meter.finish()

        assert (usage.events, usage.input_tokens, usage.output_tokens) == (0, 11, 7)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b'{"usage":{"prompt_tokens":"x"}}',
        b'{"usage":null}',
        b"\xff",
        b'"\xff"',
        b"[" * 100_000,
    ],
)
def test_leaves_unreadable_answers_unknown(body: bytes) -> None:
    """What a backend sends is not judged here."""
    usage = Usage()
    meter = JsonMeter(usage)
    meter.feed(body)
    meter.finish()

    assert (usage.input_tokens, usage.output_tokens) == (None, None)


@pytest.mark.parametrize(("room", "tokens"), [(0, 1), (1, None), (2**20, None)])
def test_keeps_at_most_a_bound_of_an_answer(room: int, tokens: int | None) -> None:
    """An answer beyond the bound is let go at once, and its usage is unknown."""
    usage = Usage()
    meter = JsonMeter(usage)
    tail = b'"usage":{"prompt_tokens":1}}'
    meter.feed(b'{"x":"' + b"x" * (MAX_DOCUMENT + room - len(tail) - 8) + b'",')
    meter.feed(tail)
    meter.feed(b"")
    meter.finish()

    assert tokens == usage.input_tokens
    assert not meter._pieces


@pytest.mark.parametrize(
    ("content_type", "kind"),
    [
        (b"text/event-stream", SseMeter),
        (b"Text/Event-Stream; charset=utf-8", SseMeter),
        (b"application/json", JsonMeter),
        (b"application/json; charset=utf-8", JsonMeter),
        (b"", NullMeter),
        (b"audio/wav", NullMeter),
        (b"text/event-streams", NullMeter),
    ],
)
def test_fits_the_content_type(content_type: bytes, kind: type) -> None:
    """The answer's own type decides how it is read."""
    assert isinstance(openai_meter(Usage(), content_type), kind)


def test_reads_nothing_where_nothing_is_to_be_read() -> None:
    """The meter of other answers leaves usage as it is."""
    usage = Usage()
    meter = null_meter(usage, b"application/json")
    meter.feed(LAST)
    meter.finish()

    assert (usage.events, usage.input_tokens, usage.output_tokens) == (0, None, None)
    assert METERS["opaque"] is METERS["openai.models"] is null_meter

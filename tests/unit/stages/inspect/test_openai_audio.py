"""Forms with a recording: strict multipart, known fields, one reading."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.refusal import Reason, Refusal
from gateway.stages.inspect.catalog import build_inspector
from gateway.stages.inspect.multipart import Part, parse_form, write_form
from tests.unit.stages.inspect.doubles import KEY, call, reason

INSPECTOR = build_inspector("openai.audio", fingerprint_key=KEY)
MEDIA = b"multipart/form-data; boundary=b1"
FILE = b'--b1\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\nContent-Type: audio/wav\r\n\r\nRIFF\r\n'
MODEL = b'--b1\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper\r\n'
END = b"--b1--\r\n"


def field(name: str, value: str | bytes) -> bytes:
    """Write one text field."""
    data = value if isinstance(value, bytes) else value.encode()
    return b'--b1\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n' % (name.encode(), data)


def inspect(body: bytes, media: bytes = MEDIA, **headers: bytes) -> object:
    """Inspect a form."""
    return INSPECTOR(
        body, call(headers={b"content-type": media, **{k.encode(): v for k, v in headers.items()}})
    )


def test_reads_and_writes_a_form() -> None:
    """Model, stream and temperature are read; the parts go on under another boundary."""
    body = MODEL + field("stream", "true") + field("temperature", "0.5") + FILE + END
    verdict = inspect(body)

    assert isinstance(verdict, tuple)
    prompt, sent, media = verdict
    assert ("whisper", True, 0.5, 1, len(body)) == (
        prompt.model,
        prompt.stream,
        prompt.temperature,
        prompt.messages,
        prompt.size,
    )
    boundary = media.removeprefix(b"multipart/form-data; boundary=")
    assert boundary != b"b1"
    assert body.replace(b"--b1", b"--" + boundary) == sent
    again = inspect(body)
    assert isinstance(again, tuple)
    assert prompt.fingerprint == again[0].fingerprint != 0


@pytest.mark.parametrize(
    "fields",
    [
        b"",
        field("language", "de"),
        field("prompt", "zwei Zeilen\r\nund ü"),
        field("response_format", "verbose_json") + field("timestamp_granularities[]", "word"),
        field("timestamp_granularities[]", "word") + field("timestamp_granularities[]", "segment"),
        field("include[]", "logprobs") + field("chunking_strategy", "auto"),
        field("prompt", "--b2\n--b1\n--b1--"),
    ],
)
def test_takes_what_the_api_knows(fields: bytes) -> None:
    """Its fields, and texts that look like delimiters and are none."""
    assert reason(inspect(MODEL + fields + FILE + END)) is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        END,
        MODEL + END,
        FILE + END,
        MODEL + FILE,
        MODEL + FILE + b"--b1--x",
        MODEL + FILE + END + b"epilogue",
        MODEL + FILE + END + MODEL + END,
        b"preamble\r\n" + MODEL + FILE + END,
        b"\r\n" + MODEL + FILE + END,
        MODEL + MODEL + FILE + END,
        MODEL + FILE + FILE + END,
        MODEL + FILE + field("Model", "x") + END,
        MODEL + FILE + field("unknown", "x") + END,
        MODEL + FILE + field("temperature", "2") + END,
        MODEL + FILE + field("temperature", "1e0") + END,
        MODEL + FILE + field("stream", "yes") + END,
        MODEL + FILE + field("language", "../x") + END,
        MODEL + FILE + field("prompt", b"\xff") + END,
        field("model", "a b") + FILE + END,
        field("model", "whisper\n") + FILE + END,
        field("file", "RIFF") + MODEL + END,
        MODEL + FILE + field("prompt", "x") * 33 + END,
        MODEL + FILE + field("include[]", "logprobs") * 31 + END,
        (MODEL + FILE + END).replace(b"\r\n", b"\n"),
        MODEL + FILE.replace(b"--b1\r\n", b"--b1 \r\n") + END,
        MODEL + FILE.replace(b"--b1\r\n", b"--b1x\r\n") + END,
        MODEL + FILE.replace(b"a.wav", b"../a.wav") + END,
        MODEL + FILE.replace(b"a.wav", b'a\\"; name=\\"model') + END,
        MODEL + FILE.replace(b"; filename", b'; name="model"; filename') + END,
        MODEL + FILE.replace(b"filename", b"filename*") + END,
        MODEL + FILE.replace(b"audio/wav\r\n", b"audio/wav\r\nContent-Transfer-Encoding: base64\r\n") + END,
        MODEL + FILE.replace(b"audio/wav\r\n", b"audio/wav\r\nX: y\r\n") + END,
        MODEL + FILE.replace(b"Content-Type", b"Content-Disposition") + END,
        MODEL.replace(b"form-data", b"attachment") + FILE + END,
        MODEL + b'--b1\r\nContent-Disposition: form-data; name="\xff"\r\n\r\nx\r\n' + FILE + END,
    ],
)
def test_refuses_what_is_no_strict_form(body: bytes) -> None:
    """Preambles, epilogues, other line ends, second fields and second spellings: never repaired."""
    assert Reason.SCHEMA_VIOLATION is reason(inspect(body))


@pytest.mark.parametrize(
    "media",
    [
        b"",
        b"application/json",
        b"multipart/form-data",
        b"multipart/form-data; boundary=",
        b"multipart/form-data; boundary=b1; charset=utf-8",
        b"multipart/form-data; boundary=b1; boundary=b2",
        b'multipart/form-data; boundary="b1',
        b"multipart/form-data; boundary=b 1",
        b"multipart/mixed; boundary=b1",
        b"multipart/form-data; boundary=" + b"b" * 71,
    ],
)
def test_refuses_other_types(media: bytes) -> None:
    """One boundary, in one spelling."""
    assert Reason.CONTENT_TYPE is reason(inspect(MODEL + FILE + END, media))


def test_refuses_encoded_bodies() -> None:
    """What is compressed has been read by nobody."""
    headers = {b"content-type": MEDIA, b"content-encoding": b"gzip"}

    assert Reason.CONTENT_ENCODING is reason(INSPECTOR(MODEL + FILE + END, call(headers=headers)))


@given(
    st.lists(st.tuples(st.sampled_from(["a", "b[]", "ü"]), st.binary(max_size=40)), min_size=1, max_size=6)
)
def test_what_is_written_is_read_again(fields: list[tuple[str, bytes]]) -> None:
    """Whatever the parts hold, line ends and dashes included, they come out as they went in."""
    body, media = write_form([Part(name, data, None, b"") for name, data in fields])
    parts = parse_form(body, media)

    assert not isinstance(parts, Refusal)
    assert fields == [(part.name, part.data) for part in parts]


def test_a_boundary_occurs_in_no_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """A boundary that happens to stand in the data is drawn again."""
    drawn = iter(["taken", "free"])
    monkeypatch.setattr("gateway.stages.inspect.multipart.secrets.token_hex", lambda size: next(drawn))

    assert write_form([Part("a", b"x taken x", None, b"")])[1].endswith(b"=free")

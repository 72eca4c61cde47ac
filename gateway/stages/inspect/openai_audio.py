"""OpenAI speech to text: `POST /v1/audio/transcriptions` and `POST /v1/audio/translations`.

Decides whether a form has exactly the fields that the API knows, each in its form. Never looks into the
recording.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, final

from gateway.core.prompt import Prompt
from gateway.core.refusal import Reason, Refusal
from gateway.stages.inspect.multipart import parse_form, write_form

if TYPE_CHECKING:
    from gateway.core.call import Call
    from gateway.stages.inspect.fingerprint import Fingerprint
    from gateway.stages.inspect.multipart import Part

NAME: Final = "openai.audio"

_FORMS: Final = {
    "model": re.compile(r"[!-~]{1,256}"),
    "language": re.compile(r"[A-Za-z]{2,8}(?:-[A-Za-z0-9]{1,8}){0,3}"),
    "prompt": re.compile(r"(?s:.{0,65536})"),
    "response_format": re.compile(r"json|text|srt|verbose_json|vtt|diarized_json"),
    "temperature": re.compile(r"0(?:\.[0-9]{1,17})?|1(?:\.0{1,17})?"),
    "stream": re.compile(r"true|false|True|False"),
    "chunking_strategy": re.compile(r"auto"),
    "timestamp_granularities[]": re.compile(r"word|segment"),
    "include[]": re.compile(r"logprobs"),
}
_ENCODED: Final = Refusal(Reason.CONTENT_ENCODING, "The body must not be encoded (Content-Encoding).")


def _refusal(text: str) -> Refusal:
    return Refusal(Reason.SCHEMA_VIOLATION, text, rule="schema")


_UNKNOWN: Final = _refusal("The form has a field that is not known, or a file where a text belongs.")
_TWICE: Final = _refusal("The form has the same field twice.")
_NO_FILE: Final = _refusal("The form has no file with a name in the field `file`.")
_NO_MODEL: Final = _refusal("The form has no field `model`.")


@final
class OpenAiAudio:
    """Inspector of forms with a recording.

    Args:
        fingerprint: Digest of what the parts hold.
    """

    __slots__ = ("_fingerprint",)

    def __init__(self, fingerprint: Fingerprint) -> None:
        self._fingerprint = fingerprint

    def __call__(self, body: bytes, call: Call, /) -> tuple[Prompt, bytes, bytes] | Refusal:
        """Parse and check a form; see `gateway.core.ports.Inspector`."""
        if call.headers.get(b"content-encoding", b"identity").lower() != b"identity":
            return _ENCODED
        parts = parse_form(body, call.headers.get(b"content-type", b""))
        if isinstance(parts, Refusal):
            return parts
        fields = _fields(parts)
        if isinstance(fields, Refusal):
            return fields
        temperature = fields.get("temperature")
        prompt = Prompt(
            fields["model"],
            stream=fields.get("stream", "").lower() == "true",
            messages=1,
            temperature=None if temperature is None else float(temperature),
            size=len(body),
            fingerprint=self._fingerprint(b"\0".join(part.data for part in parts)),
            document=fields,
        )
        return prompt, *write_form(parts)


def _fields(parts: list[Part]) -> dict[str, str] | Refusal:
    """Check every part; return the texts, the last one of a field that may be repeated."""
    texts: dict[str, str] = {}
    files = 0
    for part in parts:
        if part.name == "file" and part.filename is not None:
            files += 1
            continue
        form = _FORMS.get(part.name)
        if form is None or part.filename is not None:
            return _UNKNOWN
        if part.name in texts and not part.name.endswith("[]"):
            return _TWICE
        try:
            text = part.data.decode()
        except UnicodeDecodeError:
            return _refusal(f"The field `{part.name}` is not in the form that it must have.")
        if form.fullmatch(text) is None:
            return _refusal(f"The field `{part.name}` is not in the form that it must have.")
        texts[part.name] = text
    if files != 1:
        return _NO_FILE if not files else _TWICE
    return texts if "model" in texts else _NO_MODEL

"""Open Inference Protocol v2 over HTTP: inference, metadata, readiness (KServe, Triton, MLServer).

Decides whether path and body are the protocol's. The model is the path's; a name in the body must be the
same. A body is JSON, or JSON and then raw bytes (Triton's binary tensor data extension): then the JSON is
re-serialised into as many bytes as it had, and every byte after it belongs to a tensor of declared size.
Everything else that such servers offer (repository, shared memory, tracing, statistics) is none of it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, TypedDict, cast, final

from gateway.core.prompt import Prompt
from gateway.core.refusal import Reason, Refusal
from gateway.stages.inspect.builtin import load_builtin
from gateway.stages.inspect.media_type import JSON, check_json_head
from gateway.stages.inspect.strict_json import parse
from gateway.stages.inspect.tensors import fits_bytes, fits_values

if TYPE_CHECKING:
    from gateway.core.call import Call
    from gateway.stages.inspect.fingerprint import Fingerprint
    from gateway.stages.inspect.json_schema import JsonSchema
    from gateway.stages.inspect.tensors import Tensor

NAME: Final = "oip"
LENGTH: Final = b"inference-header-content-length"
BYTES: Final = b"application/octet-stream"

# No percent: what is read here is what the server reads. `stats` would be the statistics of all models.
_PATH: Final = re.compile(
    r"/v2(?:/health/(?:live|ready)"
    r"|/models/(?!stats(?:/|\Z))(?P<model>[A-Za-z0-9._~@:+-]{1,256})(?:/versions/(?P<version>[0-9]{1,19}))?"
    r"(?P<action>/infer|/ready)?)?"
)
_NUMBER: Final = re.compile(rb"0|[1-9][0-9]{0,9}")
_OTHER_PATH: Final = Refusal(Reason.ROUTE_UNKNOWN, note="the path is none of the Open Inference Protocol")
_NO_BODY: Final = Refusal(Reason.BODY_UNEXPECTED, "Only an inference request has a body.")
_ENCODED: Final = Refusal(Reason.CONTENT_ENCODING, "The body must not be encoded (Content-Encoding).")
_MEDIA: Final = Refusal(Reason.CONTENT_TYPE, "The Content-Type must be application/json or left out.")
_LENGTH: Final = Refusal(
    Reason.SCHEMA_VIOLATION,
    "Inference-Header-Content-Length is not the length of a JSON head.",
    rule="schema",
)
_LONGER: Final = Refusal(
    Reason.SCHEMA_VIOLATION, "The JSON before binary tensors must be written compactly.", rule="schema"
)
_LEFT: Final = Refusal(
    Reason.SCHEMA_VIOLATION, "The bytes after the JSON are more than its tensors declare.", rule="schema"
)
_OTHER_MODEL: Final = Refusal(
    Reason.SCHEMA_VIOLATION, "At /model_name: path and body name different models.", rule="schema"
)
_OTHER_VERSION: Final = Refusal(
    Reason.SCHEMA_VIOLATION, "At /model_version: path and body name different versions.", rule="schema"
)


class _Inference(TypedDict, total=False):
    """What the schema has checked, as far as it is read here."""

    model_name: str
    model_version: str
    inputs: list[Tensor]


@final
class Oip:
    """Inspector of the Open Inference Protocol.

    Args:
        fingerprint: Digest of the body that goes on.
        schema: The route's own schema for the JSON of inference requests, or None.
    """

    __slots__ = ("_checks", "_fingerprint")

    def __init__(self, fingerprint: Fingerprint, *, schema: JsonSchema | None = None) -> None:
        schemas = [load_builtin(NAME)] if schema is None else [load_builtin(NAME), schema]
        self._checks = tuple(each.check for each in schemas)
        self._fingerprint = fingerprint

    def __call__(self, body: bytes, call: Call, /) -> tuple[Prompt, bytes, bytes] | Refusal:
        """Parse and check a request; see `gateway.core.ports.Inspector`."""
        path = _PATH.fullmatch(call.path)
        if path is None or (path["action"] == "/infer") != (call.method == "POST"):
            return _OTHER_PATH
        if call.method != "POST":
            return _NO_BODY if body or LENGTH in call.headers else (Prompt(path["model"]), b"", b"")
        split = _split(body, call)
        if isinstance(split, Refusal):
            return split
        head, tail = split
        parsed = parse(head)
        if isinstance(parsed, Refusal):
            return parsed
        document, canonical = parsed
        for check in self._checks:
            refusal = check(document)
            if refusal is not None:
                return refusal
        asked = cast("_Inference", document)  # the built-in schema says so
        refusal = _names(asked, path) or _data(asked["inputs"], tail)
        if refusal is not None:
            return refusal
        if LENGTH in call.headers:
            if len(canonical) > len(head):
                return _LONGER
            canonical = (
                canonical.ljust(len(head)) + tail
            )  # white space: the length that is declared stays true
        prompt = Prompt(
            path["model"],
            messages=len(asked["inputs"]),
            size=len(body),
            fingerprint=self._fingerprint(canonical),
            document=document,
        )
        return prompt, canonical, BYTES if LENGTH in call.headers else JSON


def _split(body: bytes, call: Call) -> tuple[bytes, bytes] | Refusal:
    """Cut a body into its JSON and the bytes behind it."""
    headers = call.headers
    length = headers.get(LENGTH)
    media = headers.get(b"content-type")
    if media is not None and not (length is not None and media == BYTES):
        refusal = check_json_head(headers)
        if refusal is not None:
            return _MEDIA if refusal.reason is Reason.CONTENT_TYPE else refusal
    elif headers.get(b"content-encoding", b"identity").lower() != b"identity":
        return _ENCODED
    if length is None:
        return body, b""
    if _NUMBER.fullmatch(length) is None or int(length) > len(body):
        return _LENGTH
    return body[: int(length)], body[int(length) :]


def _names(asked: _Inference, path: re.Match[str]) -> Refusal | None:
    """Compare what path and body say about the model."""
    if asked.get("model_name", path["model"]) != path["model"]:
        return _OTHER_MODEL
    if asked.get("model_version", path["version"]) != path["version"]:
        return _OTHER_VERSION
    return None


def _data(inputs: list[Tensor], tail: bytes) -> Refusal | None:
    """Hold all data against what is declared of it; nothing may be left over."""
    at = 0
    for index, tensor in enumerate(inputs):
        size = tensor.get("parameters", {}).get("binary_data_size")
        if size is None:
            fits = "data" in tensor and fits_values(tensor)
        else:
            end = at + int(cast("float", size))
            fits = "data" not in tensor and end <= len(tail) and fits_bytes(tensor, tail[at:end])
            at = end
        if not fits:
            return Refusal(
                Reason.SCHEMA_VIOLATION,
                f"At /inputs/{index}: the data is not what shape, datatype and size declare.",
                rule="schema",
            )
    return None if at == len(tail) else _LEFT

"""Open Inference Protocol: paths, models, tensors in JSON and in bytes."""

from __future__ import annotations

import struct
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.refusal import Reason, Refusal
from gateway.stages.inspect.catalog import build_inspector
from gateway.stages.inspect.tensors import WIDTHS
from tests.unit.stages.inspect.doubles import KEY, call, reason

INSPECTOR = build_inspector("oip", fingerprint_key=KEY)
INFER = "/v2/models/iris/infer"
LENGTH = b"inference-header-content-length"


def tensor(**members: Any) -> dict[str, Any]:
    """Make an input of two by two integers."""
    return {"name": "x", "shape": [2, 2], "datatype": "INT32", "data": [1, 2, 3, 4]} | members


def infer(*inputs: dict[str, Any], path: str = INFER, **members: Any) -> object:
    """Inspect a request in JSON."""
    return INSPECTOR(msgspec.json.encode({"inputs": inputs or [tensor()]} | members), call(path=path))


def raw(*data: bytes, tail: bytes | None = None, length: bytes | None = None, **members: Any) -> object:
    """Inspect a request with binary tensors, as tritonclient writes it: without a Content-Type."""
    inputs = []
    for each in data:
        one = tensor(parameters={"binary_data_size": len(each)}) | members
        del one["data"]
        inputs.append(one)
    head = msgspec.json.encode({"inputs": inputs})
    headers = {LENGTH: str(len(head)).encode() if length is None else length}
    return INSPECTOR(head + (b"".join(data) if tail is None else tail), call(headers=headers, path=INFER))


@pytest.mark.parametrize(
    ("path", "model"),
    [
        ("/v2", None),
        ("/v2/health/live", None),
        ("/v2/health/ready", None),
        ("/v2/models/iris", "iris"),
        ("/v2/models/iris/ready", "iris"),
        ("/v2/models/iris/versions/2", "iris"),
        ("/v2/models/iris/versions/2/ready", "iris"),
        ("/v2/models/stats2", "stats2"),
    ],
)
def test_reads_the_model_of_the_path(path: str, model: str | None) -> None:
    """Metadata and readiness of a model belong to that model; the server's own to none."""
    verdict = INSPECTOR(b"", call("GET", {}, path))

    assert isinstance(verdict, tuple)
    assert (model, b"", b"") == (verdict[0].model, *verdict[1:])
    assert Reason.BODY_UNEXPECTED is reason(INSPECTOR(b"{}", call("GET", {}, path)))
    assert Reason.ROUTE_UNKNOWN is reason(INSPECTOR(b"", call("POST", {}, path)))


@pytest.mark.parametrize(
    "path",
    [
        "/v2/repository/index",
        "/v2/repository/models/iris/load",
        "/v2/systemsharedmemory/status",
        "/v2/trace/setting",
        "/v2/logging",
        "/v2/models/stats",
        "/v2/models/stats/versions/1",
        "/v2/models/iris/stats",
        "/v2/models/iris/config",
        "/v2/models/iris/trace/setting",
        "/v2/models/iris/generate",
        "/v2/models/iris/versions/x/infer",
        "/v2/models/ir%69s/infer",
        "/v2/models//infer",
        "/v2/models/iris/infer/",
        "/v2/",
        "/v1/models",
        "/metrics",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_knows_no_other_path(method: str, path: str) -> None:
    """What manages a server is not the protocol, whatever the route's pattern lets through."""
    assert Reason.ROUTE_UNKNOWN is reason(
        INSPECTOR(msgspec.json.encode({"inputs": [tensor()]}), call(method, path=path))
    )
    assert Reason.ROUTE_UNKNOWN is reason(INSPECTOR(b"", call(method, {}, path)))


def test_inference_is_posted() -> None:
    """Any other method on that path is none of the protocol."""
    assert Reason.ROUTE_UNKNOWN is reason(INSPECTOR(b"", call("GET", {}, INFER)))


def test_reads_strict_json_alone() -> None:
    """What no JSON dialect takes, this one does not take either, with bytes behind it or without."""
    twice = b'{"inputs":[],"inputs":[]}'

    assert Reason.JSON_DUPLICATE_KEY is reason(INSPECTOR(twice, call(path=INFER)))
    headers = {LENGTH: str(len(twice)).encode()}
    assert Reason.JSON_DUPLICATE_KEY is reason(INSPECTOR(twice + b"x", call(headers=headers, path=INFER)))


def test_re_serialises_json() -> None:
    """White space and escapes go; what is read is what is sent."""
    body = b'{ "id": "a", "inputs": [{"name": "\\u0078", "shape": [1], "datatype": "FP32", "data": [1.5]}] }'
    verdict = INSPECTOR(body, call(headers={}, path="/v2/models/iris/versions/3/infer"))

    assert isinstance(verdict, tuple)
    prompt, canonical, content_type = verdict
    assert b'{"id":"a","inputs":[{"name":"x","shape":[1],"datatype":"FP32","data":[1.5]}]}' == canonical
    assert ("iris", 1, len(body), b"application/json") == (
        prompt.model,
        prompt.messages,
        prompt.size,
        content_type,
    )


@pytest.mark.parametrize(
    "members",
    [
        {"model_name": "iris"},
        {"outputs": [{"name": "y", "parameters": {"binary_data": True, "classification": 3}}]},
        {"parameters": {"sequence_id": 3, "sequence_start": True, "timeout": 5}},
    ],
)
def test_takes_what_the_protocol_knows(members: dict[str, Any]) -> None:
    """Outputs that are asked for, parameters, and the model's name once more."""
    assert reason(infer(**members)) is None


@pytest.mark.parametrize(
    "members",
    [
        {"inputs": []},
        {"inputs": "x"},
        {"model_name": "other"},
        {"model_version": "2"},
        {"unknown": 1},
        {"parameters": {"priority": 9}},
        {"parameters": {"a": {"b": 1}}},
        {"outputs": [{"name": "y", "parameters": {"shared_memory_region": "r"}}]},
        {"inputs": [tensor(parameters={"shared_memory_region": "r", "shared_memory_byte_size": 16})]},
        {"inputs": [{"name": "x", "shape": [1], "datatype": "INT32"}]},
        {"inputs": [tensor(parameters={"binary_data_size": 0})]},
        {"inputs": [tensor(datatype="STRING")]},
        {"inputs": [tensor(shape=[-1, 2])]},
    ],
)
def test_refuses_what_is_no_inference_request(members: dict[str, Any]) -> None:
    """Other models, other people's memory and priority, unknown members."""
    assert Reason.SCHEMA_VIOLATION is reason(infer(**members))


def test_versions_agree() -> None:
    """A version in the body is that of the path."""
    path = "/v2/models/iris/versions/2/infer"

    assert reason(infer(path=path, model_version="2")) is None
    assert Reason.SCHEMA_VIOLATION is reason(infer(path=path, model_version="1"))


@pytest.mark.parametrize(
    "members",
    [
        {},
        {"data": [[1, 2], [3, 4]]},
        {"shape": [], "data": [1]},
        {"shape": [2, 0], "data": []},
        {"shape": [2, 0], "data": [[], []]},
        {"shape": [1, 2, 2], "data": [[[1, 2], [3, 4]]]},
        {"datatype": "BOOL", "data": [True, False, True, True]},
        {"datatype": "FP32", "data": [1, 2.5, -1e30, 0]},
        {"datatype": "BF16", "data": [1, 2.5, 3, 0]},
        {"datatype": "BYTES", "data": ["a", "", "ü", "x"]},
        {"datatype": "UINT8", "data": [0, 255, 1, 2]},
        {"datatype": "INT8", "data": [-128, 127, 1, 2]},
    ],
)
def test_takes_data_that_fits(members: dict[str, Any]) -> None:
    """Flat, or nested as the shape is; values of the datatype."""
    assert reason(infer(tensor(**members))) is None


@pytest.mark.parametrize(
    "members",
    [
        {"data": [1, 2, 3]},
        {"data": [1, 2, 3, 4, 5]},
        {"data": [[1, 2, 3], [4]]},
        {"data": [[1, 2], 3, 4]},
        {"data": [1, [2], 3, 4]},
        {"data": [[1, 2], [3, 4], [5, 6]]},
        {"data": [[[1], [2]], [[3], [4]]]},
        {"data": [[1, 2], [3, [4]]]},
        {"shape": [2**53 - 1] * 16},
        {"data": [1, 2, 3, True]},
        {"data": [1, 2, 3, 4.0]},
        {"data": [1, 2, 3, None]},
        {"data": [1, 2, 3, 2**31]},
        {"datatype": "UINT8", "data": [1, 2, 3, 256]},
        {"datatype": "UINT8", "data": [1, 2, 3, -1]},
        {"datatype": "INT8", "data": [1, 2, 3, 128]},
        {"datatype": "BOOL", "data": [0, 1, 1, 1]},
        {"datatype": "FP64", "data": [1.0, "2", 3.0, 4.0]},
        {"datatype": "FP16", "data": [1.0, True, 3.0, 4.0]},
        {"datatype": "BYTES", "data": ["a", "b", "c", 1]},
    ],
)
def test_refuses_data_that_does_not_fit(members: dict[str, Any]) -> None:
    """Too little, too much, ragged, of another type, out of range; the place is named, no value is."""
    refusal = infer(tensor(), tensor(**members))

    assert isinstance(refusal, Refusal)
    assert "At /inputs/1: the data is not what shape, datatype and size declare." == refusal.detail


def test_passes_binary_tensors_exactly() -> None:
    """The bytes are those that were declared; the head keeps its length, so that the header stays true."""
    tail = struct.pack("<4i", 1, 2, 3, 4)
    head = b'{"inputs": [{"name": "x", "shape": [2, 2], "datatype": "INT32", "parameters": {"binary_data_size": 16}}]}'
    verdict = INSPECTOR(head + tail, call(headers={LENGTH: str(len(head)).encode()}, path=INFER))

    assert isinstance(verdict, tuple)
    _, sent, content_type = verdict
    assert tail == sent[len(head) :]
    assert b" " == sent[len(head) - 1 : len(head)]
    assert msgspec.json.decode(head) == msgspec.json.decode(sent[: len(head)])
    assert b"application/octet-stream" == content_type


@pytest.mark.parametrize("media", [None, b"application/octet-stream", b"application/json"])
def test_takes_the_types_that_clients_send(media: bytes | None) -> None:
    """The client of Triton names no type; others name bytes or JSON. Nothing else, and nothing encoded."""
    head = msgspec.json.encode({"inputs": [tensor()]})
    headers = {LENGTH: str(len(head)).encode()} | ({} if media is None else {b"content-type": media})

    assert reason(INSPECTOR(head, call(headers=headers, path=INFER))) is None
    encoded = INSPECTOR(head, call(headers=headers | {b"content-encoding": b"gzip"}, path=INFER))
    assert Reason.CONTENT_ENCODING is reason(encoded)
    assert Reason.CONTENT_TYPE is reason(
        INSPECTOR(head, call(headers=headers | {b"content-type": b"text/plain"}, path=INFER))
    )
    del headers[LENGTH]
    assert (None if media != b"application/octet-stream" else Reason.CONTENT_TYPE) is reason(
        INSPECTOR(head, call(headers=headers, path=INFER))
    )


@pytest.mark.parametrize(
    "verdict",
    [
        raw(b"x" * 15),
        raw(b"x" * 17),
        raw(b"x" * 16, tail=b"x" * 15),
        raw(b"x" * 16, tail=b"x" * 17),
        raw(b"x" * 16, b"y" * 16, tail=b"x" * 16),
        raw(b"x" * 16, length=b"9999"),
        raw(b"x" * 16, length=b"-1"),
        raw(b"x" * 16, length=b"+10"),
        raw(b"x" * 16, length=b"0100"),
        raw(b"x" * 16, length=b"1_0"),
        raw(b"x" * 16, length=b""),
        raw(struct.pack("<I", 5) + b"abcd", shape=[1], datatype="BYTES"),
        raw(struct.pack("<I", 3) + b"abcd", shape=[1], datatype="BYTES"),
        raw(struct.pack("<I", 2**32 - 1), shape=[1], datatype="BYTES"),
        raw(b"\0\0", shape=[1], datatype="BYTES"),
        raw(b"", shape=[2**53 - 1], datatype="BYTES"),
    ],
)
def test_refuses_bytes_that_were_not_declared(verdict: object) -> None:
    """No byte too few, none too many, no length in another spelling."""
    assert reason(verdict) is Reason.SCHEMA_VIOLATION


def test_refuses_a_head_that_grows() -> None:
    """A number whose shortest form is longer than what was sent would move the bytes behind it."""
    one = {"name": "x", "shape": [1], "datatype": "FP32"}
    head = msgspec.json.encode({"inputs": [one | {"data": [0]}]}).replace(b"[0]", b"[1e9]")

    assert Reason.SCHEMA_VIOLATION is reason(
        INSPECTOR(head, call(headers={LENGTH: str(len(head)).encode()}, path=INFER))
    )
    assert reason(INSPECTOR(head, call(path=INFER))) is None


@given(st.sampled_from(sorted(WIDTHS)), st.lists(st.integers(0, 4), max_size=4), st.integers(-2, 2))
def test_sizes_add_up_exactly(datatype: str, shape: list[int], off: int) -> None:
    """Whatever shape and datatype: exactly as many bytes as they say."""
    size = WIDTHS[datatype]
    for each in shape:
        size *= each
    verdict = raw(b"x" * max(0, size + off), shape=shape, datatype=datatype)

    assert (reason(verdict) is None) == (max(0, size + off) == size)


@given(st.lists(st.binary(max_size=9), max_size=5))
def test_texts_of_any_length(texts: list[bytes]) -> None:
    """Elements of BYTES stand behind their lengths."""
    data = b"".join(struct.pack("<I", len(text)) + text for text in texts)

    assert reason(raw(data, shape=[len(texts)], datatype="BYTES")) is None
    assert reason(raw(data, shape=[len(texts) + 1], datatype="BYTES")) is Reason.SCHEMA_VIOLATION


def test_a_route_declares_its_tensors() -> None:
    """Names, datatypes and shapes of one model, in the route's own schema."""
    declared = {
        "properties": {
            "inputs": {
                "maxItems": 1,
                "items": {
                    "properties": {
                        "name": {"const": "x"},
                        "datatype": {"const": "INT32"},
                        "shape": {
                            "prefixItems": [{"maximum": 2}, {"const": 2}],
                            "minItems": 2,
                            "maxItems": 2,
                        },
                    }
                },
            }
        }
    }
    inspector = build_inspector("oip", fingerprint_key=KEY, schema=declared)

    def asked(**members: Any) -> Reason | None:
        body = msgspec.json.encode({"inputs": [tensor(**members)]})
        return reason(inspector(body, call(path=INFER)))

    assert asked() is None
    assert Reason.SCHEMA_VIOLATION is asked(name="y")
    assert Reason.SCHEMA_VIOLATION is asked(shape=[4, 1])
    assert Reason.SCHEMA_VIOLATION is asked(datatype="INT64")

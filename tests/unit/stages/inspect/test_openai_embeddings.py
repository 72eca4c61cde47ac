"""Embeddings: what passes, what does not, what is read."""

from __future__ import annotations

import msgspec
import pytest

from gateway.core.refusal import Reason
from gateway.stages.inspect.fingerprint import Fingerprint
from gateway.stages.inspect.json_schema import JsonSchema
from gateway.stages.inspect.openai_embeddings import OpenAiEmbeddings
from tests.unit.stages.inspect.doubles import KEY, call, reason

INSPECTOR = OpenAiEmbeddings(Fingerprint(KEY))


def embeddings(**members: object) -> bytes:
    """Make an embeddings body."""
    return msgspec.json.encode({"model": "e5", "input": "text"} | members)


@pytest.mark.parametrize(
    ("asked", "count"),
    [("text", 1), ("", 1), (["a"], 1), (["a", "b"], 2), ([1, 2, 3], 1), ([[1, 2], [3]], 2), ([1.0, 2.0], 1)],
)
def test_counts_inputs(asked: object, count: int) -> None:
    """One text or its token ids are one input; a list of them is as many."""
    verdict = INSPECTOR(embeddings(input=asked), call())

    assert isinstance(verdict, tuple)
    prompt, out, content_type = verdict
    assert ("e5", count) == (prompt.model, prompt.messages)
    assert (len(out), Fingerprint(KEY)(out), b"application/json") == (
        prompt.size,
        prompt.fingerprint,
        content_type,
    )


@pytest.mark.parametrize(
    "members",
    [
        {"input": []},
        {"input": [[]]},
        {"input": ["a", 1]},
        {"input": [1, "a"]},
        {"input": [[1], 2]},
        {"input": [["a"]]},
        {"input": [None]},
        {"input": [-1]},
        {"input": [1.5]},
        {"input": {"text": "a"}},
        {"input": None},
        {"input": ["a"] * 2049},
        {"model": ""},
        {"model": None},
        {"model": "a b"},
        {"dimensions": 0},
        {"encoding_format": "raw"},
        {"unknown": 1},
    ],
)
def test_refuses_what_is_no_embeddings_request(members: dict[str, object]) -> None:
    """Wrong shapes, mixed inputs and unknown members are refused."""
    assert Reason.SCHEMA_VIOLATION is reason(INSPECTOR(embeddings(**members), call()))


def test_takes_what_the_sdk_sends() -> None:
    """The official client adds `encoding_format`; the API's other members pass as well."""
    body = embeddings(encoding_format="base64", dimensions=256, user="u")

    assert reason(INSPECTOR(body, call())) is None


def test_can_be_opened_and_narrowed() -> None:
    """Extra fields pass where the route says so; its own schema comes on top."""
    opened = OpenAiEmbeddings(Fingerprint(KEY), extra_fields=True)
    narrow = OpenAiEmbeddings(
        Fingerprint(KEY), schema=JsonSchema({"properties": {"input": {"type": "string"}}})
    )

    assert reason(opened(embeddings(unknown=1), call())) is None
    assert Reason.SCHEMA_VIOLATION is reason(opened(embeddings(Input="x"), call()))
    assert Reason.SCHEMA_VIOLATION is reason(narrow(embeddings(input=["a"]), call()))

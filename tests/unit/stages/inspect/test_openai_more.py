"""Completions, responses, moderations, images: what passes, what does not, what is read."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from gateway.core.refusal import Reason, Refusal
from gateway.stages.inspect.catalog import build_inspector
from tests.unit.stages.inspect.doubles import KEY, call, reason

SMALLEST: dict[str, dict[str, Any]] = {
    "openai.completions": {"model": "m", "prompt": "hi"},
    "openai.responses": {"model": "m", "input": "hi"},
    "openai.moderations": {"model": "m", "input": "hi"},
    "openai.images": {"model": "m", "prompt": "hi"},
}
FUNCTION = {"type": "function", "name": "weather", "parameters": {"type": "object"}, "strict": True}
PNG = "data:image/png;base64,aGk="


def verdict(dialect: str, *, extra_fields: bool = False, **members: Any) -> object:
    """Inspect the smallest body of a dialect with more members; one that is `...` is left out."""
    document = {name: value for name, value in (SMALLEST[dialect] | members).items() if value is not ...}
    inspector = build_inspector(dialect, fingerprint_key=KEY, extra_fields=extra_fields)
    found = inspector(msgspec.json.encode(document), call())
    if not isinstance(found, Refusal):
        assert document == msgspec.json.decode(found[1]) == found[0].document
        assert b"application/json" == found[2]
        assert found[0].size
        assert found[0].fingerprint
    return found


@pytest.mark.parametrize(
    ("dialect", "members", "expected"),
    [
        ("openai.completions", {}, ("m", False, None, 1, 1, 0, None)),
        (
            "openai.completions",
            {
                "prompt": ["a", "b"],
                "n": 3,
                "max_tokens": 5,
                "n_predict": 7,
                "stream": True,
                "temperature": 0.5,
            },
            ("m", True, 7, 6, 2, 0, 0.5),
        ),
        ("openai.completions", {"prompt": [1, 2, 3], "max_tokens": None}, ("m", False, None, 1, 1, 0, None)),
        ("openai.completions", {"prompt": [[1], [2]], "n": 2}, ("m", False, None, 4, 2, 0, None)),
        ("openai.responses", {}, ("m", False, None, 1, 1, 0, None)),
        (
            "openai.responses",
            {
                "input": [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}],
                "max_output_tokens": 9,
                "stream": True,
                "tools": [FUNCTION],
                "temperature": 1,
            },
            ("m", True, 9, 1, 2, 1, 1),
        ),
        ("openai.moderations", {}, ("m", False, None, 1, 1, 0, None)),
        ("openai.moderations", {"model": ..., "input": ["a", "b"]}, (None, False, None, 1, 2, 0, None)),
        ("openai.images", {"n": 3, "stream": True}, ("m", True, None, 3, 1, 0, None)),
        ("openai.images", {"model": ...}, (None, False, None, 1, 1, 0, None)),
    ],
)
def test_reads_what_policy_asks_for(
    dialect: str, members: dict[str, Any], expected: tuple[object, ...]
) -> None:
    """Model, stream, cap, answers, sizes: from where each API has them."""
    found = verdict(dialect, **members)

    assert isinstance(found, tuple)
    prompt = found[0]
    assert expected == (
        prompt.model,
        prompt.stream,
        prompt.output_cap,
        prompt.choices,
        prompt.messages,
        prompt.tools,
        prompt.temperature,
    )


@pytest.mark.parametrize(
    ("dialect", "members"),
    [
        ("openai.completions", {"prompt": ""}),
        (
            "openai.completions",
            {"echo": True, "suffix": "x", "logprobs": 3, "stop": ["a"], "logit_bias": {"5": 1}},
        ),
        ("openai.completions", {"stream": True, "stream_options": {"include_usage": True}}),
        ("openai.responses", {"input": [{"type": "message", "role": "developer", "content": "a"}]}),
        (
            "openai.responses",
            {
                "input": [
                    {"role": "user", "content": [{"type": "input_text", "text": "a"}]},
                    {
                        "role": "user",
                        "content": [{"type": "input_image", "image_url": PNG, "detail": "auto"}],
                    },
                    {"type": "reasoning", "id": "r", "summary": [], "encrypted_content": "x"},
                    {"type": "function_call", "call_id": "c", "name": "weather", "arguments": "{}"},
                    {"type": "function_call_output", "call_id": "c", "output": "warm"},
                    {
                        "type": "message",
                        "id": "m",
                        "status": "completed",
                        "role": "assistant",
                        "content": [{"type": "output_text", "text": "a", "annotations": []}],
                    },
                ]
            },
        ),
        ("openai.responses", {"tools": [{"type": "custom", "name": "x"}], "tool_choice": "required"}),
        ("openai.responses", {"tools": [FUNCTION], "tool_choice": {"type": "function", "name": "weather"}}),
        (
            "openai.responses",
            {
                "text": {"format": {"type": "json_schema", "name": "x", "schema": {}}},
                "reasoning": {"effort": "low"},
            },
        ),
        (
            "openai.responses",
            {"store": False, "include": ["reasoning.encrypted_content"], "instructions": "a"},
        ),
        ("openai.moderations", {"input": [{"type": "text", "text": "a"}]}),
        ("openai.moderations", {"input": [{"type": "image_url", "image_url": {"url": PNG}}]}),
        ("openai.images", {"size": "1024x1024", "quality": "high", "response_format": "b64_json"}),
        ("openai.images", {"size": "auto", "output_format": "webp", "output_compression": 50}),
    ],
)
def test_takes_what_the_api_knows(dialect: str, members: dict[str, Any]) -> None:
    """The members of the public API pass, and what clients send back of earlier answers."""
    assert reason(verdict(dialect, **members)) is None


@pytest.mark.parametrize(
    ("dialect", "members"),
    [
        *((dialect, {"model": bad}) for dialect in SMALLEST for bad in ("", "a b", None, 1)),
        *((dialect, {"Model": "m"}) for dialect in SMALLEST),
        ("openai.completions", {"model": ...}),
        ("openai.completions", {"prompt": ...}),
        ("openai.completions", {"prompt": []}),
        ("openai.completions", {"prompt": None}),
        ("openai.completions", {"prompt": ["a", 1]}),
        ("openai.completions", {"prompt": [1, "a"]}),
        ("openai.completions", {"prompt": [[1], "a"]}),
        ("openai.completions", {"prompt": [[]]}),
        ("openai.completions", {"prompt": [[-1]]}),
        ("openai.completions", {"prompt": [1.5]}),
        ("openai.completions", {"prompt": ["a"] * 2049}),
        ("openai.completions", {"n": 129}),
        ("openai.completions", {"best_of": 2}),
        ("openai.completions", {"max_tokens": 0}),
        ("openai.responses", {"model": ...}),
        ("openai.responses", {"input": ...}),
        ("openai.responses", {"input": []}),
        ("openai.responses", {"input": ["a"]}),
        ("openai.responses", {"input": [{"role": "tool", "content": "a"}]}),
        ("openai.responses", {"input": [{"role": "user"}]}),
        ("openai.responses", {"input": [{"role": "user", "content": "a", "name": "x"}]}),
        ("openai.responses", {"input": [{"role": "user", "content": [{"type": "input_text"}]}]}),
        (
            "openai.responses",
            {
                "input": [
                    {"role": "user", "content": [{"type": "input_image", "image_url": "file:///etc/passwd"}]}
                ]
            },
        ),
        (
            "openai.responses",
            {"input": [{"role": "user", "content": [{"type": "input_file", "file_url": "/etc/passwd"}]}]},
        ),
        ("openai.responses", {"input": [{"type": "function_call", "call_id": "c", "name": "x"}]}),
        (
            "openai.responses",
            {"input": [{"type": "custom_tool_call", "call_id": "c", "name": "x", "arguments": "{}"}]},
        ),
        ("openai.responses", {"max_output_tokens": 0}),
        ("openai.responses", {"tools": [{"name": "x"}]}),
        ("openai.responses", {"tool_choice": "any"}),
        ("openai.responses", {"tool_choice": {"type": "function"}}),
        ("openai.responses", {"text": {"format": {"type": "json_schema", "name": "x"}}}),
        ("openai.responses", {"include": ["code_interpreter_call.outputs"]}),
        ("openai.moderations", {"input": ...}),
        ("openai.moderations", {"input": []}),
        ("openai.moderations", {"input": ["a", {"type": "text", "text": "a"}]}),
        ("openai.moderations", {"input": [{"type": "text"}]}),
        (
            "openai.moderations",
            {"input": [{"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}]},
        ),
        ("openai.images", {"prompt": ...}),
        ("openai.images", {"prompt": ""}),
        ("openai.images", {"n": 11}),
        ("openai.images", {"size": "99999x1"}),
        ("openai.images", {"svg": {"model": "other"}}),
    ],
)
def test_refuses_what_is_no_such_request(dialect: str, members: dict[str, Any]) -> None:
    """Missing and unknown members, mixed inputs, local files, costs without a bound."""
    assert Reason.SCHEMA_VIOLATION is reason(verdict(dialect, **members))


@pytest.mark.parametrize(
    "members",
    [
        {"previous_response_id": "resp_1"},
        {"conversation": "conv_1"},
        {"prompt": {"id": "p"}},
        {"background": True},
        {"input": [{"type": "item_reference", "id": "x"}]},
        {"input": [{"type": "mcp_approval_response", "approval_request_id": "x", "approve": True}]},
        {"tools": [{"type": "mcp", "server_label": "x", "server_url": "https://example.org"}]},
        {"tools": [{"type": "code_interpreter", "container": {"type": "auto"}}]},
        {"tool_choice": {"type": "web_search_preview"}},
    ],
)
def test_what_is_kept_or_run_at_the_backend_must_be_opened(members: dict[str, Any]) -> None:
    """Earlier responses, perhaps somebody else's, and tools that run there pass only where the route says so."""
    assert Reason.SCHEMA_VIOLATION is reason(verdict("openai.responses", **members))
    assert reason(verdict("openai.responses", extra_fields=True, **members)) is None

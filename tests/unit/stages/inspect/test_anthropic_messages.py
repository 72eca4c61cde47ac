"""Anthropic messages: what passes, what does not, what is read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from gateway.core.refusal import Reason, Refusal
from gateway.stages.inspect.catalog import build_inspector
from tests.unit.stages.inspect.doubles import KEY, call, reason

if TYPE_CHECKING:
    from gateway.core.prompt import Prompt

MESSAGES = build_inspector("anthropic.messages", fingerprint_key=KEY)
COUNT = build_inspector("anthropic.count_tokens", fingerprint_key=KEY)
OPENED = build_inspector("anthropic.messages", fingerprint_key=KEY, extra_fields=True)
TOOL = {"name": "weather", "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}}}
PNG = {"type": "base64", "media_type": "image/png", "data": "aGk="}
SEARCH = {"type": "web_search_20250305", "name": "web_search", "max_uses": 1}


def body(**members: Any) -> bytes:
    """Make the smallest body, with more members; a member that is None is left out."""
    document = {"model": "m", "max_tokens": 16, "messages": [{"role": "user", "content": "hi"}]} | members
    return msgspec.json.encode({name: value for name, value in document.items() if value is not None})


def said(*blocks: object, role: str = "user") -> bytes:
    """Make a body whose one message has these blocks."""
    return body(messages=[{"role": role, "content": list(blocks)}])


def prompt_of(data: bytes) -> Prompt:
    """Return the prompt of a body that passes."""
    verdict = MESSAGES(data, call())
    assert not isinstance(verdict, Refusal), verdict
    assert msgspec.json.decode(data) == msgspec.json.decode(verdict[1])
    assert verdict[2] == b"application/json"
    return verdict[0]


def test_reads_what_policy_asks_for() -> None:
    """Model, stream, cap, sizes: each from the member that Anthropic's API has for it."""
    data = body(stream=True, tools=[TOOL, TOOL], temperature=0.5, system="be brief")
    prompt = prompt_of(data)

    assert ("m", True, 16, 1, 1, 2, 0.5, len(data)) == (
        prompt.model,
        prompt.stream,
        prompt.output_cap,
        prompt.choices,
        prompt.messages,
        prompt.tools,
        prompt.temperature,
        prompt.size,
    )
    assert prompt.fingerprint
    assert prompt.document == msgspec.json.decode(data)


def test_counting_asks_for_no_answer() -> None:
    """The same request without a cap; a cap or a stream there is a mistake."""
    verdict = COUNT(body(max_tokens=None, system="be brief", tools=[TOOL]), call())

    assert not isinstance(verdict, Refusal)
    assert ("m", False, None, 1) == (
        verdict[0].model,
        verdict[0].stream,
        verdict[0].output_cap,
        verdict[0].tools,
    )
    assert Reason.SCHEMA_VIOLATION is reason(COUNT(body(), call()))
    assert Reason.SCHEMA_VIOLATION is reason(COUNT(body(max_tokens=None, stream=True), call()))
    assert Reason.SCHEMA_VIOLATION is reason(COUNT(body(max_tokens=None, messages=[{"role": "x"}]), call()))


@pytest.mark.parametrize(
    "data",
    [
        body(system=[{"type": "text", "text": "a", "cache_control": {"type": "ephemeral", "ttl": "1h"}}]),
        body(thinking={"type": "enabled", "budget_tokens": 1024}, max_tokens=2048),
        body(thinking={"type": "adaptive", "display": "omitted"}),
        body(
            tools=[TOOL | {"type": "custom", "strict": True}], tool_choice={"type": "tool", "name": "weather"}
        ),
        body(tools=[{"type": "bash_20250124", "name": "bash"}]),
        body(
            output_config={"effort": "low", "format": {"type": "json_schema", "schema": {"type": "object"}}}
        ),
        body(metadata={"user_id": "u"}, service_tier="auto", stop_sequences=["\n"], top_k=4, top_p=0.5),
        said({"type": "text", "text": "a", "citations": None}),
        said({"type": "image", "source": PNG}),
        said({"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}}),
        said({"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "a"}}),
        said(
            {"type": "search_result", "source": "s", "title": "t", "content": [{"type": "text", "text": "a"}]}
        ),
        said({"type": "thinking", "thinking": "hm", "signature": "s"}, role="assistant"),
        said({"type": "tool_use", "id": "t", "name": "weather", "input": {"city": "Bonn"}}, role="assistant"),
        said({"type": "tool_result", "tool_use_id": "t", "content": [{"type": "image", "source": PNG}]}),
        said({"type": "tool_result", "tool_use_id": "t", "content": "warm", "is_error": False}),
        said({"type": "tool_result", "tool_use_id": "t"}),
    ],
)
def test_takes_what_the_api_knows(data: bytes) -> None:
    """Text, media, tools and their results, thinking, structured output."""
    prompt_of(data)


@pytest.mark.parametrize(
    "data",
    [
        body(max_tokens=None),
        body(max_tokens=0),
        body(max_tokens="16"),
        body(model=""),
        body(model="a b"),
        body(messages=[]),
        body(messages="hi"),
        body(messages=[{"role": "tool", "content": "x"}]),
        body(messages=[{"role": "user"}]),
        body(messages=[{"role": "user", "content": "x", "name": "y"}]),
        body(stream="true"),
        body(temperature=1.5),
        body(system={"type": "text", "text": "a"}),
        body(system=[{"type": "image", "source": PNG}]),
        body(thinking={"type": "enabled"}),
        body(tool_choice={"type": "tool"}),
        body(tool_choice="auto"),
        body(tools=[{"name": "x"}]),
        body(tools=[TOOL | {"allowed_callers": ["code_execution_20260120"]}]),
        body(metadata={"user": "u"}),
        body(n=2),
        said({"type": "text"}),
        said({"text": "a"}),
        said({"type": "text", "text": "a", "data": "b"}),
        said({"type": "image"}),
        said({"type": "image", "source": {"type": "url", "url": "file:///etc/passwd"}}),
        said({"type": "image", "source": {"type": "url", "url": "/etc/passwd"}}),
        said({"type": "image", "source": {"type": "base64", "data": "aGk="}}),
        said({"type": "tool_use", "name": "x", "input": {}}),
        said({"type": "tool_use", "id": "x", "name": "x", "input": "{}"}),
        said({"type": "tool_result", "tool_use_id": "x", "content": [{"type": "tool_use", "id": "t"}]}),
        said("text"),
    ],
)
def test_refuses_what_is_no_messages_request(data: bytes) -> None:
    """Missing and unknown members, wrong shapes, local files; a schema opened for more does not change that."""
    assert Reason.SCHEMA_VIOLATION is reason(MESSAGES(data, call()))


@pytest.mark.parametrize(
    "members",
    [
        {"tools": [SEARCH]},
        {"tools": [{"type": "code_execution_20260120", "name": "code_execution"}]},
        {"mcp_servers": [{"type": "url", "url": "https://example.org", "name": "x"}]},
        {"container": "c"},
        {"workspace_id": "w"},
        {
            "messages": [
                {"role": "assistant", "content": [{"type": "server_tool_use", "id": "s", "name": "x"}]}
            ]
        },
    ],
)
def test_what_makes_the_backend_act_must_be_opened(members: dict[str, Any]) -> None:
    """Tools that run at the server, and other people's state, pass only where the route lets them."""
    refusal = MESSAGES(body(**members), call())

    assert isinstance(refusal, Refusal)
    assert Reason.SCHEMA_VIOLATION is refusal.reason
    assert reason(OPENED(body(**members), call())) is None


def test_says_where_an_unknown_kind_stands() -> None:
    """The refusal names the place, so that a client can mend it, and not the value."""
    refusal = MESSAGES(body(tools=[SEARCH]), call())

    assert isinstance(refusal, Refusal)
    assert "At /tools/0/type: not allowed (falseSchema)." == refusal.detail


def test_an_unknown_kind_has_plain_members_only() -> None:
    """Even what is opened has no second spelling of a member."""
    assert Reason.SCHEMA_VIOLATION is reason(OPENED(body(tools=[SEARCH | {"Name": "x"}]), call()))


def test_a_route_narrows_it() -> None:
    """A schema of the route is asked after the built-in one."""
    narrow = build_inspector(
        "anthropic.messages", fingerprint_key=KEY, schema={"properties": {"system": {"type": "string"}}}
    )

    assert reason(narrow(body(system="a"), call())) is None
    assert Reason.SCHEMA_VIOLATION is reason(narrow(body(system=[{"type": "text", "text": "a"}]), call()))


def test_reads_strict_json_alone() -> None:
    """What no JSON dialect takes, this one does not take either."""
    assert Reason.JSON_DUPLICATE_KEY is reason(MESSAGES(b'{"model":"a","model":"b"}', call()))
    assert Reason.CONTENT_TYPE is reason(MESSAGES(body(), call(headers={})))

"""Chat completions: what real clients send passes, everything else does not; what is read is true."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import httpx
import msgspec
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.refusal import Reason
from gateway.stages.inspect.fingerprint import Fingerprint
from gateway.stages.inspect.json_schema import JsonSchema
from gateway.stages.inspect.openai_chat import OpenAiChat
from tests.unit.stages.inspect.doubles import KEY, call, chat, reason

if TYPE_CHECKING:
    from gateway.core.prompt import Prompt

INSPECTOR = OpenAiChat(Fingerprint(KEY))
USER = {"role": "user", "content": "hi"}
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "d",
        "strict": True,
        "parameters": {"type": "object", "properties": {}},
    },
}
CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}

ACCEPTED: list[dict[str, object]] = [
    {"max_tokens": 1, "max_completion_tokens": 5, "n": 128, "seed": -1, "temperature": 2, "top_p": 0.5},
    {
        "max_tokens": None,
        "max_completion_tokens": None,
        "n": None,
        "seed": None,
        "temperature": None,
        "stop": None,
        "stream": None,
    },
    {"stream": True, "stream_options": {"include_usage": True, "include_obfuscation": False}},
    {"stop": "a"},
    {"stop": ["a", "b"], "logprobs": True, "top_logprobs": 20, "logit_bias": {"50256": -100}},
    {"tools": [WEATHER], "tool_choice": "auto", "parallel_tool_calls": False},
    {"tools": [WEATHER], "tool_choice": {"type": "function", "function": {"name": "weather"}}},
    {
        "tools": [
            {
                "type": "custom",
                "custom": {
                    "name": "c",
                    "format": {"type": "grammar", "grammar": {"definition": "x", "syntax": "lark"}},
                },
            }
        ],
        "tool_choice": {"type": "custom", "custom": {"name": "c"}},
    },
    {
        "tools": [WEATHER],
        "tool_choice": {
            "type": "allowed_tools",
            "allowed_tools": {"mode": "auto", "tools": [{"type": "function"}]},
        },
    },
    {"functions": [{"name": "f", "parameters": {}}], "function_call": {"name": "f"}},
    {"functions": [{"name": "f"}], "function_call": "none"},
    {"response_format": {"type": "json_object"}},
    {
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "n", "strict": True, "schema": {"type": "object"}},
        }
    },
    {
        "reasoning_effort": "high",
        "verbosity": "low",
        "service_tier": "flex",
        "store": False,
        "metadata": {"k": "v"},
    },
    {"user": "u", "safety_identifier": "s", "prompt_cache_key": "p", "prompt_cache_retention": "24h"},
    {"modalities": ["text", "audio"], "audio": {"voice": "alloy", "format": "wav"}},
    {"prediction": {"type": "content", "content": [{"type": "text", "text": "t"}]}},
    {"web_search_options": {"search_context_size": "low"}},
    {
        "top_k": 40,
        "min_p": 0.05,
        "repeat_penalty": 1.1,
        "cache_prompt": True,
        "chat_template_kwargs": {"enable_thinking": False},
    },
    {"guided_json": {"type": "object"}, "repetition_penalty": 1.0, "stop_token_ids": [2], "min_tokens": 0},
    {
        "messages": [
            {"role": "system", "content": "s"},
            {"role": "developer", "content": "d", "name": "n"},
            USER,
        ]
    },
    {
        "messages": [
            USER,
            {"role": "assistant", "content": None, "tool_calls": [CALL]},
            {"role": "tool", "tool_call_id": "call_1", "content": "sun"},
        ]
    },
    {"messages": [USER, {"role": "assistant", "tool_calls": [CALL]}]},
    {
        "messages": [
            USER,
            {
                "role": "assistant",
                "content": "a",
                "refusal": None,
                "annotations": [],
                "audio": None,
                "function_call": None,
                "tool_calls": None,
                "reasoning_content": "r",
            },
        ]
    },
    {"messages": [{"role": "function", "name": "f", "content": "x"}]},
    {
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "t"},
                    {"type": "image_url", "image_url": {"url": "https://example.org/a.png", "detail": "low"}},
                ],
            }
        ]
    },
    {
        "messages": [
            {
                "role": "user",
                "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}],
            }
        ]
    },
    {
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}},
                    {"type": "file", "file": {"file_id": "f"}},
                ],
            }
        ]
    },
    {"messages": [{"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]}]},
]

REFUSED: list[dict[str, object]] = [
    {"model": None},
    {"model": ""},
    {"model": "a\nb"},
    {"model": "x" * 257},
    {"model": ["m"]},
    {"messages": []},
    {"messages": "hi"},
    {"messages": [{"role": "user"}]},
    {"messages": [{"role": "user", "content": None}]},
    {"messages": [{"role": "user", "content": []}]},
    {"messages": [{"role": "user", "content": 5}]},
    {"messages": [{"role": "root", "content": "x"}]},
    {"messages": [{"content": "x"}]},
    {"messages": [{"role": "tool", "content": "x"}]},
    {"messages": [{"role": "function", "content": "x"}]},
    {"messages": [{"role": "user", "content": "x", "unknown": 1}]},
    {"messages": [{"role": "user", "content": [{"type": "text"}]}]},
    {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
    {
        "messages": [
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}]}
        ]
    },
    {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "/etc/passwd"}}]}]},
    {"messages": [{"role": "user", "content": [{"type": "image_embeds", "image_embeds": "AA=="}]}]},
    {
        "messages": [
            USER,
            {"role": "assistant", "tool_calls": [{"id": "c", "type": "function", "function": None}]},
        ]
    },
    {"n": 0},
    {"n": 129},
    {"n": "1"},
    {"n": 1.5},
    {"max_tokens": 0},
    {"max_tokens": -1},
    {"max_tokens": "100"},
    {"max_tokens": True},
    {"max_completion_tokens": 0},
    {"n_predict": -1},
    {"stream": "true"},
    {"stream": 1},
    {"stream_options": {"unknown": True}},
    {"temperature": 2.1},
    {"temperature": "hot"},
    {"stop": []},
    {"stop": [1]},
    {"top_logprobs": 21},
    {"logit_bias": {"token": 1}},
    {"logit_bias": {"1": 101}},
    {"tools": [{"type": "function"}]},
    {"tools": [{"type": "computer"}]},
    {"tools": [WEATHER] * 129},
    {"tool_choice": "any"},
    {"tool_choice": {"type": "unknown"}},
    {"function_call": "any"},
    {"response_format": {"type": "json_schema"}},
    {"response_format": "json"},
    {"metadata": {"k": 1}},
    {"unknown": 1},
    {"Model": "other"},
    {"chat_template": "{{ 7 * 7 }}"},
    {"chat_template_kwargs": {"chat_template": "{{ 7 * 7 }}"}},
    {"chat_template_kwargs": {"tokenize": True}},
    {"chat_template_kwargs": {"documents": [{}]}},
    {"priority": -1},
    {"id_slot": 0},
    {"cache_salt": "s"},
    {"lora": []},
    {"ignore_eos": True},
]


def prompt_of(**members: object) -> Prompt:
    """Return what is read from a chat body with these members."""
    verdict = INSPECTOR(chat(**members), call())
    assert isinstance(verdict, tuple)
    return verdict[0]


@pytest.mark.parametrize("members", ACCEPTED, ids=str)
def test_takes_what_clients_send(members: dict[str, object]) -> None:
    """Every documented member, and the known harmless extensions."""
    assert reason(INSPECTOR(chat(**members), call())) is None


@pytest.mark.parametrize("members", REFUSED, ids=str)
def test_refuses_what_is_no_chat(members: dict[str, object]) -> None:
    """Wrong types, wrong values, unknown members and extensions that do more than change the answer."""
    assert Reason.SCHEMA_VIOLATION is reason(INSPECTOR(chat(**members), call()))


@pytest.mark.parametrize("body", [b"7", b"null", b'"x"', b"[]", b"{}"])
def test_refuses_documents_of_another_kind(body: bytes) -> None:
    """Only an object with a model and messages is a chat request."""
    assert Reason.SCHEMA_VIOLATION is reason(INSPECTOR(body, call()))


@pytest.mark.parametrize("stream", [False, True])
async def test_takes_what_the_official_client_sends(stream: bool) -> None:
    """The bytes of the official client pass, headers included, and say what was asked."""
    sent: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return httpx.Response(400, json={})

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as transport:
        client = openai.AsyncOpenAI(
            api_key="k", base_url="http://gateway.test/v1", http_client=transport, max_retries=0
        )
        with pytest.raises(openai.BadRequestError):
            await client.chat.completions.create(
                model="llama-3-8b",
                messages=[{"role": "user", "content": "Grüße"}],
                max_tokens=5,
                stream=stream,
            )
    headers = {name.lower(): value for name, value in sent[0].headers.raw}
    verdict = INSPECTOR(sent[0].content, call(headers=headers))

    assert isinstance(verdict, tuple)
    assert ("llama-3-8b", stream, 5) == (verdict[0].model, verdict[0].stream, verdict[0].output_cap)
    assert json.loads(sent[0].content) == json.loads(verdict[1])


def test_reads_what_policy_looks_at() -> None:
    """Every attribute of the prompt comes from the document."""
    body = chat(
        stream=True,
        max_tokens=9,
        n=2,
        temperature=0.5,
        tools=[WEATHER],
        functions=[{"name": "f"}],
        messages=[USER] * 3,
    )
    verdict = INSPECTOR(b" " + body, call())

    assert isinstance(verdict, tuple)
    prompt, out, content_type = verdict
    assert (body, b"application/json") == (out, content_type)
    assert (
        prompt.model,
        prompt.stream,
        prompt.output_cap,
        prompt.choices,
        prompt.temperature,
    ) == ("m", True, 9, 2, 0.5)
    assert (3, 2, len(body) + 1) == (prompt.messages, prompt.tools, prompt.size)
    assert Fingerprint(KEY)(body) == prompt.fingerprint
    assert json.loads(body) == prompt.document


def test_reads_defaults() -> None:
    """What is absent or null is the API's default."""
    for prompt in (
        prompt_of(),
        prompt_of(stream=None, max_tokens=None, n=None, temperature=None, tools=None),
    ):
        assert (
            prompt.stream,
            prompt.output_cap,
            prompt.choices,
            prompt.temperature,
            prompt.tools,
        ) == (False, None, 1, None, 0)


@given(
    st.dictionaries(
        st.sampled_from(["max_tokens", "max_completion_tokens", "n_predict"]),
        st.integers(1, 10**6),
        min_size=1,
    )
)
def test_reads_the_largest_output_cap(caps: dict[str, int]) -> None:
    """Backends differ in which name they obey; policy sees the worst."""
    assert max(caps.values()) == prompt_of(**caps).output_cap


def test_reads_whole_numbers_whatever_their_spelling() -> None:
    """JSON Schema takes 8.0 for an integer; policy gets an int."""
    prompt = prompt_of(max_tokens=8.0, n=2.0)

    assert (int, int) == (type(prompt.output_cap), type(prompt.choices))


@pytest.mark.parametrize(
    "options", [{}, {"stream_options": None}, {"stream_options": {"include_usage": False}}]
)
def test_asks_for_usage_where_the_route_wants_it(options: dict[str, object]) -> None:
    """The bytes and the document that go on ask for usage; nothing else changes."""
    inspector = OpenAiChat(Fingerprint(KEY), wants_usage=True)
    verdict = inspector(chat(stream=True, **options), call())

    assert isinstance(verdict, tuple)
    prompt, out, _ = verdict
    expected = json.loads(chat(stream=True)) | {"stream_options": {"include_usage": True}}
    assert expected == json.loads(out) == prompt.document
    assert Fingerprint(KEY)(out) == prompt.fingerprint


def test_keeps_other_stream_options() -> None:
    """What else the client asked of the stream stays."""
    inspector = OpenAiChat(Fingerprint(KEY), wants_usage=True)
    verdict = inspector(chat(stream=True, stream_options={"include_obfuscation": False}), call())

    assert isinstance(verdict, tuple)
    assert msgspec.json.decode(verdict[1])["stream_options"] == {
        "include_obfuscation": False,
        "include_usage": True,
    }


def test_asks_for_usage_of_streams_alone() -> None:
    """A plain answer carries its usage anyway."""
    inspector = OpenAiChat(Fingerprint(KEY), wants_usage=True)
    verdict = inspector(chat(stream=False), call())

    assert isinstance(verdict, tuple)
    assert chat(stream=False) == verdict[1]


def test_adds_the_routes_schema() -> None:
    """The route's own schema narrows the built-in one; it never widens it."""
    inspector = OpenAiChat(Fingerprint(KEY), schema=JsonSchema({"properties": {"n": {"maximum": 1}}}))

    assert reason(inspector(chat(n=1), call())) is None
    assert Reason.SCHEMA_VIOLATION is reason(inspector(chat(n=2), call()))
    assert Reason.SCHEMA_VIOLATION is reason(inspector(chat(unknown=1), call()))


@given(
    st.text(alphabet=st.characters(exclude_categories=["Cs"])),
    st.text(alphabet=st.characters(exclude_categories=["Cs"])),
)
def test_sends_the_model_that_policy_sees(one: str, other: str) -> None:
    """However the body is written, the model in the prompt is the model in the bytes."""
    body = (
        f'{{"model":{json.dumps(one)},"messages":[{{"role":"user","content":{json.dumps(other)}}}]}}'.encode()
    )
    verdict = INSPECTOR(body, call())

    if isinstance(verdict, tuple):
        assert one == verdict[0].model == json.loads(verdict[1])["model"]
    else:
        assert Reason.SCHEMA_VIOLATION is verdict.reason

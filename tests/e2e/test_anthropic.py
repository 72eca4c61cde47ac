"""Anthropic's official client through the gateway: to llama.cpp, and to a server that breaks off."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anthropic
import msgspec
import pytest

from tests.e2e.running import RunningGateway
from tests.e2e.scripted import Asked, Said, Scripted, event
from tests.e2e.surfaces import configure, messages_client, surface

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.e2e.world import World

ROUTES = (
    surface("/v1/messages", "anthropic.messages"),
    surface("/v1/messages/count_tokens", "anthropic.count_tokens"),
)
START = (
    b'{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"tiny",'
    b'"content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":20,'
    b'"cache_creation_input_tokens":3,"cache_read_input_tokens":100,"output_tokens":1}}}'
)
BLOCK = b'{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}'
DELTA = b'{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"half a"}}'
STOP = b'{"type":"content_block_stop","index":0}'
END = b'{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":15}}'
FIRST = (
    event("message_start", START),
    event("content_block_start", BLOCK),
    event("ping", b'{"type":"ping"}'),
)


def ask(text: str = "hello", **more: Any) -> dict[str, Any]:
    """Return a message request."""
    return {"model": "tiny", "max_tokens": 8, "messages": [{"role": "user", "content": text}]} | more


def script(asked: Asked) -> Said:
    """Stream a message; to `die` only half of one."""
    word = msgspec.json.decode(asked.body)["messages"][-1]["content"]
    delta = event("content_block_delta", DELTA)
    if word == "die":
        return Said("text/event-stream", (*FIRST, delta, b"event: content_block_delta\nda"), breaks=True)
    last = (event("content_block_stop", STOP), event("message_delta", END))
    stop = event("message_stop", b'{"type":"message_stop"}')
    return Said("text/event-stream", (*FIRST, delta, *last, stop), headers={"request-id": "req_1"})


@pytest.fixture(scope="module")
def gateway(world: World, llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """A gateway in front of llama.cpp."""
    directory = tmp_path_factory.mktemp("messages")
    with RunningGateway(configure(world, directory, llama, *ROUTES), directory / "audit.jsonl") as running:
        yield running


@pytest.fixture(scope="module")
def scripted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Scripted, Path]]:
    """A server that speaks Anthropic's streams, and its socket."""
    socket = tmp_path_factory.mktemp("s") / "s"
    with Scripted(socket, script) as running:
        yield running, socket


@pytest.fixture(scope="module")
def before_script(
    world: World, scripted: tuple[Scripted, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningGateway]:
    """A gateway in front of the scripted server."""
    directory = tmp_path_factory.mktemp("script")
    path = configure(world, directory, scripted[1], *ROUTES)
    with RunningGateway(path, directory / "audit.jsonl") as running:
        yield running


def test_a_whole_message(world: World, gateway: RunningGateway) -> None:
    """The official client, a real model server; what it says it used is what the record says."""
    with messages_client(world, gateway, world.token("message")) as client:
        raw = client.messages.with_raw_response.create(**ask(system="be brief"))
    answer = raw.parse()
    record = gateway.record(raw.headers["x-request-id"])

    assert answer.content
    assert ("served", "tiny") == (record["outcome"], record["model"])
    assert not record.get("stream")
    cached = (answer.usage.cache_read_input_tokens or 0) + (answer.usage.cache_creation_input_tokens or 0)
    assert (answer.usage.input_tokens + cached, answer.usage.output_tokens) == (
        record["input_tokens"],
        record["output_tokens"],
    )


def test_a_streamed_message(world: World, gateway: RunningGateway) -> None:
    """Token by token from the real server; usage from the events that carry it."""
    with (
        messages_client(world, gateway, world.token("message-stream")) as client,
        client.messages.stream(**ask("stream, please")) as stream,
    ):
        pieces = list(stream.text_stream)
        final = stream.get_final_message()
        request = stream.response.headers["x-request-id"]
    record = gateway.record(request)
    cached = (final.usage.cache_read_input_tokens or 0) + (final.usage.cache_creation_input_tokens or 0)

    assert 1 < len(pieces)
    assert record["stream"]
    assert (final.usage.input_tokens + cached, final.usage.output_tokens) == (
        record["input_tokens"],
        record["output_tokens"],
    )


def test_tools_and_counting(world: World, gateway: RunningGateway) -> None:
    """An offer of tools passes, and tokens are counted without an answer."""
    tool: Any = {
        "name": "weather",
        "input_schema": {"type": "object", "properties": {"hot": {"type": "boolean"}}},
    }
    with messages_client(world, gateway, world.token("message-tools")) as client:
        answer = client.messages.create(**ask(tools=[tool], tool_choice={"type": "auto"}))
        counted = client.messages.count_tokens(
            model="tiny", messages=[{"role": "user", "content": "hello"}], tools=[tool]
        )

    assert answer.stop_reason
    assert 0 < counted.input_tokens


def test_refusals_are_understood(world: World, gateway: RunningGateway) -> None:
    """The client's own exceptions, with our words in them."""
    with messages_client(world, gateway, world.token("message-refused")) as client:
        with pytest.raises(anthropic.PermissionDeniedError) as model:
            client.messages.create(**ask(model="claude"))
        with pytest.raises(anthropic.UnprocessableEntityError) as shape:
            client.messages.create(**ask(), extra_body={"mcp_servers": []})
    with messages_client(world, gateway, "no-token") as client, pytest.raises(anthropic.AuthenticationError):
        client.messages.create(**ask())

    assert "permission_error" == model.value.type
    assert "invalid_request_error" == shape.value.type
    assert "At /mcp_servers: not a known member (additionalProperties)." == shape.value.api_message


def test_cached_tokens_count(
    world: World, before_script: RunningGateway, scripted: tuple[Scripted, Path]
) -> None:
    """Usage of the first and the last event of Anthropic's own stream; its headers cross, no credential does."""
    with (
        messages_client(world, before_script, world.token("cached")) as client,
        client.messages.stream(**ask("cached"), extra_headers={"anthropic-beta": "beta-1"}) as stream,
    ):
        final = stream.get_final_message()
        headers = stream.response.headers
    record = before_script.record(headers["x-request-id"])
    [asked] = [one for one in scripted[0].seen if b"cached" in one.body]

    assert 15 == final.usage.output_tokens
    assert (123, 15) == (record["input_tokens"], record["output_tokens"])
    assert "req_1" == headers["request-id"]
    assert ("beta-1", client.default_headers["anthropic-version"]) == (
        asked.headers["anthropic-beta"],
        asked.headers["anthropic-version"],
    )
    assert not {"authorization", "x-api-key"} & asked.headers.keys()


def test_a_cut_stream_says_so(world: World, before_script: RunningGateway) -> None:
    """A stream that breaks off ends with an error that the client raises, not with silence."""
    pieces: list[str] = []
    with (
        messages_client(world, before_script, world.token("died")) as client,
        pytest.raises(anthropic.APIStatusError) as raised,
        client.messages.stream(**ask("die")) as stream,
    ):
        pieces.extend(stream.text_stream)
    record = before_script.record(stream.response.headers["x-request-id"])

    assert ["half a"] == pieces
    assert "api_error" == raised.value.type
    assert record["id"] == raised.value.body["request_id"]  # type: ignore[index]  # JSON of any shape
    assert ("failed", "backend-died") == (record["outcome"], record["reason"])

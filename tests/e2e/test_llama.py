"""A real model server behind the gateway: llama.cpp with tiny random weights, on a unix socket."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from tests.e2e.running import RunningGateway
from tests.e2e.world import prompt

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.e2e.world import World


@pytest.fixture(scope="module")
def gateway(world: World, llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """A gateway in front of it."""
    directory = tmp_path_factory.mktemp("llama")
    with RunningGateway(world.configure(directory, llama), directory / "audit.jsonl") as running:
        yield running


def test_a_real_server_answers(world: World, gateway: RunningGateway) -> None:
    """The official client, a whole answer; what the server says it used is what the record says."""
    with world.openai(gateway, world.token("real")) as client:
        answer = client.chat.completions.with_raw_response.create(**prompt("hello"), temperature=0)
    completion = answer.parse()
    record = gateway.record(answer.headers["x-request-id"])

    assert completion.choices[0].message.content
    assert completion.usage is not None
    assert (completion.usage.prompt_tokens, completion.usage.completion_tokens) == (
        record["input_tokens"],
        record["output_tokens"],
    )


def test_a_real_server_streams(world: World, gateway: RunningGateway) -> None:
    """Token by token; usage from the stream's last event."""
    with (
        world.openai(gateway, world.token("real-stream")) as client,
        client.chat.completions.create(
            **prompt("hello"), temperature=0, stream=True, stream_options={"include_usage": True}
        ) as stream,
    ):
        events = list(stream)
    record = gateway.record(stream.response.headers["x-request-id"])
    [usage] = [event.usage for event in events if event.usage]

    assert 2 < len([event for event in events if event.choices])
    assert (usage.prompt_tokens, usage.completion_tokens) == (record["input_tokens"], record["output_tokens"])
    assert len(events) + 1 == record["events"]  # the last one says `[DONE]`


def test_a_real_server_obeys_a_schema(world: World, gateway: RunningGateway) -> None:
    """Even random weights write what the schema says: it reached the sampler."""
    schema = {
        "type": "object",
        "properties": {"ok": {"type": "boolean"}},
        "required": ["ok"],
        "additionalProperties": False,
    }
    wanted = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
    with world.openai(gateway, world.token("real-schema")) as client:
        answer = client.chat.completions.create(**prompt("hello", max_tokens=300, response_format=wanted))
    document = msgspec.json.decode(answer.choices[0].message.content or "")

    assert ["ok"] == list(document)
    assert isinstance(document["ok"], bool)


def test_a_real_server_takes_tools(world: World, gateway: RunningGateway) -> None:
    """An offer of tools passes the built-in schema and the server's own checks."""
    tool = {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "the weather",
            "parameters": {"type": "object", "properties": {"hot": {"type": "boolean"}}, "required": ["hot"]},
        },
    }
    with world.openai(gateway, world.token("real-tools")) as client:
        answer = client.chat.completions.create(**prompt("hello", tools=[tool], tool_choice="auto"))

    assert 1 == len(answer.choices)


def test_its_management_is_out_of_reach(world: World, gateway: RunningGateway) -> None:
    """What the server serves beside models has no route, and looks like anything else that has none."""
    with world.http(gateway, world.token("curious")) as client:
        answers = [client.get(path) for path in ("/props", "/slots", "/metrics", "/health", "/")]

    assert [403] * 5 == [answer.status_code for answer in answers]

"""OpenAI's official client through the gateway, beyond chat: to llama.cpp, and to a scripted server."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec
import openai
import pytest

from tests.e2e.running import RunningGateway
from tests.e2e.scripted import Asked, Said, Scripted, event
from tests.e2e.surfaces import configure, surface

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from openai.types.responses import ResponseStreamEvent

    from tests.e2e.world import World

ROUTES = (
    surface("/v1/completions", "openai.completions"),
    surface("/v1/responses", "openai.responses"),
    surface("/v1/moderations", "openai.moderations"),
    surface("/v1/images/generations", "openai.images"),
    surface("/v1/audio/transcriptions", "openai.audio"),
)
USAGE = {"input_tokens": 3, "output_tokens": 1056, "total_tokens": 1059}


def script(asked: Asked) -> Said:
    """Moderate, draw, or stream half a response."""
    if asked.path == "/v1/moderations":
        result = {"flagged": True, "categories": {"violence": True}, "category_scores": {"violence": 0.9}}
        answer: dict[str, object] = {"id": "modr-1", "model": "tiny", "results": [result]}
    elif asked.path == "/v1/images/generations":
        answer = {"created": 1, "data": [{"b64_json": "aGk="}], "usage": USAGE}
    elif asked.path == "/v1/audio/transcriptions" and b'name="stream"' in asked.body:
        delta = event("transcript.text.delta", b'{"type":"transcript.text.delta","delta":"hello"}')
        used = msgspec.json.encode({"type": "transcript.text.done", "text": "hello", "usage": USAGE})
        return Said("text/event-stream", (delta, event("transcript.text.done", used)))
    elif asked.path == "/v1/audio/transcriptions":
        answer = {"text": "hello", "usage": {"type": "tokens"} | USAGE}
    else:
        delta = b'{"type":"response.output_text.delta","sequence_number":1,"item_id":"m","output_index":0,'
        delta += b'"content_index":0,"delta":"half a","logprobs":[]}'
        return Said("text/event-stream", (event("response.output_text.delta", delta),), breaks=True)
    return Said("application/json", (msgspec.json.encode(answer),))


@pytest.fixture(scope="module")
def gateway(world: World, llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """A gateway in front of llama.cpp."""
    directory = tmp_path_factory.mktemp("openai")
    with RunningGateway(configure(world, directory, llama, *ROUTES), directory / "audit.jsonl") as running:
        yield running


@pytest.fixture(scope="module")
def socket(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the scripted server listens."""
    return tmp_path_factory.mktemp("o") / "s"


@pytest.fixture(scope="module")
def scripted(socket: Path) -> Iterator[Scripted]:
    """A server that does what the script says."""
    with Scripted(socket, script) as running:
        yield running


@pytest.fixture(scope="module")
def before_script(world: World, scripted: Scripted, socket: Path) -> Iterator[RunningGateway]:
    """A gateway in front of it."""
    directory = socket.parent
    with RunningGateway(configure(world, directory, socket, *ROUTES), directory / "audit.jsonl") as running:
        yield running


@pytest.mark.parametrize("stream", [False, True])
def test_completions(world: World, gateway: RunningGateway, stream: bool) -> None:
    """Whole and streamed; what the real server says it used is what the record says."""
    with world.openai(gateway, world.token("completion")) as client:
        if stream:
            events = list(
                client.completions.create(
                    model="tiny",
                    prompt="once upon",
                    max_tokens=6,
                    stream=True,
                    stream_options={"include_usage": True},
                )
            )
            [usage] = [one.usage for one in events if one.usage]
            text = "".join(choice.text for one in events for choice in one.choices)
        else:
            answer = client.completions.create(model="tiny", prompt="once upon", max_tokens=6)
            usage, text = answer.usage, answer.choices[0].text
    record = gateway.record_where(
        lambda one: one.get("path") == "/v1/completions" and bool(one.get("stream")) == stream
    )

    assert text
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens) == (record["input_tokens"], record["output_tokens"])


@pytest.mark.parametrize("stream", [False, True])
def test_responses(world: World, gateway: RunningGateway, stream: bool) -> None:
    """Whole and streamed; usage stands in the answer, or in the event `response.completed`."""
    with world.openai(gateway, world.token("response")) as client:
        if stream:
            events = list(
                client.responses.create(model="tiny", input="hello", max_output_tokens=6, stream=True)
            )
            [usage] = [one.response.usage for one in events if one.type == "response.completed"]
            assert 2 < len(events)
        else:
            answer = client.responses.create(model="tiny", input="hello", max_output_tokens=6)
            usage = answer.usage
    record = gateway.record_where(
        lambda one: one.get("path") == "/v1/responses" and bool(one.get("stream")) == stream
    )

    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens) == (record["input_tokens"], record["output_tokens"])


def test_moderations_and_images(world: World, before_script: RunningGateway) -> None:
    """The client reads the scripted answers; what an image used is on the record."""
    with world.openai(before_script, world.token("moderation")) as client:
        moderated = client.moderations.create(model="tiny", input=["a", "b"])
        drawn = client.images.with_raw_response.generate(model="tiny", prompt="a tree", size="1024x1024")
    record = before_script.record(drawn.headers["x-request-id"])

    assert moderated.results[0].flagged
    assert "aGk=" == (drawn.parse().data or [])[0].b64_json
    assert (3, 1056) == (record["input_tokens"], record["output_tokens"])


def test_transcriptions(world: World, scripted: Scripted, before_script: RunningGateway) -> None:
    """A form of the official client, whole and streamed: every part arrives, under another boundary."""
    recording = ("speech.wav", b"RIFF\r\n--boundary\r\n" * 20, "audio/wav")
    with world.openai(before_script, world.token("speech")) as client:
        whole = client.audio.transcriptions.with_raw_response.create(
            model="tiny", file=recording, language="de", timestamp_granularities=["word"]
        )
        events = list(client.audio.transcriptions.create(model="tiny", file=recording, stream=True))
        with pytest.raises(openai.PermissionDeniedError):
            client.audio.transcriptions.create(model="other", file=recording)
    record = before_script.record(whole.headers["x-request-id"])
    seen = [one for one in scripted.seen if one.path == "/v1/audio/transcriptions"]

    assert "hello" == whole.parse().text
    assert ["transcript.text.delta", "transcript.text.done"] == [one.type for one in events]
    assert ("tiny", 3, 1056) == (record["model"], record["input_tokens"], record["output_tokens"])
    assert 2 == len(seen)
    assert all(recording[1] in one.body and b'filename="speech.wav"' in one.body for one in seen)
    assert all(
        re.fullmatch("multipart/form-data; boundary=[0-9a-f]{32}", one.headers["content-type"])
        for one in seen
    )


def test_a_model_that_is_not_named_is_not_allowed(world: World, before_script: RunningGateway) -> None:
    """Where the API leaves the model to the backend, rules about models do not allow."""
    with (
        world.openai(before_script, world.token("nameless")) as client,
        pytest.raises(openai.PermissionDeniedError),
    ):
        client.moderations.create(input="a")


def test_a_cut_response_says_so(world: World, before_script: RunningGateway) -> None:
    """The client raises what the last event says, and does not take half an answer for a whole one."""
    pieces: list[ResponseStreamEvent] = []
    with (
        world.openai(before_script, world.token("half")) as client,
        client.responses.create(model="tiny", input="die", stream=True) as stream,
        pytest.raises(openai.APIError) as raised,
    ):
        pieces.extend(stream)

    assert ["response.output_text.delta"] == [one.type for one in pieces]
    assert "backend-failed" == raised.value.code

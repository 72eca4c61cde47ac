"""A model that is named in path, header and body is one model, or the request is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.e2e.running import RunningGateway
from tests.e2e.scripted import Asked, Said, Scripted
from tests.e2e.surfaces import configure, surface
from tests.e2e.world import prompt

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.world import World


def script(asked: Asked) -> Said:
    """Answer anything."""
    return Said("application/json", (b'{"reached":true}',))


def test_what_is_said_of_the_model_agrees(world: World, tmp_path: Path) -> None:
    """The rules allow `tiny`: no path and no header asks a server for another one; the record says which."""
    socket = tmp_path / "s"
    chat = surface("/deployments/{model}/chat", "openai.chat", headers={"model": "x-model"})
    listed = surface("/v1/models/{model}", "openai.models", "GET")
    listed["allow"][0]["models"] = ["tiny"]
    with (
        Scripted(socket, script) as server,
        RunningGateway(configure(world, tmp_path, socket, chat, listed), tmp_path / "audit.jsonl") as gateway,
        world.http(gateway, world.token("names")) as client,
    ):
        served = client.post("/deployments/tiny/chat", json=prompt("a"), headers={"x-model": "tiny"})
        shown = client.get("/v1/models/tiny")
        refused = [
            client.post("/deployments/secret/chat", json=prompt("b")),
            client.post("/deployments/tiny/chat", json=prompt("c"), headers={"x-model": "secret"}),
            client.post("/deployments/secret/chat", json=prompt("d", model="secret")),
            client.get("/v1/models/secret"),
        ]
        record = gateway.record(shown.headers["x-request-id"])
        seen = [(one.path, one.headers.get("x-model")) for one in server.seen]

    assert (200, 200) == (served.status_code, shown.status_code)
    assert [422, 422, 403, 403] == [one.status_code for one in refused]
    assert "tiny" == record["model"]
    assert [("/deployments/tiny/chat", "tiny"), ("/v1/models/tiny", None)] == seen

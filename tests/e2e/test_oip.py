"""Open Inference Protocol through the gateway: the bytes that tritonclient writes, and curl."""

from __future__ import annotations

import shutil
import struct
import subprocess
from typing import TYPE_CHECKING

import msgspec
import pytest

from tests.e2e.running import RunningGateway
from tests.e2e.scripted import Asked, Said, Scripted
from tests.e2e.surfaces import configure, surface

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.e2e.world import World

ROUTES = (surface("/v2/models/**", "oip", "GET", "POST"),)
LENGTH = "inference-header-content-length"
# What tritonclient's InferInput and InferenceServerClient.infer write for four INT32 (_utils.py, _infer_input.py).
HEAD = (
    b'{"id":"7","inputs":[{"name":"INPUT0","shape":[1,4],"datatype":"INT32",'
    b'"parameters":{"binary_data_size":16}}],"parameters":{"binary_data_output":true}}'
)
TAIL = struct.pack("<4i", 1, -2, 3, -4)


def script(asked: Asked) -> Said:
    """Answer metadata, or a tensor in the form that was asked for."""
    if asked.method == "GET":
        return Said("application/json", (b'{"name":"tiny","platform":"none","inputs":[],"outputs":[]}',))
    if LENGTH not in asked.headers:
        answer = {
            "model_name": "tiny",
            "outputs": [{"name": "y", "shape": [1], "datatype": "INT32", "data": [1]}],
        }
        return Said("application/json", (msgspec.json.encode(answer),))
    head = b'{"model_name":"tiny","outputs":[{"name":"y","shape":[1,4],"datatype":"INT32",'
    head += b'"parameters":{"binary_data_size":16}}]}'
    cut = int(asked.headers[LENGTH])
    return Said("application/octet-stream", (head, asked.body[cut:]), headers={LENGTH: str(len(head))})


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Scripted, Path]]:
    """A server that speaks the protocol, and its socket."""
    socket = tmp_path_factory.mktemp("v") / "s"
    with Scripted(socket, script) as running:
        yield running, socket


@pytest.fixture(scope="module")
def gateway(
    world: World, server: tuple[Scripted, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningGateway]:
    """A gateway in front of it."""
    directory = tmp_path_factory.mktemp("oip")
    path = configure(world, directory, server[1], *ROUTES)
    with RunningGateway(path, directory / "audit.jsonl") as running:
        yield running


def test_binary_tensors(world: World, gateway: RunningGateway, server: tuple[Scripted, Path]) -> None:
    """Head and bytes arrive as they were sent, and so does the answer."""
    with world.http(gateway, world.token("binary")) as client:
        answer = client.post(
            "/v2/models/tiny/infer", content=HEAD + TAIL, headers={LENGTH: str(len(HEAD)), "accept": "*/*"}
        )
    record = gateway.record(answer.headers["x-request-id"])
    [asked] = [one for one in server[0].seen if b'"id":"7"' in one.body]

    assert 200 == answer.status_code
    assert TAIL == answer.content[int(answer.headers[LENGTH]) :]
    assert (HEAD + TAIL, str(len(HEAD))) == (asked.body, asked.headers[LENGTH])
    assert "application/octet-stream" == asked.headers["content-type"]
    assert ("served", "tiny", "researchers") == (record["outcome"], record["model"], record["rule"])


def test_undeclared_bytes_never_arrive(
    world: World, gateway: RunningGateway, server: tuple[Scripted, Path]
) -> None:
    """One byte too many is refused, and so is a head of another length."""
    seen = len(server[0].seen)
    with world.http(gateway, world.token("smuggler")) as client:
        for body, length in ((HEAD + TAIL + b"x", len(HEAD)), (HEAD + TAIL, len(HEAD) - 1), (HEAD + TAIL, 0)):
            answer = client.post("/v2/models/tiny/infer", content=body, headers={LENGTH: str(length)})
            assert answer.status_code in {400, 422}

    assert seen == len(server[0].seen)


def test_the_model_is_the_path_s(
    world: World, gateway: RunningGateway, server: tuple[Scripted, Path]
) -> None:
    """Rules about models are about the path; what a body says of it must be the same; management is neither."""
    seen = len(server[0].seen)
    body = {"inputs": [{"name": "x", "shape": [1], "datatype": "INT32", "data": [1]}]}
    with world.http(gateway, world.token("other-model")) as client:
        other = client.post("/v2/models/secret/infer", json=body)
        lied = client.post("/v2/models/tiny/infer", json=body | {"model_name": "secret"})
        managed = [
            client.get(f"/v2/models/{path}") for path in ("secret", "stats", "tiny/config", "tiny/stats")
        ]

    assert (403, 422) == (other.status_code, lied.status_code)
    assert [403] * 4 == [one.status_code for one in managed]
    assert seen == len(server[0].seen)


def test_curl(world: World, gateway: RunningGateway) -> None:
    """Metadata and a JSON tensor, as somebody types it."""
    curl = shutil.which("curl")
    assert curl is not None
    base = f"https://localhost:{gateway.port}/v2/models/tiny"
    head = [curl, "-sS", "--cacert", str(world.pki.ca("gateway"))]
    head += ["--cert", str(world.alice.certificate), "--key", str(world.alice.key)]
    head += ["-H", f"Authorization: Bearer {world.token('curl')}"]
    tensor = '{"inputs": [{"name": "x", "shape": [1], "datatype": "INT32", "data": [1]}]}'
    metadata = subprocess.run([*head, base], capture_output=True, check=True, timeout=30)
    answer = subprocess.run(
        [*head, "-H", "Content-Type: application/json", "-d", tensor, f"{base}/versions/1/infer"],
        capture_output=True,
        check=True,
        timeout=30,
    )

    assert "tiny" == msgspec.json.decode(metadata.stdout)["name"]
    assert [1] == msgspec.json.decode(answer.stdout)["outputs"][0]["data"]

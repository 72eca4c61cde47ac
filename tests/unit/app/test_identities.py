"""Issuers of a configuration: their keys are found, followed, and dead when they are withdrawn."""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import httpx
import msgspec
import pytest
from structlog.testing import capture_logs

from gateway.app.compilation import _report_keys
from gateway.app.process import Process
from gateway.credentials.development import DevelopmentIssuer
from gateway.credentials.jwks import FileKeySet
from gateway.credentials.key_news import KeyNews
from gateway.credentials.remote import UrlKeySet
from gateway.credentials.signing import Signer, generate_key, key_set
from gateway.observe.log import LogSink
from tests.unit.app.settings import CLOCK, FULL
from tests.unit.credentials.providers import by_path, providing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from pathlib import Path

    from tests.unit.app.settings import Directory
    from tests.unit.credentials.providers import Exchange, Provider

DISCOVERED = """\
server: {{listen: "127.0.0.1:0"}}
identity:
  issuers:
    - {{issuer: "{issuer}", audience: model-gateway, algorithms: [ES256], refresh: 1s, keys_hard_age: 1m}}
roles: {{user: {{groups: [users]}}}}
backends:
  model: {{endpoints: ["http://127.0.0.1:9"]}}
routes:
  - name: all
    match: {{methods: [GET], path: /model}}
    dialect: opaque
    backend: model
    allow: [{{name: users, roles: [user]}}]
assertions: {{issuer: https://gateway.example.org, private_key: certs/assertions.key}}
audit: {{path: audit/gateway.jsonl}}
log: {{exchanges: false}}
"""


@pytest.fixture
def sink(tmp_path: Path) -> Iterator[LogSink]:
    """A log that nobody reads."""
    descriptor = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT)
    made = LogSink(descriptor)
    made.start()
    yield made
    made.close()
    os.close(descriptor)


@asynccontextmanager
async def running(process: Process) -> AsyncIterator[httpx.AsyncClient]:
    """Run a process until the end of the block; yields a client of its listener."""
    task = asyncio.ensure_future(process.run())
    while not process._is_ready:
        await asyncio.sleep(0)
    async with httpx.AsyncClient(base_url=f"http://{process.addresses['listen']}") as client:
        yield client
    process.stop()
    await task


def published(provider: Provider, keys: bytes) -> Callable[[Exchange], Awaitable[None]]:
    """What an issuer answers: its metadata, its keys, and nothing else."""
    metadata = {"issuer": provider.origin, "jwks_uri": f"{provider.origin}/keys"}
    return by_path({"/.well-known/openid-configuration": msgspec.json.encode(metadata), "/keys": keys})


async def test_a_withdrawn_key_is_dead_within_one_refresh(directory: Directory, sink: LogSink) -> None:
    """A token is good while its issuer publishes its key, found by discovery, and refused a refresh later."""
    other = key_set(Signer(generate_key("ES256"), kid="next"))
    changes: list[int] = []
    async with providing() as provider:
        issuer = DevelopmentIssuer.create(directory.path / "own", issuer=provider.origin, kid="first")
        provider.say = published(provider, issuer.jwks.read_bytes())
        process = Process(directory.compile(DISCOVERED.format(issuer=provider.origin)), CLOCK, sink)
        [keys] = process._compilation.key_sets
        keys.on_change = lambda: changes.append(keys.generation)
        headers = {"Authorization": f"Bearer {issuer.mint(groups=['users'])}"}
        with capture_logs() as lines:
            async with running(process) as client:
                first = await client.get("/model", headers=headers)
                provider.say = published(provider, other)
                while (last := await client.get("/model", headers=headers)).status_code != 401:
                    await asyncio.sleep(0.02)

    assert first.status_code == 502  # past identity and policy: there is no model
    assert last.status_code == 401
    assert [1, 2] == changes
    assert [(provider.origin, 1, ("first",)), (provider.origin, 1, ("next",))] == [
        (line["issuer"], line["keys"], line["kids"]) for line in lines if line["event"] == "keys-changed"
    ]


async def test_a_thousand_unknown_keys_reach_no_issuer(directory: Directory, sink: LogSink) -> None:
    """Concurrent requests that name a thousand keys cause no fetch within the window, and no line in the log."""
    text = DISCOVERED.replace("refresh: 1s, ", "")
    async with providing() as provider:
        issuer = DevelopmentIssuer.create(directory.path / "own", issuer=provider.origin)
        provider.say = published(provider, issuer.jwks.read_bytes())
        process = Process(directory.compile(text.format(issuer=provider.origin)), CLOCK, sink)
        tokens = iter([issuer.mint(headers={"kid": f"unknown-{number}"}) for number in range(1000)])
        statuses: list[int] = []
        with capture_logs() as lines:
            async with running(process) as client:

                async def ask() -> None:
                    for token in tokens:
                        answer = await client.get("/model", headers={"Authorization": f"Bearer {token}"})
                        statuses.append(answer.status_code)

                async with asyncio.TaskGroup() as askers:
                    for _ in range(20):
                        askers.create_task(ask())

    assert [401] * 1000 == statuses
    assert ["/.well-known/openid-configuration", "/keys"] == provider.targets
    assert ["keys-changed"] == [line["event"] for line in lines if line["event"].startswith("keys")]


def test_settings_reach_the_key_sets(directory: Directory) -> None:
    """Networks, pace and ages arrive where they count."""
    text = FULL.replace(
        'jwks: "https://127.0.0.1:9/jwks"',
        'networks: [10.0.0.0/8], refresh: 2s, jwks_origins: ["https://k.example"]',
    )
    file, discovered = directory.compile(text).key_sets

    assert isinstance(file, FileKeySet)
    assert isinstance(discovered, UrlKeySet)
    assert 2.0 == discovered.pause()
    assert frozenset({("https", "k.example", 443)}) == discovered.source._origins  # type: ignore[attr-defined]
    reach = discovered.source._fetcher._reach  # type: ignore[attr-defined]
    assert reach.permits("other.example.org", "10.0.0.1")
    assert not reach.permits("other.example.org", "8.8.8.8")


def test_news_of_keys_have_their_weight() -> None:
    """What ends every caller of an issuer is an error; what needs a look is a warning."""
    with capture_logs() as lines:
        for news in (
            KeyNews("keys-unavailable", "timeout"),
            KeyNews("discovery-failed", "timeout"),
            KeyNews("keys-back"),
            KeyNews("keys-changed", size=1, kids=("a",)),
            KeyNews("keys-expired"),
        ):
            _report_keys("https://idp.example.org", news)

    assert ["warning", "warning", "info", "info", "error"] == [line["log_level"] for line in lines]
    assert ["timeout", "timeout", None, None, None] == [line.get("why") for line in lines]
    assert {"https://idp.example.org"} == {line["issuer"] for line in lines}

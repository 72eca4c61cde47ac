"""Three gateways on one Redis: whoever is revoked at one of them is cut off at all of them within a second."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from tests.e2e.running import RunningGateway, once
from tests.e2e.world import prompt
from tests.servers import PASSWORD, USER, RunningServer, redis_binary, valkey_binary

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from tests.e2e.backend import Backend
    from tests.e2e.world import World

ROUNDS = 12
STREAMS = 4  # per gateway and round
BOUND = 2.0  # seconds for which a silent store is believed
ISSUER = "https://idp.example.org"


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RunningServer]:
    """A server whose user may do what the documentation says, and nothing else."""
    directory = tmp_path / "redis"
    directory.mkdir()
    server = RunningServer(redis_binary() or valkey_binary(), directory)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def fleet(
    world: World, backend: Backend, redis: RunningServer, tmp_path: Path
) -> Iterator[list[RunningGateway]]:
    """Three gateways."""
    with ExitStack() as stack:
        gateways = []
        for name in ("one", "two", "three"):
            directory = tmp_path / name
            directory.mkdir()
            for secret, text in (("password", PASSWORD), ("revocations", "of the fleet alone")):
                (directory / secret).write_text(text)
                (directory / secret).chmod(0o600)
            url = f"redis://{USER}@127.0.0.1:{redis.port}/0"
            state = f'{{url: "{url}", password: "file:password", timeout: 500ms}}'
            more = f'revocations: {{secret: "file:revocations", max_staleness: {BOUND:g}s}}'
            path = world.configure(directory, backend.port, state=state, more=more)
            gateways.append(stack.enter_context(RunningGateway(path, directory / "audit.jsonl")))
        yield gateways


@asynccontextmanager
async def streaming(
    world: World, gateway: RunningGateway, subject: str
) -> AsyncIterator[asyncio.StreamReader]:
    """One live stream of one subject."""
    body = msgspec.json.encode(prompt("drip", stream=True))
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", gateway.port, ssl=world.context(world.alice), server_hostname="localhost"
    )
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {world.token(subject)}"
        f"\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    writer.write(head.encode() + body)
    await asyncio.wait_for(reader.readuntil(b"drip"), 10)
    try:
        yield reader
    finally:
        writer.transport.abort()


async def cut(reader: asyncio.StreamReader) -> tuple[float, bytes]:
    """Read a stream to its end; returns when, and what came last."""
    rest = b""
    async with asyncio.timeout(20):
        while data := await reader.read(65536):
            rest = (rest + data)[-4096:]
    return time.monotonic(), rest


async def operator(gateway: RunningGateway, method: str, path: str, body: object | None = None) -> Any:
    """Ask the admin listener."""
    reader, writer = await asyncio.open_connection(*gateway.admin.removeprefix("http://").split(":"))
    data = b"" if body is None else msgspec.json.encode(body)
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n"
    writer.write(head.encode() + b"Content-Length: %d\r\n\r\n%b" % (len(data), data))
    answer = await reader.read()
    writer.close()
    return msgspec.json.decode(answer.partition(b"\r\n\r\n")[2])


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_everywhere_within_a_second(world: World, fleet: list[RunningGateway]) -> None:
    """From the call at one gateway to the end of the last live stream at all three, round after round."""
    took = []
    for turn in range(ROUNDS):
        async with AsyncExitStack() as stack:
            readers = [
                await stack.enter_async_context(streaming(world, gateway, f"r{turn}-{place}-{number}"))
                for place, gateway in enumerate(fleet)
                for number in range(STREAMS)
            ]
            bystander = await stack.enter_async_context(
                streaming(world, fleet[turn % 3], f"bystander-{turn}")
            )
            body = {"target": "identity", "value": f"{ISSUER}|r{turn}-*", "reason": "drill"}
            began = time.monotonic()
            made, *ends = await asyncio.gather(
                operator(fleet[turn % 3], "POST", "/v1/revocations", body), *(cut(each) for each in readers)
            )
            took.append(max(at for at, _ in ends) - began)
            assert (STREAMS, True) == (made["cut"], made["stored"])
            assert all(b"event: error\n" in rest for _, rest in ends)
            assert not any(rest.endswith(b"0\r\n\r\n") for _, rest in ends)
            assert b"drip" in await asyncio.wait_for(bystander.readuntil(b"drip"), 5)
    for gateway in fleet:
        gateway.stop()  # records are written together
    reasons = [record["reason"] for gateway in fleet for record in gateway.records() if record.get("reason")]

    assert max(took) < 1.0, took
    assert ROUNDS * STREAMS * 3 == reasons.count("revoked")


@pytest.mark.timeout(120)
async def test_a_silent_store_ends_everything_at_the_bound(
    world: World, redis: RunningServer, fleet: list[RunningGateway]
) -> None:
    """Frozen Redis: at the bound every stream ends and every request is refused; thawed, all goes on."""
    gateway = fleet[0]
    async with streaming(world, gateway, "silent") as reader:
        began = time.monotonic()
        redis.freeze()
        at, rest = await cut(reader)
        with world.http(gateway, world.token("silent")) as client:
            refused = client.post("/v1/chat/completions", json=prompt("silent"))
            redis.thaw()
            await asyncio.to_thread(gateway.event, "revocations-current")
            served = client.post("/v1/chat/completions", json=prompt("silent"))

    assert BOUND - 0.5 < at - began < BOUND + 4.0
    assert b"event: error\n" in rest
    assert (503, "unavailable") == (refused.status_code, refused.json()["error"]["code"])
    assert 200 == served.status_code


@pytest.mark.timeout(120)
async def test_the_command_cuts_somebody_off(
    world: World, fleet: list[RunningGateway], tmp_path: Path
) -> None:
    """`gateway revoke` at one gateway, seen at another, listed and lifted by command; all of it on record."""
    one, two = fleet[0], fleet[1]
    where = ["--config", str(one.configuration), "--admin", one.admin.removeprefix("http://")]
    async with streaming(world, two, "mallory") as reader:
        done = await asyncio.to_thread(
            once, "revoke", *where, "--subject", f"{ISSUER}|mallory", "--lock", "--reason", "stolen laptop"
        )
        _, rest = await cut(reader)
    listed = await asyncio.to_thread(once, "revocations", "list", *where)
    made = listed.stdout.split()[0]
    with world.http(two, world.token("mallory")) as client:
        refused = client.post("/v1/chat/completions", json=prompt("mallory"))
        lifted = await asyncio.to_thread(once, "revocations", "lift", made, *where)
        deadline = time.monotonic() + 5
        status = 401
        while status == 401 and time.monotonic() < deadline:
            status = client.post("/v1/chat/completions", json=prompt("mallory")).status_code
    one.stop()
    shown = once("audit", "show", one.audit, "--actions")

    assert (0, 0, 0) == (done.returncode, listed.returncode, lifted.returncode), (done, listed, lifted)
    assert "its other workers and the other gateways follow within a second" in done.stdout
    assert b"event: error\n" in rest
    assert f"{ISSUER}|mallory  (lock)  by operator: stolen laptop" in listed.stdout
    assert (401, 200) == (refused.status_code, status)
    assert "stolen laptop" in shown.stdout
    assert "lifted" in shown.stdout

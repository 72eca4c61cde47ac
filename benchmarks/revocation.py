"""From a revocation at one gateway to the end of the last live stream at all three, over one real Redis.

    PYTHONPATH=. python benchmarks/revocation.py [STREAMS] [ROUNDS]

Also what continuous verification costs: one look at many running exchanges, without sockets. Uses the fleet of
the end-to-end tests: mutual TLS on both sides, bound tokens, limits and revocations in Redis or Valkey.
"""

import asyncio
import resource
import statistics
import sys
import tempfile
import time
from contextlib import AsyncExitStack, ExitStack
from dataclasses import replace
from pathlib import Path

from gateway.core.prompt import Prompt
from gateway.core.revocation import Revocation, Target
from gateway.core.signals import NO_RISK
from gateway.credentials.clock import SystemClock
from gateway.stages.authorize import Effect, Rule, Rules, compile_condition
from gateway.state.revocations import RevocationIndex
from tests.e2e import backend as scripted
from tests.e2e.test_revocation import ISSUER, cut, operator, streaming
from tests.e2e.running import RunningGateway
from tests.e2e.world import World
from tests.servers import PASSWORD, USER, RunningServer, redis_binary, valkey_binary
from tests.unit.test_vigil import ADA
from tests.unit.test_vigil import World as Watched

scripted.DRIP_SECONDS = 1.0  # the streams live; what is measured is how they end


def percentile(values, share):
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def start(stack, directory):
    world = World(directory / "world") if (directory / "world").mkdir() is None else None
    (directory / "redis").mkdir()
    server = RunningServer(redis_binary() or valkey_binary(), directory / "redis")
    server.start()
    stack.callback(server.stop)
    backend = stack.enter_context(scripted.Backend(world.pki, world.backend))
    gateways = []
    for name in ("one", "two", "three"):
        own = directory / name
        own.mkdir()
        for secret, text in (("password", PASSWORD), ("revocations", "of the fleet alone")):
            (own / secret).write_text(text)
            (own / secret).chmod(0o600)
        state = f'{{url: "redis://{USER}@127.0.0.1:{server.port}/0", password: "file:password", timeout: 2s}}'
        path = world.configure(
            own, backend.port, state=state, more='revocations: {secret: "file:revocations"}'
        )
        path.write_text(path.read_text().replace("endpoints: [", "connections: 2000\n    endpoints: ["))
        gateways.append(stack.enter_context(RunningGateway(path, own / "audit.jsonl")))
    return world, gateways


async def rounds(world, gateways, streams, count):
    lasts, each = [], []
    for turn in range(count):
        async with AsyncExitStack() as stack:
            readers = []
            for first in range(0, streams, 20):  # not all handshakes at once: they are not what is measured
                made = [
                    stack.enter_async_context(streaming(world, gateways[number % 3], f"r{turn}-{number}"))
                    for number in range(first, min(first + 20, streams))
                ]
                readers += await asyncio.gather(*made)
            body = {"target": "identity", "value": f"{ISSUER}|r{turn}-*", "reason": "benchmark"}
            began = time.monotonic()
            _, *ends = await asyncio.gather(
                operator(gateways[turn % 3], "POST", "/v1/revocations", body), *(cut(one) for one in readers)
            )
            assert all(b"event: error" in rest for _, rest in ends)
            took = [(at - began) * 1000 for at, _ in ends]
            each += took
            lasts.append(max(took))
    return each, lasts


def fleet(streams, count):
    with tempfile.TemporaryDirectory() as directory, ExitStack() as stack:
        world, gateways = start(stack, Path(directory))
        each, lasts = asyncio.run(rounds(world, gateways, streams, count))
    print(f"{streams} streams over three gateways, {count} rounds; from the call to the end of a stream, ms:")
    print(
        f"  each stream  p50 {percentile(each, 0.5):.0f}  p99 {percentile(each, 0.99):.0f}  max {max(each):.0f}"
    )
    print(
        f"  the last one p50 {percentile(lasts, 0.5):.0f}  p99 {percentile(lasts, 0.99):.0f}  max {max(lasts):.0f}"
    )


def looks():
    print(
        "one look at everything that runs, ms of CPU (source; a rule with a condition in CEL; 1000 revocations held):"
    )
    for size in (500, 10_000):
        watched = Watched()
        rule = Rule(
            "readers", Effect.ALLOW, roles=["reader"], when=compile_condition("request.max_tokens <= 512")
        )
        policy = Rules("chat", [rule])
        watched.swap(policy=policy)
        watched.line.route = replace(watched.line.route, policy=policy)
        index = RevocationIndex(SystemClock())
        index.complete()
        index.apply(Revocation(f"r-{n}", Target.SUBJECT, f"x|{n}", 1.0) for n in range(900))
        index.apply(Revocation(f"p-{n}", Target.IDENTITY, f"y|{n}*", 1.0) for n in range(100))
        identification = watched.gateway.runtime.identification
        identification.revocations = index
        for _ in range(size):
            watched.run(replace(ADA))
        for ex in watched.gateway.running.values():
            ex.prompt = Prompt("tiny", output_cap=10)
        watched.vigil._swapped_at = float("-inf")
        for name, begin in (("urgent", watched.vigil.urgent), ("sweep", watched.vigil.sweep)):
            took = []
            for _ in range(5):
                watched.line.clock.ticks += 2  # everything is due again
                looking = begin()
                at = time.process_time()
                assert not looking.step(1e9)
                took.append((time.process_time() - at) * 1000)
            assert not any(watched.vigil.cuts.values())
            took = statistics.median(took)
            print(f"  {size:6} exchanges, {name:6} {took:7.1f}, {1000 * took / size:.1f} us each")


if __name__ == "__main__":
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 16_384), hard))
    looks()
    streams, count = [int(word) for word in (sys.argv[1:] + ["500", "10"][len(sys.argv) - 1 :])]
    fleet(streams, count)

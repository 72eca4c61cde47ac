"""One request through the whole line in one process, without sockets: where each microsecond goes.

    python benchmarks/line.py [P|M] [--profile]

Uses the real runtime of the comparison's configuration; only the two transports are replaced by ones
that keep what is written.
"""

import asyncio
import cProfile
import pstats
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import msgspec
import uvloop

from gateway.app.compilation import compile_settings
from gateway.app.process import Process
from gateway.config.load import load
from gateway.core.identity import Peer
from gateway.credentials.certificates import read_certificate
from gateway.credentials.clock import SystemClock
from gateway.credentials.development import DevelopmentIssuer, DevelopmentPki
from gateway.observe.log import LogSink
from gateway.wire.downstream import Downstream
from gateway.wire.upstream import Upstream

sys.path.insert(0, str(Path(__file__).resolve().parent))
from peer import configuration

ROUNDS, REQUESTS = 5, 10_000
ANSWER = (
    b'{"id":"x","object":"chat.completion","model":"gpt-4o-mini","choices":[{"index":0,"message":{"role":"assistant","content":"%b"},"finish_reason":"stop"}],"usage":{"prompt_tokens":210,"completion_tokens":95,"total_tokens":305}}'
    % (b"jumps over it. " * 25)
)
RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (
    len(ANSWER),
    ANSWER,
)
BODY = msgspec.json.encode(
    {
        "model": "gpt-4o-mini",
        "messages": [
            {"role": "system", "content": "You are a helpful assistant."},
            {"role": "user", "content": "Explain how a reverse proxy works. " * 24},
        ],
        "temperature": 0.7,
        "max_tokens": 128,
    }
)


class Transport:
    def __init__(self):
        self.out = b""

    def write(self, data):
        self.out = data

    def get_extra_info(self, name):
        return ("127.0.0.1", 5) if name == "peername" else None

    def get_write_buffer_size(self):
        return 0

    def is_closing(self):
        return False

    def can_write_eof(self):
        return False

    def abort(self):
        pass

    close = pause_reading = resume_reading = abort


async def main(mode, is_profiled):
    directory = Path(tempfile.mkdtemp())
    clock = SystemClock()
    pki = DevelopmentPki(directory / "pki")
    pki.init()
    server = pki.issue("localhost", kind="server", dns=["localhost"])
    client = pki.issue("client", kind="client", spiffe="spiffe://bench.test/sa/client-0")
    issuer = DevelopmentIssuer.create(
        directory / "issuer", "ES256", issuer="https://issuer.bench.test", audience="inference-gateway"
    )
    token = (
        issuer.mint(subject="client-0", scopes=["chat.completions"], headers={"typ": "JWT"}, expires_in=3600)
        if mode == "M"
        else None
    )
    x = SimpleNamespace(
        pki=directory, mode=mode, alg="ES256", rate=1e6, port=0, upstream_port=9, work=directory
    )
    text = configuration(x, log=mode == "M")
    for old, new in (
        (f"{directory}/server.pem", server[0]),
        (f"{directory}/server.key", server[1]),
        (f"{directory}/ca.pem", pki.ca("clients")),
        (f"{directory}/jwks.json", issuer.jwks),
    ):
        text = text.replace(str(old), str(new))
    (directory / "gateway.yaml").write_text(text)
    compilation = compile_settings(load(directory / "gateway.yaml", clock), directory, clock)
    null = open("/dev/null", "wb")
    sink = LogSink(null.fileno())
    sink.start()
    process = Process(compilation, clock, sink)
    from contextlib import AsyncExitStack

    async with AsyncExitStack() as stack:
        service = await process._open(stack)
        from cryptography import x509
        from cryptography.hazmat.primitives.serialization import Encoding

        certificate = (
            read_certificate(
                x509.load_pem_x509_certificate(Path(client[0]).read_bytes()).public_bytes(Encoding.DER)
            )
            if mode == "M"
            else None
        )
        service._make_peer = lambda transport: Peer("127.0.0.1", 5, certificate)
        pool = service.handler.runtime.backends
        endpoint = pool._endpoints["bench"][0]
        up, up_transport = Upstream(endpoint), Transport()
        up.connection_made(up_transport)
        endpoint.open = 1
        endpoint.free(up)
        down, transport = Downstream(service), Transport()
        down.connection_made(transport)
        authorization = f"Authorization: Bearer {token}\r\n" if token else ""
        request = (
            f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost:1\r\nUser-Agent: loadgen/1\r\nAccept: */*\r\n"
            f"Content-Type: application/json\r\n{authorization}Content-Length: {len(BODY)}\r\n\r\n"
        ).encode() + BODY

        def one():
            down.data_received(request)
            up.data_received(RESPONSE)

        one()
        if b"200 OK" not in transport.out:
            sys.exit(transport.out.decode())
        for _ in range(ROUNDS):
            wall, cpu, thread = time.perf_counter(), time.process_time(), time.thread_time()
            for count in range(REQUESTS):
                one()
                if count % 500 == 499:
                    await asyncio.sleep(0.001)
            print(
                f"{mode}: {(time.thread_time() - thread) / REQUESTS * 1e6:6.2f} us on the loop, {(time.process_time() - cpu) / REQUESTS * 1e6:6.2f} us with the writing threads"
            )
        if is_profiled:
            profile = cProfile.Profile()
            profile.enable()
            for _ in range(REQUESTS):
                one()
            profile.disable()
            pstats.Stats(profile).sort_stats("tottime").print_stats(45)


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1] if sys.argv[1:] else "M", "--profile" in sys.argv))

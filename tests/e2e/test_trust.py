"""What client certificates rest on changes while the gateway runs: nobody restarts anything."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import httpx
import pytest
from cryptography import x509

from gateway.credentials.bundles import write_bundle
from gateway.credentials.clock import SystemClock
from gateway.credentials.development import Issued
from gateway.credentials.files import write_new
from gateway.credentials.signing import Signer, generate_key
from tests.e2e.backend import Backend
from tests.e2e.running import RunningGateway
from tests.e2e.world import GATEWAY_ID, World, prompt
from tests.pki import Ca

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

WITHIN = 1.0  # seconds in which a revoked client must be gone
STEP = 0.01  # between two tries
NEW_GATEWAY_ID = "spiffe://example.org/gateway/renewed"


@pytest.fixture
def own(tmp_path: Path) -> World:
    """A world of the test's own: its files are changed."""
    return World(tmp_path)


@pytest.fixture
def model(own: World) -> Iterator[Backend]:
    """The model server of that world."""
    with Backend(own.pki, own.backend) as running:
        yield running


def started(
    own: World, model: Backend, *, change: tuple[str, str] = ("", ""), domains: str = "identity:\n"
) -> RunningGateway:
    """Return a gateway that looks at its files often.

    Args:
        own: The world.
        model: Its model server.
        change: A text of the configuration, and what stands there instead.
        domains: Beginning of the section `identity`.
    """
    directory = own.directory / "gateway-process"
    directory.mkdir()
    path = own.configure(directory, model.port)
    text = path.read_text().replace("  drain: 10s", "  drain: 10s\n  watch: 50ms")
    text = text.replace("identity:\n", domains)
    assert change[0] in text
    path.write_text(text.replace(*change) if change[0] else text)
    return RunningGateway(path, directory / "audit.jsonl")


class Idle:
    """A client that has been served once and keeps its connection.

    Args:
        own: The world.
        gateway: Where it connects.
        owner: Whose certificate it shows.
    """

    def __init__(self, own: World, gateway: RunningGateway, owner: Issued) -> None:
        with ExitStack() as stack:
            plain = stack.enter_context(socket.create_connection(("127.0.0.1", gateway.port), timeout=10))
            wrapped = own.context(owner).wrap_socket(plain, server_hostname="localhost")
            self.stream = stack.enter_context(wrapped)
            assert self.ask().startswith(b"HTTP/1.1 200")
            stack.pop_all()

    def ask(self) -> bytes:
        """Ask once; nothing if the connection is gone."""
        try:
            self.stream.sendall(b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n")
            return self.stream.recv(65536)
        except OSError:
            return b""

    def ends(self, seconds: float = WITHIN) -> bool:
        """Tell whether the gateway closes the connection by itself, in time."""
        self.stream.settimeout(seconds)
        try:
            return self.stream.recv(65536) == b""
        except TimeoutError:
            return False
        except OSError:
            return True

    def close(self) -> None:
        """Hang up."""
        self.stream.close()


class Streaming(threading.Thread):
    """A client with a stream that never ends by itself."""

    def __init__(self, own: World, gateway: RunningGateway, owner: Issued, word: str) -> None:
        super().__init__(daemon=True)
        self.client = own.http(gateway, own.token(word, bind=None), owner)
        self.word = word
        self.text = ""
        self.ended_at = 0.0
        self.has_begun = threading.Event()
        self.start()
        assert self.has_begun.wait(10)

    def run(self) -> None:
        """Read until it ends."""
        body = prompt(f"drip-{self.word}") | {"stream": True}
        try:
            with self.client.stream("POST", "/limited/v1/chat/completions", json=body) as answer:
                for piece in answer.iter_text():
                    self.text += piece
                    self.has_begun.set()
        except httpx.HTTPError:
            pass
        self.ended_at = time.monotonic()
        self.has_begun.set()


@contextmanager
def idle(own: World, gateway: RunningGateway, *owners: Issued) -> Iterator[list[Idle]]:
    """Clients that have been served once, one per owner."""
    with ExitStack() as stack:
        found = []
        for owner in owners:
            found.append(Idle(own, gateway, owner))
            stack.callback(found[-1].close)
        yield found


def metric(gateway: RunningGateway, name: str) -> float:
    """Return the value of one metric."""
    text = httpx.get(f"{gateway.admin}/metrics", trust_env=False).text
    return next(float(line.split()[1]) for line in text.splitlines() if line.startswith(f"gateway_{name} "))


def is_refused(own: World, gateway: RunningGateway, owner: Issued) -> bool:
    """Tell whether a client is not served at all."""
    try:
        with idle(own, gateway, owner):
            return False
    except (AssertionError, OSError):
        return True


def test_a_revoked_certificate_is_gone_within_a_second(own: World, model: Backend) -> None:
    """Its idle connection is closed, its stream ends and says so, the model hears of it; others go on."""
    other = own.pki.issue("other", spiffe="spiffe://example.org/robot/three")
    with started(own, model) as gateway, idle(own, gateway, own.robot, other) as (quiet, bystander):
        doomed = Streaming(own, gateway, own.robot, "doomed")
        lucky = Streaming(own, gateway, other, "lucky")
        own.pki.revoke(own.robot.certificate)
        revoked_at = time.monotonic()
        closed = quiet.ends()
        doomed.join(5)
        model.wait(lambda: (model.asked("drip-doomed") or model.seen[0]).lost_at > 0)
        refused = is_refused(own, gateway, own.robot)
        served = bystander.ask()
        log = gateway.event("connection-ended", lambda line: line["reason"] == "certificate-revoked")
        record = gateway.record_where(lambda record: record.get("reason") == "certificate-revoked")
        ended = metric(gateway, "connections_ended_total")
        still = lucky.is_alive()
        gateway.kill()

    assert closed
    assert doomed.ended_at - revoked_at < WITHIN
    assert "urn:gateway:problem:" in doomed.text.rsplit("event:", 1)[-1]
    assert (True, True, True, 2.0) == (refused, served.startswith(b"HTTP/1.1 200"), still, ended)
    assert "on its issuer's revocation list" == log["why"] == record["note"]
    assert ("failed", "https://idp.example.org|doomed") == (record["outcome"], record["who"]["key"])


def test_authorities_of_clients_change(own: World, model: Backend) -> None:
    """A new one is believed beside the old one, then alone; who the old one vouched for is gone then."""
    now = SystemClock().wall()
    old = own.pki.ca("clients").read_bytes()
    new = Ca("new clients", now)
    fresh = Issued(*new.issue("spiffe://example.org/robot/new").write(own.directory, "fresh"))
    without_lists = ("    revocation_list: " + str(own.pki.crl()) + "\n", "")
    with started(own, model, change=without_lists) as gateway, idle(own, gateway, own.robot) as (quiet,):
        assert is_refused(own, gateway, fresh)
        write_new(own.pki.ca("clients"), old + new.pem, force=True)
        gateway.event("trust-reloaded", lambda line: line["what"] == "client_ca")
        wait_until(lambda: not is_refused(own, gateway, fresh))
        with idle(own, gateway, fresh) as (guest,):
            assert quiet.ask().startswith(b"HTTP/1.1 200")
            write_new(own.pki.ca("clients"), new.pem, force=True)
            closed = quiet.ends()
            served = guest.ask()
        log = gateway.event("connection-ended")
        refused = is_refused(own, gateway, own.robot)

    assert (True, True, "certificate-untrusted") == (closed, refused, log["reason"])
    assert served.startswith(b"HTTP/1.1 200")


def wait_until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    """Ask again until it holds."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(STEP)


def served_certificate(own: World, port: int) -> int:
    """Shake hands, and return the serial number of the gateway's certificate."""
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
        own.context(own.robot).wrap_socket(plain, server_hostname="localhost") as stream,
    ):
        der = stream.getpeercert(binary_form=True)
        assert der is not None
        return x509.load_der_x509_certificate(der).serial_number


def serial(issued: Issued) -> int:
    """Return a certificate's serial number."""
    return x509.load_pem_x509_certificate(issued.certificate.read_bytes()).serial_number


def test_the_gateway_s_certificate_is_rotated_under_load(own: World, model: Backend) -> None:
    """Twenty streams do not notice, no handshake fails meanwhile, and new ones see the new certificate."""
    failures: list[object] = []
    seen: set[int] = set()
    done = threading.Event()

    def shake(port: int) -> None:
        while not done.is_set():
            try:
                seen.add(served_certificate(own, port))
            except OSError as failure:
                failures.append(failure)

    with started(own, model) as gateway:
        streams = [Streaming(own, gateway, own.alice, f"s{number}") for number in range(20)]
        shakers = [threading.Thread(target=shake, args=(gateway.port,)) for _ in range(2)]
        for each in shakers:
            each.start()
        wanted = {served_certificate(own, gateway.port)}
        for _ in range(3):
            issued = own.pki.issue("gateway", "server", force=True)
            wanted.add(serial(issued))
            wait_until(lambda issued=issued: served_certificate(own, gateway.port) == serial(issued))
        before = [len(stream.text) for stream in streams]
        wait_until(lambda: all(len(s.text) > size for s, size in zip(streams, before, strict=True)))
        done.set()
        for each in shakers:
            each.join()
        alive = [stream.is_alive() for stream in streams]
        reloads = metric(gateway, "trust_reloads_total")
        gateway.kill()

    assert ([], [True] * 20) == (failures, alive)
    assert seen <= wanted
    assert reloads >= 3


def test_a_broken_file_changes_nothing_and_is_said(own: World, model: Backend) -> None:
    """Clients are served on under what was good, the log says what to do, metrics show it; mended, it is used."""
    certificate = own.pki.directory / "gateway.pem"
    good, lists = certificate.read_bytes(), own.pki.crl().read_bytes()
    with started(own, model) as gateway, idle(own, gateway, own.robot) as (quiet,):
        before = served_certificate(own, gateway.port)
        certificate.write_bytes(good[: len(good) // 2])
        own.pki.crl().write_bytes(b"-----BEGIN X509 CRL-----\nhalf")
        said = [
            gateway.event("trust-refused", lambda line, what=what: line["what"] == what)
            for what in ("certificate", "client_ca")
        ]
        failing = metric(gateway, "trust_failing")
        served = quiet.ask(), served_certificate(own, gateway.port)
        other = own.pki.issue("gateway", "server", force=True)
        own.pki.crl().write_bytes(lists)
        wait_until(lambda: metric(gateway, "trust_failing") == 0)
        wait_until(lambda: served_certificate(own, gateway.port) == serial(other))
        days = metric(gateway, "certificate_days_left")

    assert served[0].startswith(b"HTTP/1.1 200")
    assert (before, 2.0) == (served[1], failing)
    assert all("put the old ones back" in line["mend"] and line["level"] == "error" for line in said)
    assert "has no certificates in PEM form" in said[0]["why"]
    assert 80 < days < 90


def test_certificates_towards_backends_are_rotated(own: World, model: Backend) -> None:
    """The next connection shows the new one, without a restart; kept ones are not used again."""
    with started(own, model) as gateway, own.http(gateway, None, own.robot) as client:
        client.get("/v1/models")
        renewed = own.pki.issue("to-backend", authority="backends", spiffe=NEW_GATEWAY_ID, force=True)
        gateway.event("trust-reloaded", lambda line: line["what"] == "backends.tiny")
        codes = {client.get("/v1/models").status_code for _ in range(3)}

    assert {200} == codes
    assert [GATEWAY_ID, *[NEW_GATEWAY_ID] * 3] == [one.uris[0] for one in model.seen]
    assert serial(renewed)


DOMAINS = """\
identity:
  trust_domains:
    one.example: {{bundle: "file:{directory}/one.json", audience: model-gateway}}
    two.example: {{bundle: "file:{directory}/two.pem"}}
"""


def test_trust_domains_are_federated_and_withdrawn(own: World, model: Backend) -> None:
    """Each domain vouches for its own; a bundle that drops an authority ends its workloads' connections."""
    now = SystemClock().wall()
    one, two, next_one = Ca("ca", now), Ca("ca", now), Ca("next", now)
    robots = {
        name: Issued(*ca.issue(uri).write(own.directory, name))
        for name, ca, uri in (
            ("first", one, "spiffe://one.example/robot/a"),
            ("second", two, "spiffe://two.example/robot/b"),
            ("forged", two, "spiffe://one.example/robot/a"),
            ("third", next_one, "spiffe://one.example/robot/c"),
            ("unknown", one, "spiffe://three.example/robot/d"),
        )
    }
    signer = Signer(generate_key("ES256"))
    (own.directory / "one.json").write_bytes(write_bundle([one.certificate], [signer.jwk]))
    (own.directory / "two.pem").write_bytes(two.pem)
    claims = {"sub": "spiffe://one.example/robot/a", "aud": ["model-gateway"], "exp": int(now) + 600}
    token = signer.sign(claims, {"alg": "ES256", "kid": signer.kid, "typ": "JWT"}).decode()
    roles = 'robot: {spiffe: ["spiffe://one.example/robot/*", "spiffe://two.example/robot/*"]}'
    change = ('robot: {spiffe: ["spiffe://example.org/robot/*"]}', roles)
    with started(own, model, change=change, domains=DOMAINS.format(directory=own.directory)) as gateway:
        with idle(own, gateway, robots["first"], robots["second"]) as (first, second):
            refused = [is_refused(own, gateway, robots[name]) for name in ("forged", "third", "unknown")]
            with own.http(gateway, token, robots["first"]) as client:
                workload = client.get("/v1/models")
            with own.http(gateway, token, robots["second"]) as client:
                stranger = client.get("/v1/models")
            who = gateway.record(workload.headers["x-request-id"])["who"]
            bundle = write_bundle([next_one.certificate], sequence=2)
            write_new(own.directory / "one.json", bundle, force=True)
            closed, served = first.ends(), second.ask()
            wait_until(lambda: not is_refused(own, gateway, robots["third"]))
        with own.http(gateway, token, robots["third"]) as client:
            withdrawn = client.get("/v1/models")

    assert [True, True, True] == refused
    assert (200, 401, 401) == (workload.status_code, stranger.status_code, withdrawn.status_code)
    assert ("spiffe://one.example/robot/a", ["jwt", "mtls"]) == (who["key"], who["methods"])
    assert (True, True) == (closed, served.startswith(b"HTTP/1.1 200"))


def test_a_workload_s_answer_runs_as_long_as_its_domain_has_the_key(own: World, model: Backend) -> None:
    """Looked at four times a second it goes on; when the bundle drops the key of its JWT-SVID, it ends."""
    now = SystemClock().wall()
    one, two = Ca("ca", now), Ca("two", now)
    workload = "spiffe://one.example/robot/a"
    robot = Issued(*one.issue(workload).write(own.directory, "robot"))
    old, new = Signer(generate_key("ES256")), Signer(generate_key("ES256"))
    (own.directory / "one.json").write_bytes(write_bundle([one.certificate], [old.jwk]))
    (own.directory / "two.pem").write_bytes(two.pem)
    claims = {"sub": workload, "aud": ["model-gateway"], "exp": int(now) + 600}
    token = old.sign(claims, {"alg": "ES256", "kid": old.kid, "typ": "JWT"}).decode()
    change = "researcher: {groups: [ml-research]}", f'researcher: {{spiffe: ["{workload}"]}}'
    path, body = "/limited/v1/chat/completions", prompt("drip", stream=True)
    with (
        started(own, model, change=change, domains=DOMAINS.format(directory=own.directory)) as gateway,
        own.http(gateway, token, robot) as client,
        client.stream("POST", path, json=body) as answer,
    ):
        lines = answer.iter_lines()
        began = time.monotonic()
        while time.monotonic() - began < 1.0:  # four looks
            assert not next(lines).startswith("event: error")
        bundle = write_bundle([one.certificate], [new.jwk], sequence=2)
        write_new(own.directory / "one.json", bundle, force=True)
        assert "event: error" in lines
        record = gateway.record(answer.headers["x-request-id"])

    assert (200, "failed", "token-key-unknown") == (answer.status_code, record["outcome"], record["reason"])


def test_a_chain_that_the_client_sends(own: World, model: Backend) -> None:
    """An intermediate that only the client knows leads to the root; revoking it ends what it vouched for."""
    now = SystemClock().wall()
    root = Ca("root", now)
    between = Ca("between", now, issuer=root)
    leaf = between.issue("spiffe://example.org/robot/deep")
    deep = Issued(*leaf.write(own.directory, "deep", between))
    bare = Issued(*leaf.write(own.directory, "bare"))
    ca, lists = own.directory / "root.pem", own.directory / "root.crl"
    ca.write_bytes(root.pem + between.pem)
    lists.write_bytes(root.revoke() + between.revoke())
    text = f"{own.pki.ca('clients')}\n    client_certificate: required\n    revocation_list: {own.pki.crl()}"
    change = text, f"{ca}\n    client_certificate: required\n    revocation_list: {lists}"
    with started(own, model, change=change) as gateway, idle(own, gateway, deep, bare) as (one, two):
        lists.write_bytes(root.revoke(between, number=2) + between.revoke(number=2))
        closed = one.ends(), two.ends()
        refused = is_refused(own, gateway, deep)

    assert ((True, True), True) == (closed, refused)

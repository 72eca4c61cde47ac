"""`gateway revoke` and `gateway revocations`, against a real listener in this process."""

from __future__ import annotations

import asyncio
import io
import threading
from contextlib import contextmanager
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from gateway.admin import AdminSources, build_admin, build_admin_runner
from gateway.cli import main
from gateway.cli.revoke import moment
from gateway.core.exchange import Exchange
from gateway.core.identity import Identity, Peer
from gateway.core.ports import StoreUnavailable
from gateway.core.revocation import Revocation, Target
from gateway.core.revoking import RevocationsFull
from gateway.credentials.clock import SystemClock
from gateway.credentials.development import DevelopmentPki, fingerprint
from gateway.credentials.tls import server_context

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from gateway.admin import LimitOperations

CONFIGURATION = """\
server: {{listen: "127.0.0.1:8443"}}
admin: {admin}
state: {state}
identity: {{anonymous: {{roles: [public]}}}}
roles: {{public: {{}}}}
backends: {{model: {{endpoints: ["unix:/run/model.sock"]}}}}
routes:
  - name: all
    match: {{methods: [GET], path: /model}}
    dialect: opaque
    backend: model
    allow: [{{name: everybody, roles: [public]}}]
"""
ROW = Revocation("r-1", Target.SUBJECT, "a|ada\x1b[31m", 1.8e9, 1.8e9, 1.9e9, "stolen", "admin")


class Fleet:
    """What stands behind the listener."""

    def __init__(self) -> None:
        self.done: list[Revocation] = []
        self.rows: list[Revocation] = []
        self.is_stored = True
        self.is_current = True
        self.fails: Exception | None = None

    async def revoke(self, revocations: Any, by: str) -> tuple[int, bool]:
        if self.fails is not None:
            raise self.fails
        self.done += revocations
        return 2, self.is_stored

    async def release(self, id: str, by: str) -> Revocation | None:
        if self.fails is not None:
            raise self.fails
        return ROW if id == "r-1" else None

    def held(self) -> list[Revocation]:
        return self.rows

    def state(self) -> dict[str, object]:
        return {"held": len(self.rows), "version": 7, "current": self.is_current, "staleness_seconds": 0.2}

    def running(self) -> list[Exchange]:
        ex = Exchange("x", Peer("10.0.0.1", 1), None, 1.8e9, 0.0)
        ex.identity = Identity("a|ada", "a", "ada", ("jwt",), frozenset(), 2e9)
        return [ex]


@contextmanager
def listening(
    fleet: Fleet,
    *,
    token: str | None = None,
    path: Path | None = None,
    tls: ssl.SSLContext | None = None,
    limits: LimitOperations | None = None,
) -> Iterator[int]:
    """Serve the admin API in a thread; yields its port."""
    ready = threading.Event()
    port = 0

    async def serve() -> None:
        nonlocal port, stop
        stop = asyncio.Event()
        sources = AdminSources(
            readiness=dict,
            metrics=bytes,
            keys=dict,
            status=dict,
            operations=fleet,
            clock=SystemClock(),
            limits=limits,
        )
        runner = build_admin_runner(build_admin(sources, token=token), shutdown_seconds=0.1)
        await runner.setup()
        site: web.BaseSite = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
        if path is not None:
            site = web.UnixSite(runner, str(path))
        await site.start()
        port = runner.addresses[0][1] if path is None else 0
        ready.set()
        await stop.wait()
        await runner.cleanup()

    stop = asyncio.Event()
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield port
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()


@pytest.fixture
def fleet() -> Fleet:
    """A fleet that does what it is told."""
    return Fleet()


@pytest.fixture
def configure(tmp_path: Path) -> Callable[..., str]:
    """Write a configuration; returns its path."""

    def configure(admin: str, state: str = "{url: 'memory://'}") -> str:
        path = tmp_path / "gateway.yaml"
        path.write_text(CONFIGURATION.format(admin=admin, state=state))
        return str(path)

    return configure


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--subject", "a|ada"], (Target.SUBJECT, "a|ada", False)),
        (["--identity", "spiffe://a/*", "--lock"], (Target.IDENTITY, "spiffe://a/*", True)),
        (["--client", "a|c"], (Target.CLIENT, "a|c", False)),
        (["--session", "a|s"], (Target.SESSION, "a|s", True)),
        (["--key", "thumb"], (Target.KEY, "thumb", True)),
        (["--token-id", "a|jti"], (Target.TOKEN, "a|jti", True)),
        (["--token", "token"], (Target.TOKEN, sha256(b"abc").hexdigest()[:16], True)),
        (["--token", "-"], (Target.TOKEN, sha256(b"abc").hexdigest()[:16], True)),
        (["--certificate", "A" * 43], (Target.CERTIFICATE, "A" * 43, True)),
        (["--certificate", ":".join(["00"] * 32)], (Target.CERTIFICATE, "A" * 43, True)),
    ],
)
def test_somebody_is_cut_off(
    fleet: Fleet, configure: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str], arguments: list[str], expected: tuple[Target, str, bool],
) -> None:  # fmt: skip
    """Whoever is meant, by whatever is known of them; what ended is said, and how to lift it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdin", io.StringIO("abc\n"))
    (tmp_path / "token").write_text("abc\n")
    with listening(fleet) as port:
        file = configure(f"{{listen: '127.0.0.1:{port}'}}")
        code = main(["revoke", "--config", file, *arguments, "--reason", "why"])
    [made] = fleet.done
    out = capsys.readouterr().out

    assert (0, expected, "why") == (
        code,
        (made.target, made.value, made.issued_before is None),
        made.reason,
    )
    assert "  running requests ended: 2\n" in out
    assert f"gateway revocations lift {made.id}" in out


def test_a_certificate_file(fleet: Fleet, configure: Callable[..., str], tmp_path: Path) -> None:
    """Its fingerprint is computed."""
    pki = DevelopmentPki(tmp_path)
    pki.init()
    alice = pki.issue("alice").certificate
    with listening(fleet) as port:
        file = configure(f"{{listen: '127.0.0.1:{port}'}}")
        assert 0 == main(["revoke", "--config", file, "--certificate", str(alice)])

    assert fingerprint(alice) == fleet.done[0].value


@pytest.mark.parametrize(
    ("option", "mend"),
    [
        ("--token", "give a file that holds the token"),
        ("--certificate", "for development, `gateway certs issue"),
    ],
)
def test_a_file_that_is_missing(
    configure: Callable[..., str], capsys: pytest.CaptureFixture[str], option: str, mend: str
) -> None:
    """Exit code 2; that nothing was revoked is said whatever went wrong."""
    code = main(["revoke", "--config", configure("{listen: '127.0.0.1:9'}"), option, "none.pem"])
    said = capsys.readouterr().err

    assert 2 == code
    assert said.startswith(f"gateway revoke: there is no file none.pem\n      = mend: {mend}")
    assert said.endswith("nothing was revoked\n")


def test_over_tls_with_a_token(
    fleet: Fleet, configure: Callable[..., str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The very certificate of the configuration is demanded, or an authority's; nobody else gets the token."""
    pki = DevelopmentPki(tmp_path)
    pki.init()
    own, other = pki.issue("gateway", "server"), pki.issue("other", "server")
    (tmp_path / "secret").write_text("t0ken")
    (tmp_path / "secret").chmod(0o600)
    tls = server_context(own.certificate, own.key, SystemClock(), client_certificate="none")
    with listening(fleet, token="t0ken", tls=tls) as port:

        def configured(issued: Any) -> str:
            files = f"{{certificate: {issued.certificate}, private_key: {issued.key}}}"
            return configure(f"{{listen: '127.0.0.1:{port}', token: 'file:secret', tls: {files}}}")

        ca = ["--ca", str(pki.ca("gateway")), "--admin", f"localhost:{port}"]
        codes = [
            main(["revoke", "--config", configured(own), "--subject", "a|one"]),
            main(["revoke", "--config", configured(own), "--subject", "a|two", *ca]),
            main(["revoke", "--config", configured(other), "--subject", "a|three"]),
        ]

    assert [0, 0, 2] == codes
    assert ["a|one", "a|two"] == [each.value for each in fleet.done]
    assert "nothing was revoked" in capsys.readouterr().err


def test_a_unix_socket_and_a_fleet(
    fleet: Fleet, configure: Callable[..., str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both ways to name it; and what is not safe yet is no success."""
    path = tmp_path / "a"
    state = "{url: 'redis://127.0.0.1/0'}"
    with listening(fleet, path=path):
        listens = configure(f"{{listen: 'unix:{path}'}}", state)
        assert 0 == main(["revoke", "--config", listens, "--subject", "a|b"])
        follows = capsys.readouterr().out
        fleet.is_stored = False
        elsewhere = configure("{listen: '127.0.0.1:9'}", state)
        code = main(["revoke", "--config", elsewhere, "--admin", f"unix:{path}", "--subject", "a|b"])

    assert "  running requests ended in the process that answered: 2\n" in follows
    assert "its other workers and the other gateways follow within a second" in follows
    assert 1 == code
    assert "NOT SAFE YET" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("admin", "more", "word"),
    [
        ("null", [], "no section `admin`"),
        ("{listen: '127.0.0.1:0'}", [], "give the real one with --admin"),
        ("{listen: '127.0.0.1:9'}", ["--admin", "nonsense"], "is no address"),
        (
            "{listen: '127.0.0.1:9'}",
            [],
            "no gateway answers at 127.0.0.1:9: connection refused\n      = mend: start it",
        ),
        (
            "{listen: '127.0.0.1:9', token: 'env:NO_SUCH_VARIABLE'}",
            [],
            "NO_SUCH_VARIABLE is not set\n      = mend: set it",
        ),
        ("{listen: nonsense}", [], "nonsense"),
        ("{listen: '127.0.0.1:9'}", ["--expires", "soon"], "is no time"),
    ],
)
def test_what_can_not_be_asked(
    configure: Callable[..., str], capsys: pytest.CaptureFixture[str], admin: str, more: list[str], word: str
) -> None:
    """Exit code 2, what is wrong, and nothing was revoked."""
    assert 2 == main(["revoke", "--config", configure(admin), "--subject", "a|b", *more])
    assert word in capsys.readouterr().err


def test_what_the_gateway_refuses(
    fleet: Fleet, configure: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    """In its words: no room, a value that could mean nobody, a wrong token."""
    with listening(fleet) as port:
        file = configure(f"{{listen: '127.0.0.1:{port}'}}")
        codes = [main(["revoke", "--config", file, "--client", "no-issuer"])]
        fleet.fails = RevocationsFull()
        codes.append(main(["revoke", "--config", file, "--subject", "a|b"]))
    with listening(fleet, token="t0ken") as port:
        file = configure(f"{{listen: '127.0.0.1:{port}'}}")
        codes.append(main(["revocations", "list", "--config", file]))
    err = capsys.readouterr().err

    assert [2, 2, 2] == codes
    assert "issuer|client_id" in err
    assert "No room" in err
    assert "the gateway refuses: A credential is required" in err


def test_what_is_revoked_is_listed(
    fleet: Fleet, configure: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Every page, harmlessly; a gateway that believes nobody says so by its exit code."""
    fleet.rows = [ROW, *(Revocation(f"r-{n}", Target.KEY, "k", 1.8e9) for n in range(2, 1500))]
    with listening(fleet) as port:
        file = configure(f"{{listen: '127.0.0.1:{port}'}}", "{url: 'redis://127.0.0.1/0'}")
        code = main(["revocations", "list", "--config", file])
        out = capsys.readouterr().out.splitlines()
        fleet.rows, fleet.is_current = [], False
        stale = main(["revocations", "list", "--config", file])

    assert (0, 1) == (code, stale)
    assert 1500 == len(out)
    assert out[0].startswith("r-1  subject a|ada\\x1b[31m  (issued before 2027-01-15T08:00:00.000Z, until ")
    assert out[0].endswith(" by operator: stolen")
    assert "(lock)" in out[1]
    assert "1499 revocations, version 7, heard 0.2 s ago" == out[-1]
    assert "NOT CURRENT" in capsys.readouterr().err


def test_who_runs_is_listed(
    fleet: Fleet, configure: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Whose it is, since when, on which route."""
    with listening(fleet) as port:
        code = main(["revocations", "running", "--config", configure(f"{{listen: '127.0.0.1:{port}'}}")])

    assert 0 == code
    assert (
        "2027-01-15T08:00:00.000Z  a|ada  (no route yet)  from 10.0.0.1\n1 running in this gateway\n"
        == capsys.readouterr().out
    )


def test_lifting(fleet: Fleet, configure: Callable[..., str], capsys: pytest.CaptureFixture[str]) -> None:
    """Done, unknown, or not certain; and a gateway that is not there."""
    with listening(fleet) as port:
        file = configure(f"{{listen: '127.0.0.1:{port}'}}")
        codes = [main(["revocations", "lift", name, "--config", file]) for name in ("r-1", "r/2")]
        fleet.fails = StoreUnavailable()
        codes.append(main(["revocations", "lift", "r-1", "--config", file]))
    codes.append(main(["revocations", "lift", "r-1", "--config", file]))
    codes.append(main(["revocations", "lift", "r-1", "--config", configure("null")]))
    said = capsys.readouterr()

    assert [0, 1, 2, 2, 2] == codes
    assert "lifted subject a|ada\\x1b[31m" in said.out
    assert "no revocation has the id r/2" in said.err
    assert "Not lifted" in said.err


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("30m", 2800.0), ("2h", 8200.0), ("0.5s", 1000.5), ("7d", 605800.0),
        ("2027-01-15T08:00:00Z", 1.8e9), ("2027-01-15T09:00:00+01:00", 1.8e9), ("2027-01-15T08:00:00", 1.8e9),
    ],
)  # fmt: skip
def test_times(text: str, expected: float) -> None:
    """A duration from now, or a date; without a zone it is UTC."""
    assert expected == moment(text, 1000.0)

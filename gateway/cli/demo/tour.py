"""The tour: two answers, eleven refusals, and the record they left; each compared with what must be."""

from __future__ import annotations

import subprocess
import sys
import time
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple, final

import openai

from gateway.cli.demo.attempts import HANDSHAKE, Caller, Came, context, knock
from gateway.cli.demo.screen import DIM, printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.cli.demo.screen import Screen
    from gateway.cli.demo.world import World
    from gateway.credentials.development import Issued

OTHER: Final = "gpt-oss-120b"
TWICE: Final = b'{"model":"smollm2-135m","model":"gpt-oss-120b","max_tokens":8,"messages":[]}'
QUESTION: Final = "What is the capital of France? Answer in one sentence."
STORY: Final = "Tell me in three sentences why the sky is blue."
RECORDS_SHOWN: Final = 14
SHOWN: Final = 70  # characters of an answer in the table


@final
class Attempt(NamedTuple):
    """One row: what is tried, what must come back, and how to try it."""

    what: str
    wanted: str
    attempt: Callable[[], Came]


@final
class Tour:
    """Everything that the demo shows.

    Args:
        world: Certificates, tokens, paths.
        screen: Where to show it.
        port: The gateway's port.
        backend_port: Port of the sidecar in front of the model.
    """

    __slots__ = ("_alice", "_backend_port", "_bob", "_callers", "_is_right", "_port", "_screen", "_world")

    def __init__(self, world: World, screen: Screen, port: int, backend_port: int) -> None:
        self._world = world
        self._screen = screen
        self._port = port
        self._backend_port = backend_port
        self._is_right = True
        self._callers: list[Caller] = []
        self._alice = self._caller(world.alice, world.token("alice", "ml-research", world.alice))
        self._bob = self._caller(world.bob, world.token("bob", "interns", world.bob))

    def _caller(self, owner: Issued, token: str) -> Caller:
        caller = Caller(self._port, self._world.pki.ca("gateway"), owner, token)
        self._callers.append(caller)
        return caller

    def run(self) -> bool:
        """Go through all of it; tell whether everything came back as it must."""
        try:
            self._answers()
            self._refusals()
            self._records()
        finally:
            for caller in self._callers:
                caller.client.close()
        return self._is_right

    def _answers(self) -> None:
        screen = self._screen
        screen.title(
            "Two requests that may pass: mutual TLS, a token bound to the certificate, the openai client"
        )
        screen.line(f"  alice, a researcher: {QUESTION}", DIM)
        came = self._alice.ask(QUESTION)
        self._check(came.outcome == "200", f"  {printable(came.more).strip() or came.outcome}")
        screen.line(f"  and streamed: {STORY}", DIM)
        screen.write("  ")
        started = time.monotonic()
        pieces = 0
        try:
            for piece in self._alice.stream(STORY):
                screen.write(piece)
                pieces += piece != ""
        except openai.OpenAIError as error:
            screen.write(type(error).__name__)
        took = time.monotonic() - started
        self._check(pieces > 1, f"\n  {pieces} pieces in {took:.1f} s")

    def _check(self, is_right: bool, text: str) -> None:  # noqa: FBT001 - the one thing it is told
        self._is_right &= is_right
        self._screen.line(text)

    def _refusals(self) -> None:
        self._screen.title("Requests that may not")
        self._screen.heads()
        for what, wanted, attempt in self._attempts():
            came = attempt()
            is_right = came.outcome == wanted
            self._is_right &= is_right
            more = came.more if len(came.more) <= SHOWN else came.more[: SHOWN - 1] + "…"
            self._screen.row(
                what, wanted, f"{came.outcome}  {more}" if more else came.outcome, is_right=is_right
            )

    def _attempts(self) -> list[Attempt]:
        alice, bob, owner = self._alice, self._bob, self._world.alice
        gateway, backends = self._world.pki.ca("gateway"), self._world.pki.ca("backends")
        elsewhere = self._world.token("elsewhere", "ml-research", owner, audience="another-service")
        stranger = self._caller(owner, elsewhere)
        forger = self._caller(owner, flipped(alice.token))
        thief = self._caller(self._world.bob, alice.token)
        front, back = partial(knock, self._port), partial(knock, self._backend_port)
        rejected, forbidden = "401 credential-rejected", "403 forbidden"
        return [
            Attempt("no client certificate", HANDSHAKE, partial(front, context(gateway, None))),
            Attempt(
                "past the gateway, straight to the model", HANDSHAKE, partial(back, context(backends, None))
            ),
            Attempt("a token for another service", rejected, partial(stranger.ask, QUESTION)),
            Attempt("a token with one bit changed", rejected, partial(forger.ask, QUESTION)),
            Attempt("alice's token, stolen by bob", rejected, partial(thief.ask, QUESTION)),
            Attempt(
                "no route: the model server's own /slots",
                forbidden,
                partial(alice.get, f"https://localhost:{self._port}/slots"),
            ),
            Attempt("a model that alice may not use", forbidden, partial(alice.ask, QUESTION, model=OTHER)),
            Attempt(
                "a body that breaks the schema",
                "422 schema-violation",
                partial(alice.ask, QUESTION, temperature="hot"),
            ),
            Attempt("one JSON key twice, with two meanings", "400 invalid-body", partial(alice.post, TWICE)),
            Attempt("bob, an intern, wants a long answer", forbidden, partial(bob.ask, QUESTION, tokens=200)),
            Attempt("bob asks too often", "429 too-many-requests", partial(bob.exhaust, QUESTION)),
        ]

    def _records(self) -> None:
        audit = str(self._world.audit)
        self._screen.title("What the record says")
        for arguments in (["show", audit, "--last", str(RECORDS_SHOWN)], ["verify", audit]):
            self._screen.line(f"  $ gateway audit {' '.join(arguments)}", DIM)
            self._check(program("audit", *arguments, screen=self._screen) == 0, "")


def flipped(token: str) -> str:
    """Change one bit of a token's signature."""
    middle = token.rindex(".") + 20
    return token[:middle] + ("A" if token[middle] != "A" else "B") + token[middle + 1 :]


def program(*arguments: str, screen: Screen) -> int:
    """Run this program with arguments, show what it prints, and return its exit code."""
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-m", "gateway", *arguments], check=False, capture_output=True, text=True
    )
    for line in (done.stdout + done.stderr).splitlines():
        screen.line(f"  {line}")
    return done.returncode

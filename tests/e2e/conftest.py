"""One world, one backend and one gateway for each worker that runs these tests."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.e2e.backend import Backend
from tests.e2e.running import RunningGateway
from tests.e2e.world import World
from tests.identity_provider import IdentityProvider

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Authorities, issuer, callers."""
    return World(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="session")
def backend(world: World) -> Iterator[Backend]:
    """The scripted model server, which demands the gateway's certificate."""
    with Backend(world.pki, world.backend) as running:
        yield running


@pytest.fixture(scope="session")
def gateway(
    world: World, backend: Backend, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningGateway]:
    """A gateway that most tests share; those which stop or break one start their own."""
    directory = tmp_path_factory.mktemp("gateway")
    configuration = world.configure(directory, backend.port)
    with RunningGateway(configuration, directory / "audit.jsonl") as running:
        yield running


@pytest.fixture(scope="session")
def idp(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[IdentityProvider]:
    """A real identity provider, which knows the world's callers; who breaks it mends it."""
    with IdentityProvider(tmp_path_factory.mktemp("idp"), world.pki) as running:
        yield running


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """llama.cpp's own server with tiny random weights; returns its socket."""
    directory = tmp_path_factory.mktemp("m")
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.e2e.tiny_model", directory],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith(b"ready")
        yield directory / "m.sock"
        process.kill()

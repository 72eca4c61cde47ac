"""The demo's directory holds everything, is private where it must be, and never replaces what is not its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jwt
import msgspec
import pytest
import yaml

from gateway.cli.demo.world import AUDIENCE, ISSUER, World
from gateway.config.load import load
from gateway.credentials.clock import SystemClock
from gateway.credentials.development import fingerprint

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A demo's directory, configured."""
    made = World(tmp_path_factory.mktemp("world") / "demo")
    made.configure(1001, 1002, 1003)
    return made


def test_every_file_that_the_configuration_names_is_there(world: World) -> None:
    """A person can start the gateway from it again."""
    document = yaml.safe_load(world.configuration.read_text())
    tls, backend = document["server"]["tls"], document["backends"]["smollm2"]
    named = [
        *(tls[key] for key in ("certificate", "private_key", "client_ca", "revocation_list")),
        *(backend["tls"][key] for key in ("ca", "certificate", "private_key")),
        document["identity"]["issuers"][0]["jwks"].removeprefix("file:"),
        document["routes"][0]["schema"],
        document["assertions"]["private_key"],
    ]

    assert [] == [name for name in named if not (world.directory / name).is_file()]
    assert "127.0.0.1:1001" == document["server"]["listen"]
    assert "127.0.0.1:1002" == document["admin"]["listen"]
    assert ["https://127.0.0.1:1003"] == backend["endpoints"]


def test_private_keys_and_tokens_are_for_their_owner_alone(world: World) -> None:
    """Nobody else on the machine can read what would let him in."""
    world.token("alice", "ml-research", world.alice)
    private = [*world.directory.rglob("*.key"), *(world.directory / "tokens").iterdir()]

    assert 8 <= len(private)
    assert {0o600} == {path.stat().st_mode & 0o777 for path in private}


def test_a_token_is_bound_to_its_owner_s_certificate(world: World) -> None:
    """The token says whom, for what, and with which key."""
    token = world.token("bob", "interns", world.bob)
    claims = jwt.decode(token, options={"verify_signature": False})

    assert (ISSUER, "bob", AUDIENCE) == (claims["iss"], claims["sub"], claims["aud"])
    assert ["interns"] == claims["groups"]
    assert {"x5t#S256": fingerprint(world.bob.certificate)} == claims["cnf"]
    assert token == (world.directory / "tokens" / "bob").read_text()


def test_a_token_for_another_audience_says_so(world: World) -> None:
    """The tour needs a token that is right in everything but its audience."""
    token = world.token("elsewhere", "ml-research", world.alice, audience="another-service")

    assert "another-service" == jwt.decode(token, options={"verify_signature": False})["aud"]


def test_the_schema_is_json(world: World) -> None:
    """The schema that the route names can be read."""
    schema = msgspec.json.decode((world.directory / "schemas" / "chat.json").read_bytes())

    assert "object" == schema["type"]


def test_an_earlier_demo_is_replaced(tmp_path: Path) -> None:
    """Each demo starts anew: old keys are gone."""
    World(tmp_path / "demo")
    before = (tmp_path / "demo" / "certs" / "alice.key").read_bytes()
    World(tmp_path / "demo")

    assert before != (tmp_path / "demo" / "certs" / "alice.key").read_bytes()


def test_an_empty_directory_is_taken(tmp_path: Path) -> None:
    """Nothing is lost there."""
    assert tmp_path == World(tmp_path).directory


def test_a_directory_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    """A wrong --directory must not cost anybody his files."""
    (tmp_path / "thesis.txt").write_text("precious")

    with pytest.raises(FileExistsError, match="no demo made it"):
        World(tmp_path)

    assert "precious" == (tmp_path / "thesis.txt").read_text()


def test_the_configuration_is_right(world: World) -> None:
    """`gateway check` has nothing to say about what the demo writes."""
    loaded = load(world.configuration, SystemClock())

    assert () == loaded.warnings
    assert ["chat"] == [route.name for route in loaded.settings.routes]

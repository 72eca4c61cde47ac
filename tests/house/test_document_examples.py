"""What pages show of a configuration loads: each part, put into the whole of "A place to try things"."""

from __future__ import annotations

import contextlib
import re
import shlex
import textwrap
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from gateway.cli import main
from gateway.config.errors import ConfigurationError
from gateway.config.load import load_bytes
from gateway.credentials.clock import SystemClock
from tests.house.tree import ROOT, relative

if TYPE_CHECKING:
    from pathlib import Path

PLACE = (ROOT / "docs/README.md").read_text()
PART = re.compile(r"^( *)```yaml\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^gateway (.*)$", re.MULTILINE)
OF_THE_ROUTE = {"require", "allow", "deny"}


def whole() -> dict[str, Any]:
    """The configuration that parts are put into, made anew."""
    found = PART.search(PLACE)
    assert found is not None
    return dict(yaml.safe_load(found[2]))


def parts() -> list[Any]:
    """Every YAML block of every page in docs/, by page and line."""
    found = []
    for page in sorted((ROOT / "docs").glob("*.md")):
        text = page.read_text()
        for block in PART.finditer(text):
            name = f"{relative(page)}:{text.count(chr(10), 0, block.start()) + 1}"
            found.append(pytest.param(textwrap.dedent(block[2]), id=name))
    return found


def put(into: dict[str, Any], part: dict[str, Any]) -> None:
    """Put a part where the page tells readers to: sections by name, routes by theirs, in place of the same keys."""
    if OF_THE_ROUTE.issuperset(part):
        part = {"routes": [{"name": "chat", **part}]}
    routes = {route["name"]: route for route in into["routes"]}
    for route in part.pop("routes", ()):
        routes.setdefault(route["name"], {}).update(route)
    into["routes"] = list(routes.values())
    for section, content in part.items():
        into.setdefault(section, {}).update(content)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory after the page's first commands."""
    directory = tmp_path_factory.mktemp("try")
    commands = COMMAND.findall(PLACE[: PLACE.index("```yaml")])
    assert commands
    with contextlib.chdir(directory):
        for command in commands:
            assert main(shlex.split(command)) == 0
    return directory


@pytest.mark.parametrize("part", parts())
def test_a_part_of_a_configuration_loads(place: Path, part: str) -> None:
    """Nothing is wrong with it but files that its page's own commands make, or that readers bring."""
    configuration = whole()
    put(configuration, yaml.safe_load(part))
    wrong: list[str] = []

    try:
        load_bytes(yaml.safe_dump(configuration).encode(), place / "gateway.yaml", SystemClock())
    except ConfigurationError as error:
        wrong = [str(one) for one in error.problems if not one.message.startswith("there is no file ")]

    assert [] == wrong

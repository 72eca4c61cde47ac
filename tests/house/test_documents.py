"""The documents tell the truth: links lead somewhere, commands exist, named tests are there."""

from __future__ import annotations

import re
import subprocess
import sys
from functools import cache
from typing import TYPE_CHECKING

import pytest
import yaml

from tests.house.tree import ROOT, files, parsed, relative

if TYPE_CHECKING:
    from pathlib import Path

LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)(?:#[^)]*)?\)")
BLOCK = re.compile(r"^```(?:bash|console|sh)\n(.*?)^```", re.MULTILINE | re.DOTALL)
YAML = re.compile(r"^```yaml\n(.*?)^```", re.MULTILINE | re.DOTALL)
NAMED_TEST = re.compile(r"`(tests/[\w/.]+\.py)::(test_\w+)`")
THREAT = re.compile(r"^\| ([A-Z]+-\d+) \|", re.MULTILINE)
STAGE = re.compile(r"^## \d+\. (\w[\w ]*)", re.MULTILINE)


def documents() -> list[Path]:
    """Every page that people read."""
    return [path for path in files() if path.suffix == ".md"]


def commands() -> list[str]:
    """Every command of ours in a shell block of a page, without its prompt."""
    found = set()
    for page in documents():
        for block in BLOCK.findall(page.read_text()):
            joined = block.replace("\\\n", " ")
            lines = [line.strip().removeprefix("$ ") for line in joined.splitlines()]
            found |= {line for line in lines if line.startswith(("make ", "gateway "))}
    return sorted(found)


def test_links_lead_somewhere() -> None:
    """Every relative link of every page is a file or a directory."""
    broken = [
        f"{relative(page)}: {target}"
        for page in documents()
        for target in LINK.findall(page.read_text())
        if "://" not in target and not target.startswith("mailto:") and not (page.parent / target).exists()
    ]

    assert [] == broken


def test_make_targets_exist() -> None:
    """A newcomer types what the page says."""
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    used = {line.split()[1] for line in commands() if line.startswith("make ")}

    assert used
    assert set() == used - targets


def words(command: str) -> tuple[str, ...]:
    """The subcommands that a command line begins with."""
    taken = []
    for word in command.split()[1:]:
        if not re.fullmatch(r"[a-z]+", word) or len(taken) == 2:
            break
        taken.append(word)
    return tuple(taken)


def options(command: str) -> set[str]:
    """The long options of a command line."""
    return set(re.findall(r"(?<=\s)--[a-z][a-z-]*", command.split("#", maxsplit=1)[0]))


@cache
def usage(subcommands: tuple[str, ...]) -> str:
    """What `--help` says; fails if there is no such command."""
    asked = [sys.executable, "-m", "gateway", *subcommands, "--help"]
    return subprocess.run(asked, check=True, capture_output=True, text=True, cwd=ROOT).stdout


@pytest.mark.parametrize("command", [line for line in commands() if line.startswith("gateway ")])
def test_subcommands_and_options_exist(command: str) -> None:
    """Every `gateway ...` line of every page is understood by the program."""
    text = usage(words(command))

    assert set() == {one for one in options(command) if one not in text}


def test_every_named_test_exists() -> None:
    """A mitigation whose test is gone is no mitigation."""
    missing = []
    for page in documents():
        for name, test in NAMED_TEST.findall(page.read_text()):
            path = ROOT / name
            if not path.is_file() or test not in {getattr(node, "name", "") for node in parsed(path).body}:
                missing.append(f"{relative(page)}: {name}::{test}")

    assert [] == missing


def test_every_threat_has_a_test() -> None:
    """Each row of the threat model names what proves its mitigation, and has a number of its own."""
    page = (ROOT / "docs/threat-model.md").read_text()
    rows = [line for line in page.splitlines() if THREAT.match(line)]
    numbers = THREAT.findall(page)

    assert 30 <= len(rows)
    assert len(numbers) == len(set(numbers))
    assert [] == [row.split("|")[1].strip() for row in rows if not NAMED_TEST.search(row)]


def test_the_life_of_a_request_is_the_line() -> None:
    """The page follows pipeline.py: the same stages, in the same order."""
    page = (ROOT / "docs/life-of-a-request.md").read_text()
    source = (ROOT / "gateway/pipeline.py").read_text()
    body = source[source.index("async def handle") :]
    steps = (
        "rt.documents",
        "identify(",
        "routes.match(",
        "enter(",
        "limit(",
        "body.read(",
        "inspect(",
        "score(",
        "authorize(",
    )
    steps = (*steps, "prepare(", "backends.open(", "reply.relay(", "store.settle(", "self._record(")
    in_source = [body.index(step) for step in steps]
    in_page = [page.index(f"`{step.split('.')[-1].rstrip('(')}`") for step in steps]

    assert sorted(in_source) == in_source
    assert sorted(in_page) == in_page


def test_yaml_in_pages_is_yaml() -> None:
    """Every example can at least be read."""
    for page in documents():
        for block in YAML.findall(page.read_text()):
            assert list(yaml.safe_load_all(block)), relative(page)

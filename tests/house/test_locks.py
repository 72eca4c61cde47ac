"""Every dependency is pinned by hash, and the locks agree with each other and with the project."""

from __future__ import annotations

import re
import tomllib

import msgspec
import pytest

from tests.house.tree import ROOT

NPM = ROOT / "tests/idp"
LOCKS = ("requirements", "requirements-demo", "requirements-dev", "requirements-build", "requirements-model")
PINNED = re.compile(r"^([A-Za-z0-9._-]+)==(\S+)", re.MULTILINE)


def pinned(lock: str) -> dict[str, str]:
    """Name and version of everything in a lock."""
    return dict(PINNED.findall((ROOT / f"{lock}.lock").read_text()))


def names(requirements: list[str]) -> set[str]:
    """Canonical names of requirements."""
    return {re.split(r"[<>=\[; ]", one)[0].lower().replace("_", "-") for one in requirements}


@pytest.mark.parametrize("lock", LOCKS)
def test_everything_has_a_hash(lock: str) -> None:
    """An archive that was changed afterwards is not installed."""
    entries = re.split(r"^(?=[A-Za-z0-9._-]+==)", (ROOT / f"{lock}.lock").read_text(), flags=re.MULTILINE)[1:]

    assert entries
    assert [] == [entry.split()[0] for entry in entries if "--hash=sha256:" not in entry]


def test_the_locks_agree() -> None:
    """What is tested is what is run."""
    dev = pinned("requirements-dev")
    for lock in LOCKS[:-1]:
        assert {} == {name: v for name, v in pinned(lock).items() if dev.get(name) != v}, lock


def test_the_locks_are_of_this_project() -> None:
    """A dependency that was added is locked; `make lock` does it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    groups = project["dependency-groups"]

    assert set() == names(project["project"]["dependencies"]) - set(pinned("requirements"))
    assert set() == names(project["project"]["optional-dependencies"]["demo"]) - set(
        pinned("requirements-demo")
    )
    assert set() == names(groups["dev"]) - set(pinned("requirements-dev"))
    assert set() == names(groups["build"]) - set(pinned("requirements-build"))
    assert names(groups["model"]) == set(pinned("requirements-model"))


def test_the_identity_provider_is_locked() -> None:
    """Its packages are pinned by hash, and the lock names no place to fetch them from."""
    text = (NPM / "package-lock.json").read_text()
    packages = msgspec.json.decode(text)["packages"]
    project = packages.pop("")

    assert msgspec.json.decode((NPM / "package.json").read_bytes())["dependencies"] == project["dependencies"]
    assert packages
    assert [] == [name for name, one in packages.items() if not one["integrity"].startswith("sha512-")]
    assert [] == [word for word in ("://", "resolved") if word in text]

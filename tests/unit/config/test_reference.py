"""What is published about the configuration is what the code says."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import jsonschema_rs
import msgspec
import pytest

from gateway.config.reference import REFERENCE_FILE, SCHEMA_FILE, json_schema, main, reference
from tests.unit.config.writing import variant

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[3]


def test_the_published_files_are_current() -> None:
    """`python -m gateway.config.reference` has been run after the last change."""
    assert json_schema() == (ROOT / SCHEMA_FILE).read_bytes()
    assert reference() == (ROOT / REFERENCE_FILE).read_text()


def test_the_files_are_written_where_they_belong(tmp_path: Path) -> None:
    """Directories are made; the exit code says that it went well."""
    assert main([str(tmp_path)]) == 0
    assert json_schema() == (tmp_path / SCHEMA_FILE).read_bytes()
    assert reference() == (tmp_path / REFERENCE_FILE).read_text()


def test_the_current_directory_is_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an argument the files go below the current directory."""
    monkeypatch.chdir(tmp_path)
    main([])

    assert (tmp_path / SCHEMA_FILE).exists()


def test_every_key_is_described() -> None:
    """No row of the reference lacks its meaning."""
    rows = [row for row in reference().splitlines() if row.startswith("| `")]

    assert len(rows) > 100
    assert [row for row in rows if row.endswith("|  |")] == []


def sections(node: object) -> Iterator[dict[str, object]]:
    """Return all objects of a JSON Schema that have properties."""
    if isinstance(node, dict):
        if "properties" in node:
            yield node
        for value in node.values():
            yield from sections(value)


def test_the_schema_refuses_unknown_keys_everywhere() -> None:
    """Editors underline a misspelt key in every section."""
    schema = msgspec.json.decode(json_schema())

    assert all(section["additionalProperties"] is False for section in sections(schema))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, True),
        ({"routes.0.limits": {"requests": "60/minute"}}, True),
        ({"routes.0.limits": {"requests": ["60/minute", "5/second"]}}, True),
        ({"roles.user.claims": {"a": "b", "c": ["d", 1]}}, True),
        ({"server.drain": 30}, False),
        ({"server.drain": "30"}, False),
        ({"admin": {"listen": "127.0.0.1:1", "token": "hunter2"}}, False),
        ({"routes.0.dialect": "openai"}, False),
        ({"routes": []}, False),
    ],
)
def test_the_schema_says_what_the_gateway_says(changes: dict[str, object], expected: object) -> None:
    """What one value alone can tell, editors can tell."""
    validator = jsonschema_rs.Draft202012Validator(msgspec.json.decode(json_schema()))

    assert expected is validator.is_valid(msgspec.json.decode(variant(changes)))

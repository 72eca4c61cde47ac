"""An audit log that anybody could rewrite is warned of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.unit.config.writing import REMOVED, load_variant

if TYPE_CHECKING:
    from pathlib import Path

MESSAGE = "no `checkpoint_key` signs the audit log: whoever can write it can rewrite all of it unnoticed"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        ({"audit": REMOVED}, [("{", MESSAGE)]),
        ({"audit": {"path": "a.jsonl"}}, [('"audit"', MESSAGE)]),
    ],
)
def test_a_log_that_nothing_signs(
    tmp_path: Path, changes: dict[str, object], expected: list[tuple[str, str]]
) -> None:
    """It runs; the mend is the command that makes the key, and the line that names it."""
    warnings = load_variant(tmp_path, changes).warnings

    assert expected == [(warning.text, warning.message) for warning in warnings]
    for warning in warnings:
        assert warning.mend.startswith("`(umask 077; mkdir -p secrets; openssl genpkey -algorithm ed25519 ")

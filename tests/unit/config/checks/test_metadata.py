"""What the gateway publishes of itself is true, and reaches somebody."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.unit.config.writing import messages

if TYPE_CHECKING:
    from pathlib import Path

ORIGINS = {"server.origins": ["https://gateway.example.org"]}
OWN = "/.well-known/oauth-protected-resource"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"server.metadata": {"name": "Models"}},
            (
                '"metadata"',
                "nothing is published: the gateway does not know by which origin clients reach it",
            ),
        ),
        (
            {**ORIGINS, "server.metadata": {"scopes": ["models:chat"]}},
            ('"models:chat"', "no route requires the scope `models:chat`: clients would ask for it in vain"),
        ),
        (
            {**ORIGINS, "routes.0.match": {"methods": ["GET"], "path": OWN}},
            (f'"{OWN}"', "this path is answered by the gateway itself"),
        ),
    ],
)
def test_what_would_mislead_is_refused(
    tmp_path: Path, changes: dict[str, object], expected: tuple[str, str]
) -> None:
    """Each is refused where it stands, and it is all that is wrong."""
    assert [expected] == messages(tmp_path, changes)


@pytest.mark.parametrize(
    "changes",
    [
        ORIGINS,
        {**ORIGINS, "server.metadata": {"name": "Models", "documentation": "https://docs.example.org"}},
        {
            **ORIGINS,
            "server.metadata": {"scopes": ["models:chat"]},
            "routes.0.require": {"token": {"scopes": ["models:chat", "models:secret"]}},
        },
        {**ORIGINS, "routes.0.match": {"methods": ["POST"], "path": OWN}},
        {"routes.0.match": {"methods": ["POST"], "path": OWN}},
    ],
)
def test_what_is_true_loads(tmp_path: Path, changes: dict[str, object]) -> None:
    """Not every scope has to be published; other methods of the path are routes like any other."""
    assert [] == messages(tmp_path, changes)

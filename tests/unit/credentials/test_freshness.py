"""`freshness`: how long an answer says that it stays fresh."""

from __future__ import annotations

import pytest

from gateway.credentials.freshness import max_age


@pytest.mark.parametrize(
    ("fields", "seconds"),
    [
        (["max-age=300"], 300.0),
        (["public, MAX-AGE=300 , must-revalidate"], 300.0),
        (["public", "max-age=0"], 0.0),
        ([',, private="a, max-age=9" ,max-age=7,'], 7.0),
        (["no-store, max-age=300"], 0.0),
        (["max-age=300, no-cache"], 0.0),
        ([], None),
        (["public"], None),
        (["s-maxage=300"], None),
        (["max-age"], None),
        (["max-age="], None),
        (["max-age=-1"], None),
        (["max-age=+1"], None),
        (["max-age=1.5"], None),
        (["max-age=1e3"], None),
        (["max-age=12345678901"], None),
        (['max-age="300"'], None),
        (["max-age=300, max-age=600"], None),
        (["max-age=300", "max-age=300"], None),
        (["max-age=300; public"], None),
        (["max-age =300"], None),
        (['private="open, max-age=300'], None),
    ],
)
def test_max_age(fields: list[str], seconds: float | None) -> None:
    """One sound `max-age` counts; what is malformed or said twice says nothing."""
    assert seconds == max_age(fields)

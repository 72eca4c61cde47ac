"""`spiffe`: the form of IDs."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from gateway.core.spiffe import is_spiffe_id, is_workload_id

VECTORS = Path(__file__).parents[2] / "vectors/spiffe/spiffe-ids.json"


@pytest.mark.parametrize(
    ("id", "is_id", "is_workload"),
    [
        ("spiffe://example.org/a", True, True),
        ("spiffe://a_b.example/foo/bar-1.2_3", True, True),
        ("spiffe://example.org/...", True, True),
        ("spiffe://example.org", True, False),
        ("spiffe://example.org/", False, False),
        ("spiffe://", False, False),
        ("spiffe:///a", False, False),
        ("https://example.org/a", False, False),
        ("SPIFFE://example.org/a", False, False),
        ("spiffe://Example.org/a", False, False),
        ("spiffe://example.org/a/", False, False),
        ("spiffe://example.org//a", False, False),
        ("spiffe://example.org/./a", False, False),
        ("spiffe://example.org/../a", False, False),
        ("spiffe://example.org/a/..", False, False),
        ("spiffe://example.org/%61", False, False),
        ("spiffe://example.org/a?b", False, False),
        ("spiffe://example.org/a#b", False, False),
        ("spiffe://example.org:80/a", False, False),
        ("spiffe://user@example.org/a", False, False),
        ("spiffe://example.org/\u00e4", False, False),
        ("spiffe://example.org/a\n", False, False),
        ("spiffe://" + "a" * 255 + "/a", True, True),
        ("spiffe://" + "a" * 256 + "/a", False, False),
        ("spiffe://a/" + "b" * 2037, True, True),
        ("spiffe://a/" + "b" * 2038, False, False),
    ],
)
def test_ids_have_one_form(id: str, is_id: bool, is_workload: bool) -> None:
    """Nothing is normalised: another spelling is another ID, or none."""
    assert (is_id, is_workload) == (is_spiffe_id(id), is_workload_id(id))


def test_vectors_of_the_reference_implementations() -> None:
    """go-spiffe's and py-spiffe's own cases."""
    vectors = msgspec.json.decode(VECTORS.read_bytes())

    assert vectors["valid"]
    assert vectors["invalid"]
    assert [] == [one for one in vectors["valid"] if not is_spiffe_id(one)]
    assert [] == [one for one in vectors["invalid"] if is_spiffe_id(one)]

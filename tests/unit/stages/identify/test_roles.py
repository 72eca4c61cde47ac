"""`roles`: who has which role."""

from __future__ import annotations

import pytest

from gateway.stages.identify.roles import Facts, RoleMap, RoleRule, compile_glob, find_claim

FACTS = Facts(
    groups=frozenset({"ml"}),
    claims={
        "department": "research",
        "level": 3,
        "staff": True,
        "tags": ["a", 2],
        "realm": {"roles": ["x"]},
        "a.b": "c",
    },
    subject="https://idp.example.org|alice",
    clients=frozenset({"app", "https://idp.example.org|app"}),
    token_roles=frozenset({"root"}),
    spiffe_id="spiffe://example.org/batch/nightly",
    certificates=frozenset({"CN=batch", "batch.example.org"}),
)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({}, False),
        ({"groups": frozenset({"ml", "other"})}, True),
        ({"groups": frozenset({"ML"})}, False),
        ({"claims": {"department": ("sales", "research")}}, True),
        ({"claims": {"department": ("sales",)}}, False),
        ({"claims": {"level": (3,)}}, True),
        ({"claims": {"level": ("3",)}}, False),
        ({"claims": {"level": (True,)}}, False),
        ({"claims": {"staff": (True,)}}, True),
        ({"claims": {"staff": (1,)}}, False),
        ({"claims": {"tags": ("a",)}}, True),
        ({"claims": {"tags": ("2",)}}, False),
        ({"claims": {"realm.roles": ("x",)}}, True),
        ({"claims": {"a.b": ("c",)}}, True),
        ({"claims": {"absent": ("x",)}}, False),
        ({"claims": {"absent": ("x",), "level": (3,)}}, True),
        ({"spiffe": ("spiffe://example.org/batch/*",)}, True),
        ({"spiffe": ("spiffe://example.org/*",)}, False),
        ({"spiffe": ("spiffe://example.org/**",)}, True),
        ({"spiffe": ("spiffe://example.org/other", "spiffe://example.org/batch/nightly")}, True),
        ({"subjects": frozenset({"https://idp.example.org|alice"})}, True),
        ({"subjects": frozenset({"alice"})}, False),
        ({"clients": frozenset({"app"})}, True),
        ({"clients": frozenset({"https://idp.example.org|app"})}, True),
        ({"clients": frozenset({"https://other.example|app"})}, False),
        ({"certificates": frozenset({"batch.example.org"})}, True),
        ({"certificates": frozenset({"CN=batch"})}, True),
        ({"certificates": frozenset({"example.org"})}, False),
        ({"roles_from_token": frozenset({"root"})}, True),
        ({"roles_from_token": frozenset({"ml"})}, False),
    ],
)
def test_conditions_decide(rule: dict[str, object], expected: bool) -> None:
    """Any condition is enough; each compares exactly."""
    roles = RoleMap([RoleRule("role", **rule)]).roles(FACTS)

    assert (frozenset({"role"}) if expected else frozenset()) == roles


def test_nothing_proven_gives_no_role() -> None:
    """Empty facts meet no condition, whatever it is."""
    everything = RoleRule(
        "all",
        groups=frozenset({"g"}),
        claims={"c": ("x",)},
        spiffe=("spiffe://a/**",),
        subjects=frozenset({"s"}),
        clients=frozenset({"c"}),
        certificates=frozenset({"d"}),
        roles_from_token=frozenset({"r"}),
    )

    assert frozenset() == RoleMap([everything]).roles(Facts())


@pytest.mark.parametrize(
    ("pattern", "id", "expected"),
    [
        ("spiffe://a/b", "spiffe://a/b", True),
        ("spiffe://a/b", "spiffe://a/b/c", False),
        ("spiffe://a/b.c", "spiffe://a/bxc", False),
        ("spiffe://a/*", "spiffe://a/b", True),
        ("spiffe://a/*", "spiffe://a/b/c", False),
        ("spiffe://a/*/c", "spiffe://a/b/c", True),
        ("spiffe://a/b-*", "spiffe://a/b-1", True),
        ("spiffe://a/b-*", "spiffe://a/b-1/c", False),
        ("spiffe://a/**", "spiffe://a/b/c/d", True),
        ("spiffe://a/**", "spiffe://ab/c", False),
        ("spiffe://a/b/**", "spiffe://a/b", False),
        ("spiffe://a/**/z", "spiffe://a/b/c/z", True),
        ("spiffe://a/b", "spiffe://a/b\n", False),
    ],
)
def test_globs_know_segments(pattern: str, id: str, expected: bool) -> None:
    """`*` never crosses a slash, `**` does, and everything else stands for itself."""
    assert expected == (compile_glob(pattern).fullmatch(id) is not None)


@pytest.mark.parametrize(
    "pattern", ["*", "spiffe://*/a", "spiffe://a", "spiffe://a/", "spiffe:///a", "https://a/b", "**"]
)
def test_loose_patterns_are_refused(pattern: str) -> None:
    """A trust domain is named, and so is some path."""
    with pytest.raises(ValueError, match="SPIFFE"):
        RoleRule("r", spiffe=(pattern,))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("department", "research"),
        ("realm.roles", ["x"]),
        ("a.b", "c"),
        ("realm.none", None),
        ("department.x", None),
        ("department.search", None),
        ("none", None),
    ],
)
def test_claims_are_found_by_name_or_path(name: str, expected: object) -> None:
    """A claim of exactly that name comes first, then the path."""
    assert expected == find_claim(FACTS.claims, name)

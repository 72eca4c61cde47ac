"""Revocations as data: what they are for parts without a state, which are well-formed, whom they void."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.core.identity import Identity
from gateway.core.revocation import NOTHING_REVOKED, Lift, Revocation, Target, check, voids

ADA = Identity("issuer|ada", "issuer", "ada", ("jwt",), frozenset(), float("inf"), issued=100.0)
ROW = Revocation("r-1", Target.SUBJECT, "issuer|ada", 200.0, reason="lost laptop", source="cli")


def test_nothing_is_revoked_where_there_is_no_state() -> None:
    """Current, never changing, and empty."""
    assert (0, True, None) == (
        NOTHING_REVOKED.version,
        NOTHING_REVOKED.is_current,
        NOTHING_REVOKED.find(ADA),
    )


@pytest.mark.parametrize(
    "change",
    [ROW, replace(ROW, reason="", source="", expires=300.0, issued_before=1.0), Lift("r-1", 1.0, 2.0)],
)
def test_what_is_well_formed(change: Revocation | Lift) -> None:
    """Passes."""
    check(change)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (replace(ROW, id=""), "id"),
        (replace(ROW, id="a b"), "id"),
        (replace(ROW, id="a" * 129), "id"),
        (Lift("a\n", 1.0), "id"),
        (replace(ROW, value=""), "value"),
        (replace(ROW, value="a\ud800b"), "value"),
        (replace(ROW, value="a" * 2049), "value"),
        (replace(ROW, reason="a\x1bb"), "reason"),
        (replace(ROW, source="a" * 257), "source"),
        (replace(ROW, at=float("nan")), "date"),
        (replace(ROW, issued_before=-1.0), "date"),
        (replace(ROW, expires=float("inf")), "date"),
        (Lift("r-1", 1.0, float("nan")), "date"),
    ],
)
def test_what_is_malformed(change: Revocation | Lift, word: str) -> None:
    """Is named, without its text."""
    with pytest.raises(ValueError, match=word):
        check(change)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, True),
        ({"issued_before": 99.0}, False),
        ({"issued_before": 100.0}, True),
        ({"issued_before": 101.0}, True),
    ],
)
def test_a_date_spares_who_authenticates_anew(changes: dict[str, float], expected: bool) -> None:
    """A lock spares nobody; a date those whose token is younger, and not those of the same second."""
    assert expected is voids(replace(ROW, **changes), ADA)


@pytest.mark.parametrize(
    "identity",
    [
        replace(ADA, issued=0.0),
        replace(ADA, issued=float("nan")),
        replace(ADA, issued=300.0, auth_time=150.0),
    ],
)
def test_who_can_not_show_that_it_is_new_is_void(identity: Identity) -> None:
    """No date, an odd one, or a token renewed within a session that is older than the revocation."""
    assert voids(replace(ROW, issued_before=200.0), identity)
    assert not voids(replace(ROW, issued_before=200.0), replace(ADA, issued=300.0, auth_time=250.0))


def test_a_client_is_renewed_without_its_users() -> None:
    """Its new tokens are good, however long ago their users authenticated."""
    renewed = replace(ADA, issued=300.0, auth_time=50.0)

    assert not voids(replace(ROW, target=Target.CLIENT, issued_before=200.0), renewed)
    assert voids(replace(ROW, target=Target.SESSION, issued_before=200.0), renewed)


@pytest.mark.parametrize("target", [Target.TOKEN, Target.KEY, Target.CERTIFICATE])
def test_one_credential_is_not_issued_anew(target: Target) -> None:
    """A date means nothing to it: whoever has a stolen key writes any date."""
    assert voids(replace(ROW, target=target, issued_before=50.0), ADA)

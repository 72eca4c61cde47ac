"""Revocations as data."""

from __future__ import annotations

from gateway.core.revocation import NOTHING_REVOKED, Revocation, Target
from tests.unit.stages.authorize.material import an_identity


def test_a_revocation_without_a_date_is_a_lock() -> None:
    """Unless it says otherwise it voids everything, and never ends by itself."""
    lock = Revocation("1", Target.SUBJECT, "a|b", 10.0)

    assert (None, None) == (lock.issued_before, lock.expires)


def test_nothing_is_revoked_where_there_is_no_state() -> None:
    """The stand-in is current and finds nobody."""
    assert NOTHING_REVOKED.is_current
    assert NOTHING_REVOKED.find(an_identity()) is None

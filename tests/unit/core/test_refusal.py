"""The closed vocabulary of refusals, and the exception that carries one."""

from __future__ import annotations

import re
from dataclasses import FrozenInstanceError

import pytest

from gateway.core.refusal import LimitState, Reason, Refusal, Refused, Source, refuse


def test_words_are_kebab_case_and_unique() -> None:
    """Records are searched by these words; two reasons never share one."""
    words = [reason.value for reason in Reason]

    assert len(words) == len(set(words))
    assert [] == [word for word in words if not re.fullmatch(r"[a-z]+(-[a-z]+)*", word)]


def test_a_refusal_blames_the_client_unless_told_otherwise() -> None:
    """The common case needs two words."""
    refusal = refuse(Reason.TOKEN_EXPIRED, "The token has expired.").refusal

    assert Refusal(Reason.TOKEN_EXPIRED, "The token has expired.", "", Source.CLIENT) == refusal
    assert (None, None, (), ()) == (refusal.retry_after, refusal.rule, refusal.scopes, refusal.limits)


def test_a_note_and_a_source() -> None:
    """What is for the record alone, and whose fault it is."""
    refusal = refuse(Reason.BACKEND_TLS, note="certificate expired", source=Source.UPSTREAM).refusal

    assert ("", "certificate expired", Source.UPSTREAM) == (refusal.detail, refusal.note, refusal.source)


def test_the_exception_says_the_reason_alone() -> None:
    """Wherever its text ends up, there is nothing of the request in it."""
    refused = Refused(Refusal(Reason.JSON_INVALID, "detail", note="note"))

    assert "json-invalid" == str(refused)


def test_a_refusal_is_frozen() -> None:
    """Shared refusals are made once; nobody writes on them."""
    refusal = Refusal(Reason.INTERNAL)
    with pytest.raises(FrozenInstanceError):
        refusal.detail = "more"  # type: ignore[misc]  # what must not work

    assert 0 == LimitState("limit", 1, 60.0, 0, 60.0).remaining

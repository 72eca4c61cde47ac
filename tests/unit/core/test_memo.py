"""A memo begins empty, so that nothing is taken from it that nobody put there."""

from __future__ import annotations

from gateway.core.memo import AnswerMemo, RequestMemo


def test_a_new_memo_fits_no_head() -> None:
    """No route, no digest, no content type: everything is still to be made."""
    request, answer = RequestMemo(), AnswerMemo()

    assert (None, b"", b"", b"", b"") == (
        request.route,
        request.digest,
        request.content_type,
        request.line,
        request.fields,
    )
    assert (None, b"", False, None) == (answer.route, answer.fields, answer.has_date, answer.content_type)

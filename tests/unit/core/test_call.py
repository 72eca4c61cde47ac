"""One request, as the wire hands it over."""

from __future__ import annotations

import pytest

from gateway.core.call import Call
from tests.doubles.line import PEER
from tests.unit.stages.authorize.material import NoBody


def test_a_call_is_what_it_was_made_of() -> None:
    """Nothing is derived, nothing repaired."""
    body, headers = NoBody(), {b"accept": b"*/*"}
    call = Call("id", "POST", "/a", "b=c", headers, PEER, body)

    assert ("id", "POST", "/a", "b=c", headers, PEER, body) == (
        call.id,
        call.method,
        call.path,
        call.query,
        call.headers,
        call.peer,
        call.body,
    )


def test_nothing_can_be_hung_on_a_call() -> None:
    """Stages talk through proofs, never through notes on the request."""
    with pytest.raises(AttributeError):
        Call("id", "GET", "/", "", {}, PEER, NoBody()).user = "root"  # type: ignore[attr-defined]  # must fail

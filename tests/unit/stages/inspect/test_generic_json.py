"""JSON of any shape, and of a shape that the route gives."""

from __future__ import annotations

import pytest

from gateway.core.refusal import Reason
from gateway.stages.inspect.fingerprint import Fingerprint
from gateway.stages.inspect.generic_json import GenericJson
from gateway.stages.inspect.json_schema import JsonSchema
from tests.unit.stages.inspect.doubles import KEY, call, reason

INSPECTOR = GenericJson(Fingerprint(KEY))


@pytest.mark.parametrize("body", [b'{ "model": "m" }', b"[1]", b"7", b'"text"', b"null"])
def test_takes_any_document(body: bytes) -> None:
    """Any strict JSON passes, re-serialised; what a member means is not guessed."""
    verdict = INSPECTOR(body, call())

    assert isinstance(verdict, tuple)
    prompt, out, content_type = verdict
    assert (body.replace(b" ", b""), b"application/json") == (out, content_type)
    assert (None, len(body), Fingerprint(KEY)(out)) == (prompt.model, prompt.size, prompt.fingerprint)


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "OPTIONS"])
def test_takes_no_body_where_none_is_due(method: str) -> None:
    """Methods without content need none, and no content type."""
    verdict = INSPECTOR(b"", call(method, {}))

    assert isinstance(verdict, tuple)
    assert (*verdict[1:], verdict[0].size) == (b"", b"", 0)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
def test_demands_a_body_where_one_is_due(method: str) -> None:
    """A schema cannot be passed by by sending nothing."""
    assert Reason.JSON_INVALID is reason(INSPECTOR(b"", call(method)))


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_refuses_a_body_without_meaning(method: str) -> None:
    """A body in GET is a body that servers disagree about."""
    assert Reason.BODY_UNEXPECTED is reason(INSPECTOR(b"{}", call(method)))


def test_inspects_the_body_of_a_delete() -> None:
    """Where a body is optional, it is inspected if it is there."""
    assert Reason.JSON_INVALID is reason(INSPECTOR(b"{", call("DELETE")))


def test_asks_the_routes_schema() -> None:
    """The route's own schema decides."""
    inspector = GenericJson(Fingerprint(KEY), schema=JsonSchema({"required": ["a"]}))

    assert Reason.SCHEMA_VIOLATION is reason(inspector(b"{}", call()))
    assert reason(inspector(b'{"a":1}', call())) is None

"""The order of the checks that all JSON dialects share."""

from __future__ import annotations

from gateway.core.refusal import Reason
from gateway.stages.inspect.document import DocumentReader
from gateway.stages.inspect.json_schema import JsonSchema
from tests.unit.stages.inspect.doubles import call, reason


def test_reads_the_head_before_the_bytes() -> None:
    """Bytes that do not claim to be JSON are not parsed."""
    assert Reason.CONTENT_TYPE is reason(DocumentReader()(b"{", call(headers={})))


def test_parses_before_it_compares() -> None:
    """No schema sees what is not strict JSON."""
    assert Reason.JSON_INVALID is reason(DocumentReader(JsonSchema(False))(b"{", call()))


def test_asks_every_schema() -> None:
    """All schemas must hold, whichever comes first."""
    yes, no = JsonSchema(True), JsonSchema(False)

    assert DocumentReader(yes, yes)(b'{ "a": 1}', call()) == ({"a": 1}, b'{"a":1}')
    assert Reason.SCHEMA_VIOLATION is reason(DocumentReader(yes, no)(b"{}", call()))
    assert Reason.SCHEMA_VIOLATION is reason(DocumentReader(no, yes)(b"{}", call()))

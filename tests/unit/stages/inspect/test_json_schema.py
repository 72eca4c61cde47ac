"""Invariant: a refusal names a place and a keyword of ours, never a value of the document."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.refusal import Reason, Refusal
from gateway.stages.inspect.json_schema import JsonSchema, SchemaError

SECRET = "correct horse battery staple"


def detail(schema: object, document: object) -> str:
    """Return what a client reads about a document that does not fit."""
    verdict = JsonSchema(schema).check(document)
    assert isinstance(verdict, Refusal)
    assert Reason.SCHEMA_VIOLATION is verdict.reason
    return verdict.detail


def test_passes_what_fits() -> None:
    """A document that fits gets no refusal."""
    assert JsonSchema({"type": "object", "required": ["a"]}).check({"a": 1}) is None
    assert JsonSchema(True).check({"a": 1}) is None


@pytest.mark.parametrize(
    ("schema", "document", "expected"),
    [
        (False, 1, "At the top level: not allowed (falseSchema)."),
        ({"type": "object"}, SECRET, "At the top level: of the wrong type, expected object (type)."),
        ({"required": ["a"]}, {}, 'At the top level: the member "a" is missing (required).'),
        ({"maximum": 3}, 4, "At the top level: too large, the limit is 3 (maximum)."),
        ({"minimum": 3}, 2, "At the top level: too small, the limit is 3 (minimum)."),
        ({"items": {"enum": ["a"]}}, ["a", SECRET], "At /1: not one of the allowed values (enum)."),
        (
            {"properties": {"a": True}, "additionalProperties": False},
            {"b.c-d_1": SECRET},
            "At /b.c-d_1: not a known member (additionalProperties).",
        ),
        (
            {"unevaluatedProperties": False},
            {"b": SECRET},
            "At /b: not a known member (unevaluatedProperties).",
        ),
        (
            {"properties": {SECRET: {"type": "null"}}},
            {SECRET: 1},
            "At /?: of the wrong type, expected null (type).",
        ),
        (
            {"additionalProperties": {"type": "null"}},
            {"x" * 41: 1},
            "At /?: of the wrong type, expected null (type).",
        ),
        (
            {"additionalProperties": {"type": "null"}},
            {"a/b~": 1},
            "At /?: of the wrong type, expected null (type).",
        ),
        (
            {"additionalProperties": {"type": "null"}},
            {"a\n": 1},
            "At /?: of the wrong type, expected null (type).",
        ),
        ({"contains": {"type": "null"}}, [1], "At the top level: a required item is missing (contains)."),
        ({"format": "ipv4"}, SECRET, "At the top level: not in the required format (format)."),
    ],
)
def test_says_where_and_what(schema: object, document: object, expected: str) -> None:
    """The detail is a pointer with plain segments, a phrase and the keyword."""
    assert expected == detail(schema, document)


def test_cuts_a_long_pointer() -> None:
    """A deep place is shown by its first segments."""
    schema = {"type": "array", "items": {"$ref": "#"}}
    document: object = "x"
    for _ in range(20):
        document = [document]

    assert detail(schema, document).startswith("At /0/0/0/0/0/0/0/0/0/0/0/0/...: ")


def test_keeps_to_itself_what_it_has_no_words_for() -> None:
    """A keyword without a phrase is still named."""
    schema = {
        "properties": {"a": {"contentMediaType": "application/json"}},
        "$schema": "http://json-schema.org/draft-07/schema#",
    }

    assert detail(schema, {"a": SECRET}) == "At /a: not as the schema says (contentMediaType)."


@pytest.mark.parametrize("keyword", ["anyOf", "oneOf"])
def test_steps_into_the_alternative_that_got_further(keyword: str) -> None:
    """Of alternatives, the one whose error lies deeper is the one that was meant."""
    schema = {
        "properties": {
            "c": {
                keyword: [
                    {"type": "string"},
                    {"type": "array", "items": {"required": ["t"], "type": "object"}},
                ]
            }
        }
    }

    assert detail(schema, {"c": [{}]}) == 'At /c/0: the member "t" is missing (required).'
    assert detail(schema, {"c": 1}).startswith("At /c: ")
    assert detail(schema, {"c": 1}).endswith(f"({keyword}).")


@given(st.text(min_size=4, alphabet=st.characters(exclude_characters="0", exclude_categories=["Cs"])))
def test_never_shows_a_value(secret: str) -> None:
    """Whatever the value is, the refusal is the same as for any other."""
    schema = {"properties": {"c": {"anyOf": [{"maxLength": 0}, {"const": 1}]}}}

    assert detail(schema, {"c": "0000"}) == detail(schema, {"c": secret})


@pytest.mark.parametrize(
    ("schema", "pointer", "words"),
    [
        (7, "", "mapping"),
        ([], "", "mapping"),
        (None, "", "mapping"),
        ({"type": "strnig"}, "/type", "strnig"),
        ({"properties": {"a/b": {"minimum": "x"}}}, "/properties/a~1b/minimum", "number"),
        ({"$ref": "http://example.org/schema.json"}, "", "only local references"),
        ({"$ref": "https://example.org/schema.json"}, "", "only local references"),
        ({"$ref": "file:///etc/passwd"}, "", "only local references"),
        ({"$id": "http://example.org/a", "$ref": "b"}, "", "only local references"),
        ({"$ref": "other.json"}, "", "other.json"),
        ({"$ref": "#/$defs/missing"}, "", "/$defs/missing"),
        ({"$schema": "http://example.org/meta"}, "", "meta-schema"),
        ({"pattern": "("}, "/pattern", "linear-time"),
        ({"pattern": "(?=a)b"}, "/pattern", "no look-around"),
        ({"pattern": r"(a)\1"}, "/pattern", "no back-references"),
        ({"pattern": "((a{1000}){1000}){1000}"}, "/pattern", "bounded size"),
        ({"format": "no-such-format"}, "/format", "no-such-format"),
        ({1: "a"}, "", ""),
    ],
)
def test_refuses_schemas_that_cannot_be_used(schema: object, pointer: str, words: str) -> None:
    """A bad schema is an error of the configuration, with its place and the mend."""
    with pytest.raises(SchemaError) as caught:
        JsonSchema(schema)

    assert pointer == caught.value.pointer
    assert words in caught.value.message
    assert "\n" not in caught.value.message


def test_answers_evil_patterns_in_linear_time() -> None:
    """A pattern that would take a backtracking engine for ever is answered at once."""
    schema = JsonSchema({"pattern": "^(a+)+$"})

    assert schema.check("a" * 100_000 + "!") is not None


def test_follows_local_references() -> None:
    """`#/...` is followed, recursion included."""
    schema = JsonSchema({"properties": {"next": {"$ref": "#"}}, "additionalProperties": False})

    assert schema.check({"next": {"next": {}}}) is None
    assert schema.check({"next": {"nxt": {}}}) is not None

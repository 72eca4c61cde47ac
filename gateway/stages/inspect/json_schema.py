"""JSON Schema: compiled once, asked once per request.

Decides whether a document has the shape that the route's schema says. Never fetches a reference,
never runs a pattern that could take more than linear time, and never lets a value of the document
into a refusal: what a client reads is the place and the violated keyword.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NoReturn, final

import jsonschema_rs

from gateway.core.refusal import Reason, Refusal

if TYPE_CHECKING:
    from collections.abc import Iterable

_Schema = dict[str, object] | bool

PATTERN_BYTES: Final = 1024 * 1024  # one compiled pattern; refuses `(a{1000}){1000}`
MAX_SEGMENTS: Final = 12  # of a pointer that is shown

_SAFE_SEGMENT: Final = re.compile(r"[A-Za-z0-9_.-]{1,40}")
_PHRASES: Final = {
    "additionalProperties": "not a known member",
    "anyOf": "none of the allowed forms",
    "const": "not the allowed value",
    "contains": "a required item is missing",
    "dependentRequired": "a member that another one needs is missing",
    "enum": "not one of the allowed values",
    "exclusiveMaximum": "too large",
    "exclusiveMinimum": "too small",
    "falseSchema": "not allowed",
    "format": "not in the required format",
    "maxItems": "too many items",
    "maxLength": "too long",
    "maxProperties": "too many members",
    "maximum": "too large",
    "minItems": "too few items",
    "minLength": "too short",
    "minProperties": "too few members",
    "minimum": "too small",
    "multipleOf": "not a multiple of the required number",
    "not": "a forbidden form",
    "oneOf": "not exactly one of the allowed forms",
    "pattern": "not in the required pattern",
    "propertyNames": "a member has a name that is not allowed",
    "required": "a required member is missing",
    "type": "of the wrong type",
    "unevaluatedProperties": "not a known member",
    "uniqueItems": "has equal items",
}


@final
class SchemaError(ValueError):
    """A schema that cannot be used; for the operator, when the configuration is loaded.

    Args:
        message: What is wrong, and how to mend it.
        pointer: Where in the schema, a JSON pointer (RFC 6901); "" for the whole.
    """

    def __init__(self, message: str, pointer: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.pointer = pointer


@final
class JsonSchema:
    """One compiled schema.

    Draft 2020-12 unless `$schema` names an older draft. `format` is asserted, and a format that is
    not known is an error: a constraint that is written down is never silently skipped.

    Args:
        schema: The schema as parsed from JSON or YAML: a mapping or a bool.

    Raises:
        SchemaError: It is no valid schema, has a reference that is not local, a pattern with
            look-around or back-references, or an unknown format.
    """

    __slots__ = ("_validate",)

    def __init__(self, schema: object) -> None:
        if not isinstance(schema, dict | bool):
            raise SchemaError("a schema is a mapping, or true or false")
        try:
            _compile(schema, mask=None)  # for its messages, which may quote the schema
            self._validate = _compile(schema, mask="...").validate
        except jsonschema_rs.ValidationError as error:
            raise SchemaError(_mend(error), _raw_pointer(error.instance_path)) from error
        except ValueError as error:
            raise SchemaError(str(error).partition("\n")[0]) from error

    def check(self, document: object) -> Refusal | None:
        """Check one document.

        Args:
            document: As `strict_json.parse` returned it. Attacker-controlled.

        Returns:
            None, or a `SCHEMA_VIOLATION` that names the place and the keyword, never a value.
        """
        try:
            self._validate(document)
        except jsonschema_rs.ValidationError as error:
            return _explain(error)
        return None


def _compile(schema: _Schema, *, mask: str | None) -> jsonschema_rs.Validator:
    """Compile; with `mask`, no message quotes the document, which halves the cost of a refusal."""
    return jsonschema_rs.validator_for(
        schema,
        validate_formats=True,
        ignore_unknown_formats=False,
        retriever=_refuse_retrieval,
        mask=mask,
        pattern_options=jsonschema_rs.RegexOptions(size_limit=PATTERN_BYTES, dfa_size_limit=PATTERN_BYTES),
    )


def _refuse_retrieval(uri: str) -> NoReturn:
    msg = f"only local references (#/...) are followed, not {uri}"
    raise ValueError(msg)


def _mend(error: jsonschema_rs.ValidationError) -> str:
    message = error.message
    if error.kind.name in {"pattern", "format"} or 'is not a "regex"' in message:
        return f"{message}; patterns are linear-time: no look-around, no back-references, bounded size"
    return message


def _raw_pointer(path: Iterable[str | int]) -> str:
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)


def _safe_pointer(path: list[str | int]) -> str:
    """Write a pointer whose segments are the client's, so that it shows nothing but plain names."""
    shown = [
        str(part) if isinstance(part, int) or _SAFE_SEGMENT.fullmatch(part) else "?"
        for part in path[:MAX_SEGMENTS]
    ]
    if len(path) > MAX_SEGMENTS:
        shown.append("...")
    return "/".join(["", *shown]) if shown else "the top level"


def _explain(error: jsonschema_rs.ValidationError) -> Refusal:
    error = _deepest(error)
    kind = error.kind
    keyword = kind.name
    path = list(error.instance_path)
    phrase = _PHRASES.get(keyword, "not as the schema says")
    match kind:
        case jsonschema_rs.ValidationErrorKind.Required():
            phrase = f'the member "{_safe_pointer([kind.property])[1:]}" is missing'
        case (
            jsonschema_rs.ValidationErrorKind.AdditionalProperties()
            | jsonschema_rs.ValidationErrorKind.UnevaluatedProperties()
        ):
            path += kind.unexpected[:1]
        case jsonschema_rs.ValidationErrorKind.Type():
            phrase = f"of the wrong type, expected {' or '.join(kind.types)}"
        case jsonschema_rs.ValidationErrorKind.Maximum() | jsonschema_rs.ValidationErrorKind.Minimum():
            phrase = f"{phrase}, the limit is {kind.limit}"
        case _:
            pass
    return Refusal(Reason.SCHEMA_VIOLATION, f"At {_safe_pointer(path)}: {phrase} ({keyword}).", rule="schema")


def _deepest(error: jsonschema_rs.ValidationError) -> jsonschema_rs.ValidationError:
    """Step into the alternatives of `anyOf` and `oneOf` where one of them got further than the rest."""
    while True:
        kind = error.kind
        if not isinstance(
            kind, jsonschema_rs.ValidationErrorKind.AnyOf | jsonschema_rs.ValidationErrorKind.OneOfNotValid
        ):
            return error
        inner = max(
            (cause for branch in kind.context for cause in branch),
            key=lambda cause: len(cause.instance_path),
            default=error,
        )
        if len(inner.instance_path) <= len(error.instance_path):
            return error
        error = inner

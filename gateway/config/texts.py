"""How the small languages inside the YAML are refused, described and wrapped. Knows none of them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, TypeVar

from pydantic import ValidationInfo, WithJsonSchema
from pydantic_core import PydanticCustomError

if TYPE_CHECKING:
    from collections.abc import Callable

Value = TypeVar("Value")

MAX_SHOWN: Final = 60  # characters of a value in a message


def refused(message: str, mend: str, *, is_secret: bool = False) -> PydanticCustomError:
    """Make the error that a parser of this module raises.

    Args:
        message: What is wrong.
        mend: How to mend it.
        is_secret: The offending text must not be shown.
    """
    kind = "secret" if is_secret else "setting"
    return PydanticCustomError(kind, "{message}", {"message": message, "mend": mend})


def text_type(
    title: str, parse: Callable[[str], Value], example: str, pattern: str | None = None
) -> Callable[[object], Value]:
    """Wrap a parser of texts, so that other YAML types are refused in the same words.

    Args:
        title: What is expected, with its article.
        parse: The parser.
        example: A value that is right.
        pattern: Regular expression that the text must match first.
    """
    matcher = re.compile(pattern) if pattern else None

    def validate(value: object) -> Value:
        if not isinstance(value, str):
            raise refused(f"expected {title}, found {describe(value)}", f"write it like `{example}`")
        if matcher is not None and (matcher.search(value) is None or value.endswith("\n")):
            raise refused(f"`{value}` is not {title}", f"write it like `{example}`")
        return parse(value)

    return validate


def describe(value: object) -> str:
    """Say what kind of YAML value something is."""
    match value:
        case None:
            return "nothing (null)"
        case bool():
            return f"`{str(value).lower()}`"
        case int() | float():
            return f"the number `{value}`"
        case str():
            return f"the text `{value}`" if len(value) <= MAX_SHOWN else "a text"
        case dict():
            return "a mapping"
        case _:
            return "a list"


def schema(title: str, example: str, pattern: str | None = None) -> WithJsonSchema:
    """Describe one of these texts in the JSON Schema."""
    described: dict[str, object] = {"type": "string", "title": title, "examples": [example]}
    if pattern is not None:
        described["pattern"] = pattern
    return WithJsonSchema(described)


def placed_type(
    title: str, parse: Callable[[str, ValidationInfo], Value], example: str
) -> Callable[[object, ValidationInfo], Value]:
    """Wrap a parser that needs to know where the configuration lies; otherwise as `text_type`."""

    def validate(value: object, info: ValidationInfo) -> Value:
        if not isinstance(value, str):
            raise refused(f"expected {title}, found {describe(value)}", f"write it like `{example}`")
        return parse(value, info)

    return validate


def one_or_more(value: object) -> object:
    """Let a single value stand for a list of one."""
    return value if value is None or isinstance(value, tuple) else (value,)

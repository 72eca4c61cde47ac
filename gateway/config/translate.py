"""Pydantic's errors in our words: the place in the file, what is wrong, and the mend."""

from __future__ import annotations

from difflib import get_close_matches
from types import NoneType
from typing import TYPE_CHECKING, Final, get_args, get_origin

from gateway.config.schema import Settings
from gateway.config.section import Section
from gateway.config.texts import describe

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    from gateway.config.document import Tree
    from gateway.config.errors import Problem
    from gateway.config.source import Path, Source

KEY: Final = "[key]"  # how pydantic says that a mapping's key is wrong, not its value
EXPECTED: Final = {
    "string_type": ("a text", "write a text, in quotes if it looks like a number"),
    "int_type": ("a whole number", "write a number without quotes and unit"),
    "float_type": ("a number", "write a number without quotes"),
    "bool_type": ("true or false", "write `true` or `false`, without quotes"),
    "tuple_type": ("a list", "write `[one, two]`, or one `- item` per line"),
    "dict_type": ("a mapping", "write `{key: value}`, or one indented `key: value` per line"),
    "model_type": ("a mapping", "write `{key: value}`, or one indented `key: value` per line"),
}
BOUNDS: Final = {
    "greater_than": ("gt", "greater than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than_equal": ("le", "at most"),
}


def steps(path: Path, tree: Tree) -> Path:
    """Cut a pydantic location down to the part that stands in the tree, and one step more.

    Args:
        path: A location, which may have steps of pydantic's own ("[key]", union members).
        tree: The content of the file.
    """
    kept: list[str | int] = []
    for step in path:
        known = (isinstance(tree, dict) and step in tree) or (
            isinstance(tree, tuple) and isinstance(step, int) and step < len(tree)
        )
        if not known:
            if isinstance(tree, dict) and isinstance(step, str) and step != KEY:
                kept.append(step)
            break
        kept.append(step)
        tree = tree[step]  # type: ignore[index]  # known says that it fits
    return tuple(kept)


def translate(error: ErrorDetails, source: Source, tree: Tree) -> tuple[Path, Problem]:
    """Turn one of pydantic's errors into a problem.

    Args:
        error: From `ValidationError.errors()`.
        source: Where everything stands.
        tree: The content that was validated.

    Returns:
        The path in the file, and the problem.
    """
    location: Path = error["loc"]
    path = steps(location, tree)
    kind = error["type"]
    if kind == "missing":
        mark = source.find(path[:-1], is_key=True)
        missing = path[-1]
        return path, source.problem(mark, f"`{missing}` is missing{_inside(path[:-1])}", _how(path))
    if kind == "extra_forbidden":
        message = f"unknown key `{path[-1]}`{_inside(path[:-1])}"
        return path, source.problem(source.find(path, is_key=True), message, _meant(path))
    is_key = location[-1:] == (KEY,)
    message, mend = _say(kind, error)
    return path, source.problem(source.find(path, is_key=is_key), message, mend)


def _say(kind: str, error: ErrorDetails) -> tuple[str, str]:
    context = error.get("ctx", {})
    if kind in {"setting", "secret"}:
        return context["message"], context["mend"]
    found = describe(error["input"])
    if kind in EXPECTED:
        expected, mend = EXPECTED[kind]
        return f"expected {expected}, found {found}", mend
    if kind in BOUNDS:
        name, words = BOUNDS[kind]
        number = context[name]
        bound = f"{words} {int(number) if number == int(number) else number}"
        return f"expected a number {bound}, found {found}", f"write a number {bound}"
    if kind == "literal_error":
        return (
            f"{found} is none of the values this key takes",
            f"write one of {context['expected'].replace(chr(39), '`')}",
        )
    if kind == "too_short":
        return "nothing stands here, and at least one entry must", "add an entry"
    return f"{found} does not fit here", "see docs/configuration.md for what this key takes"


def _inside(path: Path) -> str:
    text = show(path)
    return f" in `{text}`" if text else ""


def show(path: Path) -> str:
    """Write a path as people do: `routes[0].match`."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}"
    return text.removeprefix(".")


def _how(path: Path) -> str:
    description = _described(path[:-1]).get(str(path[-1]), "see docs/configuration.md")
    return f"add `{path[-1]}:`: {description.rstrip('.')}"


def _meant(path: Path) -> str:
    known = _described(path[:-1])
    close = get_close_matches(str(path[-1]), known, n=1, cutoff=0.6)
    if close:
        return f"did you mean `{close[0]}`?"
    return f"remove it; the keys here are {', '.join(known)}"


def _described(path: Path) -> dict[str, str]:
    """Return the keys of the section that a path leads to, with what they are for."""
    fields = section_at(path).model_fields.items()
    return {field.alias or name: field.description or "" for name, field in fields}


def section_at(path: Path) -> type[Section]:
    """Return the section that a path of pydantic's leads to."""
    kind: object = Settings
    for step in path:
        if isinstance(kind, type) and issubclass(kind, Section):
            fields = {field.alias or name: field for name, field in kind.model_fields.items()}
            kind = _plain(fields[str(step)].annotation)
        else:  # the next step is an index, or a name in a mapping: what it leads to is the last argument
            kind = _plain([member for member in get_args(kind) if member is not Ellipsis][-1])
    if isinstance(kind, type) and issubclass(kind, Section):
        return kind
    raise AssertionError("only sections miss keys, or have unknown ones")


def _plain(kind: object) -> object:
    """Take the optional off a type."""
    members = [member for member in get_args(kind) if member is not NoneType]
    return members[0] if len(members) == 1 and get_origin(kind) not in {tuple, dict} else kind

"""The words of a condition: which attributes it reads, and what may not be written at all.

A scanner, not a parser: the expression runtime parses and type-checks. Two things are settled here
because that runtime would get them wrong: `has(request.stream)` would yield the VALUE of the
attribute instead of its presence, and a loop variable could shadow an attribute. Nothing is evaluated.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn, final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.stages.authorize.attributes import Attribute

# Longest first: triple-quoted before quoted. A raw string has no escapes.
_STRING = (
    r'[bB]?[rR][bB]?(?:"""[\s\S]*?"""|\'\'\'[\s\S]*?\'\'\'|"[^"\n]*"|\'[^\'\n]*\')'
    r'|[bB]?(?:"""(?:\\[\s\S]|[^\\])*?"""|\'\'\'(?:\\[\s\S]|[^\\])*?\'\'\''
    r'|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\')'
)
_TOKEN = re.compile(
    rf"(?P<space>\s+|//[^\n]*)|(?P<string>{_STRING})|(?P<name>[A-Za-z_]\w*)"
    r"|(?P<number>(?:\d\w*(?:\.\d+(?:[eE][+-]?\d+)?)?|\.\d+(?:[eE][+-]?\d+)?))|(?P<sign>[\s\S])",
    re.ASCII,
)
_VALUE_ENDS = frozenset({")", "]", "}"})
PRESENCE = "has."  # variable `has.request.stream`: true if `request.stream` is there


@final
class ConditionError(ValueError):
    """A condition cannot be used. The message is for the operator who wrote it.

    Args:
        message: What is wrong, and where possible how to mend it.
        line: Line in the condition, from 1.
        column: Column in that line, from 1.
    """

    def __init__(self, message: str, line: int = 1, column: int = 1) -> None:
        super().__init__(message)
        self.message = message
        self.line = line
        self.column = column


@final
@dataclass(frozen=True, slots=True)
class Token:
    """One word of a condition: its kind, its text and where it stands."""

    kind: str
    text: str
    start: int


@final
@dataclass(frozen=True, slots=True)
class Expression:
    """A condition, scanned.

    Args:
        source: As written.
        text: What the runtime compiles: same length, `has(a.b)` written as `has.a.b `.
        reads: Names of the attributes whose value it may read.
        tests: Names of the attributes whose presence it asks for.
        tokens: Its words, spaces and comments left out.
    """

    source: str
    text: str
    reads: frozenset[str]
    tests: frozenset[str]
    tokens: tuple[Token, ...]


def position(text: str, offset: int) -> tuple[int, int]:
    """Return line and column, both from 1, of an offset."""
    return text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset)


def scan(source: str, attributes: Mapping[str, Attribute], roots: frozenset[str]) -> Expression:
    """Scan a condition.

    Args:
        source: The condition as written.
        attributes: What may be read, by name.
        roots: First words of those names.

    Returns:
        The expression; `reads` may name more than is evaluated, never less.

    Raises:
        ConditionError: A quoted or absolute name, a loop variable that hides an attribute, or a
            `has()` of something other than a plain name.
    """
    tokens = tuple(
        Token(str(match.lastgroup), match[0], match.start())
        for match in _TOKEN.finditer(source)
        if match.lastgroup != "space"
    )
    text = list(source)
    reads: set[str] = set()
    tests: set[str] = set()
    for at, token in enumerate(tokens):
        _refuse_disguise(source, tokens, at, attributes, roots)
        if token.kind != "name" or _text(tokens, at - 1) == ".":
            continue
        name, end = _attribute(tokens, at, attributes)
        if token.text == "has" and _text(tokens, at + 1) == "(":
            tested = _tested(source, tokens, at, attributes)
            if tested is not None:
                tests.add(tested[0])
                text[tokens[at + 1].start] = "."
                text[tokens[tested[1]].start] = " "
        elif name is not None and not _is_tested(tokens, at, end):
            reads.add(name)
    return Expression(source, "".join(text), frozenset(reads), frozenset(tests), tokens)


def _refuse_disguise(
    source: str,
    tokens: tuple[Token, ...],
    at: int,
    attributes: Mapping[str, Attribute],
    roots: frozenset[str],
) -> None:
    token = tokens[at]
    if token.text == "`":
        _fail(source, token, "quoted names are not supported")
    if token.text == "." and _kind(tokens, at + 1) == "name":
        before = _text(tokens, at - 1)
        if before == "in" or (_kind(tokens, at - 1) not in {"name", "string"} and before not in _VALUE_ENDS):
            _fail(source, token, "a name cannot begin with a dot")
    after = _text(tokens, at + 1)
    if token.kind == "name" and token.text in roots and _text(tokens, at - 1) != ".":
        if _text(tokens, at - 1) == "(" and after == ",":
            _fail(source, token, f"the loop variable '{token.text}' hides an attribute: choose another name")
        if after != "." and token.text not in attributes:
            _fail(source, token, f"'{token.text}' alone is no attribute: its attributes are '{token.text}.*'")
    if token.text == "has" and token.kind == "name" and after == ".":
        _fail(source, token, "write has(...) with parentheses")


def _attribute(
    tokens: tuple[Token, ...], at: int, attributes: Mapping[str, Attribute]
) -> tuple[str | None, int]:
    """Return the longest attribute that begins at a token, and the index behind its last word."""
    name, found, end = tokens[at].text, None, at + 1
    step = at
    if name in attributes:
        found = name
    while _text(tokens, step + 1) == "." and _kind(tokens, step + 2) == "name":
        step += 2
        name += "." + tokens[step].text
        if name in attributes:
            found, end = name, step + 1
    return found, end


def _tested(
    source: str, tokens: tuple[Token, ...], at: int, attributes: Mapping[str, Attribute]
) -> tuple[str, int] | None:
    """Return what `has(` asks for and the index of its `)`, or None if it asks for a map's key."""
    if _kind(tokens, at + 2) != "name":
        _fail(source, tokens[at], "has() takes a plain name, such as has(request.max_tokens)")
    name, end = _attribute(tokens, at + 2, attributes)
    return None if name is None or _text(tokens, end) != ")" else (name, end)


def _is_tested(tokens: tuple[Token, ...], at: int, end: int) -> bool:
    return _text(tokens, at - 2) == "has" and _text(tokens, at - 1) == "(" and _text(tokens, end) == ")"


def _text(tokens: tuple[Token, ...], at: int) -> str:
    return tokens[at].text if 0 <= at < len(tokens) else ""


def _kind(tokens: tuple[Token, ...], at: int) -> str:
    return tokens[at].kind if 0 <= at < len(tokens) else ""


def _fail(source: str, token: Token, message: str) -> NoReturn:
    line, column = position(source, token.start)
    raise ConditionError(message, line, column)

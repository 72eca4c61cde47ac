"""Builds a document from YAML events, without recursion, within bounds, following no alias.

Every construct that surprises is refused where it stands, and reading goes on: only syntax errors and
broken bounds end it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

import yaml

from gateway.config.document import UnreadableError
from gateway.config.scalars import resolve
from gateway.config.source import NOWHERE, Mark

if TYPE_CHECKING:
    from gateway.config.document import Document, Tree
    from gateway.config.source import Path

MAX_NODES: Final = 100_000
MAX_DEPTH: Final = 16  # the schema needs 8
SYNTAX_MENDS: Final = (
    (
        "mapping values are not allowed",
        "put a text that contains `: ` into double quotes, or check the indentation",
    ),
    (
        "cannot start any token",
        "indent with spaces, and put a text that begins with a special character into quotes",
    ),
    ("found unexpected end of stream", "close the quotes that were opened here"),
    ("did not find expected ',' or", "close the bracket or brace, or add the missing comma"),
    ("did not find expected key", "check the indentation: keys of one mapping begin in the same column"),
    ("could not find expected ':'", "write `key: value`, with a space behind the colon"),
    (
        "undefined alias",
        "write the value itself: aliases are not taken, and a text that begins with * needs quotes",
    ),
    ("did not find expected alphabetic", "put a text that begins with * or & into double quotes"),
)


@final
class _Frame:
    """A mapping or sequence that is still open."""

    __slots__ = ("is_duplicate", "items", "key", "mapping", "path", "seen")

    def __init__(self, path: Path, *, is_mapping: bool) -> None:
        self.path = path
        self.is_duplicate = False
        self.mapping: dict[str, Tree] | None = {} if is_mapping else None
        self.items: list[Tree] = []
        self.key: str | None = None  # a mapping's key that waits for its value
        self.seen: set[str] = set()

    def child(self) -> Path:
        """Path of the node that comes next."""
        if self.mapping is None:
            return (*self.path, len(self.items))
        key = self.key or ""
        return (
            (*self.path, key, -1) if self.is_duplicate else (*self.path, key)
        )  # -1: of no place in the tree

    def add(self, value: Tree) -> None:
        """Take the next value."""
        if self.mapping is None:
            self.items.append(value)
        else:
            self.mapping.setdefault(self.key or "", value)
            self.key, self.is_duplicate = None, False

    def close(self) -> Tree:
        """Return what was collected."""
        return tuple(self.items) if self.mapping is None else self.mapping


@final
class Builder:
    """Turns events into a document.

    Args:
        document: Is filled.
    """

    __slots__ = ("document", "documents", "nodes", "source", "stack")

    def __init__(self, document: Document) -> None:
        self.document = document
        self.source = document.source
        self.stack: list[_Frame] = []
        self.nodes = 0
        self.documents = 0

    def run(self, text: str) -> None:
        """Read all events.

        Raises:
            UnreadableError: Syntax error, or a bound is broken.
        """
        try:
            for event in yaml.parse(text, Loader=yaml.CSafeLoader):
                self._take(event)
        except yaml.MarkedYAMLError as fault:
            mark = self._where(fault)
            said = fault.problem or "unreadable"
            mend = next((mend for part, mend in SYNTAX_MENDS if part in said), "mend the YAML syntax here")
            context = f" ({fault.context})" if fault.context else ""
            raise UnreadableError(self.source.problem(mark, f"not YAML: {said}{context}", mend)) from fault
        except yaml.YAMLError as fault:
            raise UnreadableError(self.source.problem(NOWHERE, "not YAML", "mend the YAML syntax")) from fault

    def _where(self, fault: yaml.MarkedYAMLError) -> Mark:
        """Point at the fault, or, where it is the file's end, at what was never closed."""
        lines = self.source.lines
        for place in (fault.problem_mark, fault.context_mark):
            if place is not None and any(lines[place.line :]):
                return Mark(place.line + 1, place.column + 1, place.column + 2)
        return Mark(len(lines), 1, 2)

    def _take(self, event: yaml.Event) -> None:
        if isinstance(event, yaml.NodeEvent):
            self._count(event)
        match event:
            case yaml.DocumentStartEvent():
                self.documents += 1
                if self.documents > 1:
                    problem = self.source.problem(
                        _mark(event), "a second document", "keep one document per file"
                    )
                    raise UnreadableError(problem)
            case yaml.AliasEvent():
                self._refuse(event, f"alias *{event.anchor}", "write the value itself: aliases are not taken")
            case yaml.ScalarEvent():
                self._scalar(event)
            case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                self._open(event)
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                self._add(self.stack.pop().close())
            case _:
                pass

    def _count(self, event: yaml.NodeEvent) -> None:
        self.nodes += 1
        if self.nodes > MAX_NODES:
            message = f"more than {MAX_NODES} nodes"
            raise UnreadableError(self.source.problem(_mark(event), message, "make the file smaller"))

    def _open(self, event: yaml.CollectionStartEvent) -> None:
        if len(self.stack) >= MAX_DEPTH:
            message = f"nested deeper than {MAX_DEPTH} levels"
            raise UnreadableError(self.source.problem(_mark(event), message, "flatten it"))
        if self._waits_for_key():
            message = "a key that is no text"
            raise UnreadableError(self.source.problem(_mark(event), message, "write a plain word as the key"))
        path = self._next()
        self._check_node(event, path)
        self.source.values[path] = _mark(event)
        self.stack.append(_Frame(path, is_mapping=isinstance(event, yaml.MappingStartEvent)))

    def _scalar(self, event: yaml.ScalarEvent) -> None:
        if self._waits_for_key():
            self._key(event)
            return
        path = self._next()
        self.source.values[path] = _mark(event)
        self._check_node(event, path)
        self._add(self._resolve(event, path))

    def _key(self, event: yaml.ScalarEvent) -> None:
        frame = self.stack[-1]
        frame.key = event.value
        path = frame.child()
        self._check_node(event, path)
        if event.value == "<<" and event.implicit[0]:
            self._report(event, path, "merge key <<", "write the keys themselves: merging is not taken")
        elif event.value in frame.seen:
            first = self.source.keys[path].line
            message = f"key `{event.value}` stands twice in this mapping, first in line {first}"
            self.document.problems.append(self.source.problem(_mark(event), message, "remove one of the two"))
            frame.is_duplicate = True
            return
        frame.seen.add(event.value)
        self.source.keys[path] = _mark(event)

    def _resolve(self, event: yaml.ScalarEvent, path: Path) -> Tree:
        text: str = event.value
        if not event.implicit[0]:  # quoted
            return text
        value, wrong = resolve(text)
        if wrong is not None:
            self._report(event, path, *wrong)
        return value

    def _check_node(self, event: yaml.NodeEvent, path: Path) -> None:
        if event.anchor is not None:
            message = f"anchor &{event.anchor}"
            self._report(event, path, message, "remove the anchor: aliases are not taken")
        tag = getattr(event, "tag", None)
        if tag is not None:
            self._report(
                event, path, f"tag {tag}", "remove the tag: quotes make a text, nothing else is needed"
            )

    def _refuse(self, event: yaml.NodeEvent, message: str, mend: str) -> None:
        if self._waits_for_key():
            raise UnreadableError(self.source.problem(_mark(event), message, mend))
        path = self._next()
        self.source.values[path] = _mark(event)
        self._report(event, path, message, mend)
        self._add(None)

    def _report(self, event: yaml.NodeEvent, path: Path, message: str, mend: str) -> None:
        self.document.broken.add(path)
        self.document.problems.append(self.source.problem(_mark(event), message, mend))

    def _waits_for_key(self) -> bool:
        return bool(self.stack) and self.stack[-1].mapping is not None and self.stack[-1].key is None

    def _next(self) -> Path:
        return self.stack[-1].child() if self.stack else ()

    def _add(self, value: Tree) -> None:
        if self.stack:
            self.stack[-1].add(value)
        else:
            self.document.tree = value


def _mark(event: yaml.Event) -> Mark:
    start, end = event.start_mark, event.end_mark
    if start is None or end is None:
        raise AssertionError("the C parser marks every event")
    if isinstance(event, yaml.CollectionStartEvent) or end.line != start.line:
        return Mark(start.line + 1, start.column + 1, start.column + 2)
    return Mark(start.line + 1, start.column + 1, max(end.column, start.column + 1) + 1)

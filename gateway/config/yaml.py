"""YAML as a small, strict language: every construct that surprises is refused, with its place.

Reads the event stream of PyYAML's C parser, so that bounds hold while the file is read and an alias
is never followed. Plain scalars mean what YAML 1.2's core schema says, minus the spellings that YAML
1.1 reads differently. Never makes an object of any other kind than None, bool, int, float, str, tuple
and dict.
"""

from __future__ import annotations

import re
from typing import Final

from gateway.config.builder import Builder
from gateway.config.document import Document, UnreadableError
from gateway.config.source import NOWHERE, Mark, Source

MAX_BYTES: Final = 1024 * 1024  # a configuration of 1,000 routes has 600 KiB
CONTROLS: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\x80-\x84\x86-\x9f\ufffe\uffff\ufeff]")


def parse(data: bytes, file: str) -> Document:
    """Read a configuration file's bytes.

    Args:
        data: The content; nothing about it is trusted.
        file: Path to show in problems.

    Returns:
        The document; its problems say what was refused.
    """
    document = Document(Source(file))
    try:
        text = _decode(data, document)
        document.source = Source(file, text)
        _check_characters(text, document.source)
        Builder(document).run(text)
    except UnreadableError as unreadable:
        document.tree = None
        document.broken.add(())
        document.problems.append(unreadable.problem)
    return document


def _decode(data: bytes, document: Document) -> str:
    if len(data) > MAX_BYTES:
        message = f"the file has {len(data)} bytes, more than {MAX_BYTES}"
        raise UnreadableError(document.source.problem(NOWHERE, message, "make it smaller"))
    try:
        return data.decode()
    except UnicodeDecodeError as fault:
        before = data[: fault.start].decode()
        source = document.source = Source(document.source.file, data.decode(errors="replace"))
        mark = _place(before)
        message = f"byte 0x{data[fault.start]:02x} is not valid UTF-8"
        raise UnreadableError(source.problem(mark, message, "save the file as UTF-8")) from fault


def _check_characters(text: str, source: Source) -> None:
    found = CONTROLS.search(text, 1 if text.startswith("\ufeff") else 0)
    if found is not None:
        mark = _place(text[: found.start()])
        message = f"control character U+{ord(found[0]):04X}"
        raise UnreadableError(source.problem(mark, message, "remove the character"))


def _place(before: str) -> Mark:
    lines = Source("", before).lines
    column = len(lines[-1]) + 1
    return Mark(len(lines), column, column + 1)

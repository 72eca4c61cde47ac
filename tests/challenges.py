"""A strict reader of `WWW-Authenticate`, by the grammar of RFC 9110, section 11.6.1."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
QUOTED = r'"(?:[\t \x21\x23-\x5b\x5d-\x7e]|\\[\t \x21-\x7e])*"'
PARAMETER = re.compile(rf"({TOKEN})[ \t]*=[ \t]*({TOKEN}|{QUOTED})")
SCHEME = re.compile(rf"({TOKEN})(?: +(?={TOKEN}[ \t]*=)|(?=[ \t]*(?:,|\Z)))")
COMMA = re.compile(r"[ \t]*,[ \t]*")
DESCRIPTION = re.compile(r"[\x20\x21\x23-\x5b\x5d-\x7e]+")  # RFC 6750, section 3


class Challenge(NamedTuple):
    """One challenge: its scheme as written, and its parameters."""

    scheme: str
    parameters: dict[str, str]


def parse(value: str) -> list[Challenge]:
    """Parse one field value, which may be a list of challenges.

    Raises:
        ValueError: It is no list of challenges, or a parameter stands twice in one.
    """
    found: list[Challenge] = []
    position = 0
    while True:
        parameter = PARAMETER.match(value, position) if found else None
        if parameter is not None:
            name, text = parameter[1].lower(), parameter[2]
            if name in found[-1].parameters:
                raise ValueError(f"{name} stands twice: {value}")
            if text[0] == '"':
                text = re.sub(r"\\(.)", r"\1", text[1:-1])
            found[-1].parameters[name] = text
            position = parameter.end()
        else:
            scheme = SCHEME.match(value, position)
            if scheme is None:
                raise ValueError(f"no challenge at {position}: {value}")
            found.append(Challenge(scheme[1], {}))
            position = scheme.end()
            if scheme[0].endswith(" "):
                continue  # its parameters follow
        if position == len(value):
            return found
        comma = COMMA.match(value, position)
        if comma is None:
            raise ValueError(f"no comma at {position}: {value}")
        position = comma.end()


def parse_all(values: Iterable[str]) -> list[Challenge]:
    """Parse all fields of one answer, and check what the RFCs demand of errors.

    Raises:
        ValueError: Bad syntax, a scheme twice, a realm that is missing, an error on more than one scheme.
    """
    challenges = [challenge for value in values for challenge in parse(value)]
    schemes = [challenge.scheme for challenge in challenges]
    if len(schemes) != len(set(schemes)):
        raise ValueError(f"a scheme stands twice: {schemes}")
    if not all(challenge.parameters.get("realm") for challenge in challenges):
        raise ValueError("a challenge has no realm")
    erring = [challenge for challenge in challenges if "error" in challenge.parameters]
    if len(erring) > 1 or erring != challenges[: len(erring)]:
        raise ValueError("an error is not on the first challenge alone")
    for challenge in challenges:
        description = challenge.parameters.get("error_description")
        if description is None:
            continue
        if "error" not in challenge.parameters or not DESCRIPTION.fullmatch(description):
            raise ValueError(f"a description that must not be: {description}")
    return challenges


def fields_of(head: bytes) -> list[tuple[str, str]]:
    """Take CRLF-terminated field lines apart."""
    lines = head.decode("ascii").split("\r\n")
    if lines.pop() != "":
        raise ValueError("the last line has no end")
    return [(name, value) for name, _, value in (line.partition(": ") for line in lines)]


def challenges_of(head: bytes) -> list[Challenge]:
    """Parse the challenges among field lines."""
    return parse_all(value for name, value in fields_of(head) if name == "WWW-Authenticate")

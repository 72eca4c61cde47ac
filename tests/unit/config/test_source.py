"""Places, and what must not be shown of them."""

from __future__ import annotations

import pytest

from gateway.config.source import NOWHERE, Mark, Source, blot, printable


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("password: hunter2", "password: *******"),
        ("{url: x, password: hunter2, timeout: 1s}", "{url: x, password: *******, timeout: 1s}"),
        ('  token: "hunter2"  # why', "  token: *********  # why"),
        ("pasword: 'hunter2", "pasword: ********"),
        ('"api_token": "hunter2"', '"api_token": *********'),
        ("client_secret: hun ter2", "client_secret: ********"),
        ("credential: hunter2", "credential: *******"),
        ("url: redis://u:hunter2@h", "url: redis://u:*******@h"),
        ("password: file:secrets/x", "password: file:secrets/x"),
        ('token: "env:TOKEN"', 'token: "env:TOKEN"'),
        ("token: {scopes: [a]}", "token: {scopes: [a]}"),
        ("token_types: [at+jwt]", "token_types: [at+jwt]"),
        ("credential: null", "credential: null"),
        ("private_key: certs/a.key", "private_key: certs/a.key"),
    ],
)
def test_literal_secrets_are_blotted_out(line: str, shown: str) -> None:
    """What stands under a key that sounds like a secret is not shown, unless it is a reference."""
    assert shown == blot(line)
    assert len(line) == len(shown)


def test_what_a_terminal_could_obey_is_not_shown() -> None:
    """Escape sequences and bidirectional overrides become spaces."""
    assert printable("a\x1b[2J\u202eb\tc") == "a [2J b c"


def test_problems_quote_their_place() -> None:
    """The text at a mark is the offending text, with message and mend printable."""
    problem = Source("f", "a: 1\r\nb: wrong").problem(Mark(2, 4, 9), "m\x1b", "n\n")

    assert (problem.text, problem.source, problem.message, problem.mend) == ("wrong", "b: wrong", "m ", "n ")


def test_a_path_that_does_not_stand_in_the_file_shows_its_nearest_ancestor() -> None:
    """A default has no place; the section that it belongs to has."""
    source = Source("f", "a: {b: 1}")
    source.values.update({(): Mark(1, 1, 2), ("a",): Mark(1, 4, 5), ("a", "b"): Mark(1, 8, 9)})
    source.keys.update({("a",): Mark(1, 1, 2), ("a", "b"): Mark(1, 5, 6)})

    assert Mark(1, 8, 9) == source.find(("a", "b"))
    assert Mark(1, 5, 6) == source.find(("a", "b"), is_key=True)
    assert Mark(1, 4, 5) == source.find(("a", "c", 0))
    assert Mark(1, 1, 2) == source.find(("z",))
    assert Source("f").find(("z",)) == NOWHERE

"""The demo's output: coloured on a terminal, plain elsewhere, never controlled by what a model says."""

from __future__ import annotations

import io

from gateway.cli.demo.screen import BOLD, Screen, printable


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(out: io.StringIO) -> str:
    """Show one of everything."""
    screen = Screen(out)
    screen.title("Part")
    screen.step("gateway", "port 1")
    screen.heads()
    screen.row("a", "b", "c", is_right=True)
    screen.row("a", "b", "c", is_right=False)
    screen.commands([("what", "command")])
    screen.line("plain")
    screen.line("loud", BOLD)
    screen.line()
    return out.getvalue()


def test_a_file_gets_plain_text() -> None:
    """No escape sequences where nobody interprets them."""
    text = shown(io.StringIO())

    assert "\x1b" not in text
    assert "✓ a" in text
    assert "✗ a" in text
    assert "\n# what\ncommand\n" in text


def test_a_terminal_gets_colours() -> None:
    """Ticks, titles and explanations stand out."""
    assert "\x1b[1mloud\x1b[0m" in shown(Terminal())


def test_what_a_model_says_cannot_move_the_cursor() -> None:
    """Escape sequences in an answer are shown as question marks; line ends stay."""
    out = Terminal()
    Screen(out).write("a\x1b[2Jb\nc\u202e")

    assert "a?[2Jb\nc?" == out.getvalue()
    assert "é\n" == printable("é\n")

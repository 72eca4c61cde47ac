"""Reports that a person likes to read."""

from __future__ import annotations

from gateway.config.errors import ConfigurationError, Problem


def problem(line: int, column: int, message: str = "wrong") -> Problem:
    """Make a problem in a line `  drain: 5 sec`."""
    return Problem(
        "g.yaml", line, column, "5 sec", message, "write it like `30s`", "  drain: 5 sec" if line else ""
    )


def test_a_problem_shows_place_line_caret_and_mend() -> None:
    """The caret stands under the offending text, as wide as it is."""
    expected = (
        "g.yaml:4:10: wrong\n"
        "    4 |   drain: 5 sec\n"
        "      |          ^^^^^\n"
        "      = mend: write it like `30s`"
    )

    assert expected == str(problem(4, 10))


def test_a_problem_without_a_place_shows_the_file_alone() -> None:
    """A file that cannot be read has no lines."""
    assert str(problem(0, 0)) == "g.yaml: wrong\n      = mend: write it like `30s`"


def test_the_caret_never_runs_past_the_line() -> None:
    """A text that is longer than the rest of its line is underlined to the end of the line."""
    long = Problem("f", 1, 3, "x" * 50, "m", "n", "ab")

    assert str(long).splitlines()[2] == "      |   ^"


def test_the_report_is_in_the_order_of_the_file_and_counts() -> None:
    """Line and column decide; the last line says how many."""
    error = ConfigurationError([problem(9, 1, "c"), problem(2, 7, "b"), problem(2, 1, "a")])

    assert [each.message for each in error.problems] == ["a", "b", "c"]
    assert str(error).endswith("\n\n3 problems; nothing was started")
    assert str(ConfigurationError([problem(1, 1)])).endswith("\n\n1 problem; nothing was started")

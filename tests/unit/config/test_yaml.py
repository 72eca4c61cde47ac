"""The reader of YAML: what it takes, what it refuses, and where."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.builder import MAX_DEPTH, MAX_NODES
from gateway.config.yaml import MAX_BYTES, parse

TREES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**17), 10**17)
    | st.text(st.characters(codec="utf-8", exclude_categories=["C"]), max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.from_regex(r"[a-z]{1,8}", fullmatch=True), inner, max_size=4)
    ),
    max_leaves=20,
)


def frozen(tree: object) -> object:
    """Turn lists into tuples, as the reader does."""
    if isinstance(tree, list):
        return tuple(frozen(value) for value in tree)
    return {key: frozen(value) for key, value in tree.items()} if isinstance(tree, dict) else tree


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1", {"a": 1}),
        ("a: [1, 2.5, -3, +4, 1e3, .5]", {"a": (1, 2.5, -3, 4, 1000.0, 0.5)}),
        (
            "a: {b: true, c: false, d: null, e: ~, f: }",
            {"a": {"b": True, "c": False, "d": None, "e": None, "f": None}},
        ),
        ("a: [yes, no, on, off, y, n]", {"a": ("yes", "no", "on", "off", "y", "n")}),
        ("a: 1:30:45", {"a": "1:30:45"}),
        ("a: 2026-11-23", {"a": "2026-11-23"}),
        ("a: 1e999", {"a": "1e999"}),
        ('a: ["1", \'true\', "null"]', {"a": ("1", "true", "null")}),
        ("a: |\n  one\n  two\n", {"a": "one\ntwo\n"}),
        ("yes: 1\n2: 3\n", {"yes": 1, "2": 3}),
        ("\ufeffa: 1", {"a": 1}),
        ("", None),
        ("# nothing\n", None),
        ("- 1\n- 2\n", (1, 2)),
        ("text", "text"),
    ],
)
def test_plain_scalars_mean_what_yaml_1_2_says(text: str, expected: object) -> None:
    """Booleans are true and false alone; times, dates and yes are texts; numbers are decimal."""
    document = parse(text.encode(), "f")

    assert (expected, []) == (document.tree, document.problems)


@pytest.mark.parametrize(
    ("text", "place", "offending", "message"),
    [
        (b"a: 1\nb: 2\na: 3\n", (3, 1), "a", "key `a` stands twice in this mapping, first in line 1"),
        (b"a: {x: 1, x: {y: [2]}}\n", (1, 11), "x", "key `x` stands twice in this mapping, first in line 1"),
        (b"a: &x [1]\n", (1, 4), "&", "anchor &x"),
        (b"a: &x 1\nb: *x\n", (1, 4), "&x 1", "anchor &x"),
        (b"a: !!str 1\n", (1, 4), "!!str 1", "tag tag:yaml.org,2002:str"),
        (b"a: !!python/object:os.system {}\n", (1, 4), "!", "tag tag:yaml.org,2002:python/object:os.system"),
        (b"!t a: 1\n", (1, 1), "!t a", "tag !t"),
        (b"<<: {a: 1}\n", (1, 1), "<<", "merge key <<"),
        (b"a: True\n", (1, 4), "True", "True reads differently in YAML 1.1 and 1.2"),
        (b"a: NULL\n", (1, 4), "NULL", "NULL reads differently in YAML 1.1 and 1.2"),
        (b"a: 010\n", (1, 4), "010", "010 reads differently in YAML 1.1 and 1.2"),
        (b"a: 0x1F\n", (1, 4), "0x1F", "0x1F reads differently in YAML 1.1 and 1.2"),
        (b"a: 1_000\n", (1, 4), "1_000", "1_000 reads differently in YAML 1.1 and 1.2"),
        (b"a: .nan\n", (1, 4), ".nan", ".nan reads differently in YAML 1.1 and 1.2"),
        (b"a: -.inf\n", (1, 4), "-.inf", "-.inf reads differently in YAML 1.1 and 1.2"),
        (b"a: 99999999999999999999\n", (1, 4), "9" * 20, "9" * 20 + " reads differently in YAML 1.1 and 1.2"),
        (b"a: *x\n", (1, 4), "*x", "alias *x"),
        (b"*x : 1\n", (1, 1), "*x", "alias *x"),
        (b"? [1]\n: 2\n", (1, 3), "[", "a key that is no text"),
        (b"a: 1\n---\nb: 2\n", (2, 1), "---", "a second document"),
        (b"a: b: c\n", (1, 5), ":", "not YAML: mapping values are not allowed in this context"),
        (
            b"\ta: 1\n",
            (1, 1),
            " ",
            "not YAML: found character that cannot start any token (while scanning for the next token)",
        ),
        (
            b"a: [1, 2\n",
            (1, 4),
            "[",
            "not YAML: did not find expected ',' or ']' (while parsing a flow sequence)",
        ),
        (
            b"a: 'x\n",
            (1, 4),
            "'",
            "not YAML: found unexpected end of stream (while scanning a quoted scalar)",
        ),
        (
            b"a:\n  b: 1\n c: 2\n",
            (3, 2),
            "c",
            "not YAML: did not find expected key (while parsing a block mapping)",
        ),
        (b"{", (1, 1), "{", "not YAML: did not find expected node content (while parsing a flow node)"),
        (b"a: \xff\n", (1, 4), "\ufffd", "byte 0xff is not valid UTF-8"),
        ("é: \x1b[2J".encode(), (1, 4), " ", "control character U+001B"),
        (b"\xff\xfea\x00", (1, 1), "\ufffd", "byte 0xff is not valid UTF-8"),
    ],
)
def test_what_surprises_is_refused_where_it_stands(
    text: bytes, place: tuple[int, int], offending: str, message: str
) -> None:
    """Duplicates, anchors, tags, lookalikes and syntax errors are shown with line, column and text."""
    problem = parse(text, "f").problems[0]

    assert (place, offending, message) == ((problem.line, problem.column), problem.text, problem.message)
    assert problem.mend


def test_reading_goes_on_after_what_is_no_syntax_error() -> None:
    """All problems of a file are found at once."""
    document = parse(b"a: &x 010\nb: [*x, True]\nc: 1\nc: 2\nd: !t {e: 1}\n", "f")

    assert [problem.line for problem in document.problems] == [1, 1, 2, 2, 4, 5]
    assert {("a",), ("b", 0), ("b", 1), ("d",)} == document.broken


def test_a_duplicate_key_does_not_touch_the_first_ones_value_or_place() -> None:
    """The first value stays, and so does its place."""
    document = parse(b"a: {b: 1}\na: {b: 2}\n", "f")

    assert document.tree == {"a": {"b": 1}}
    assert document.source.find(("a", "b")).line == 1


def test_an_alias_bomb_costs_nothing() -> None:
    """Aliases are refused before they are followed: nine lines do not become a billion."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]

    document = parse("\n".join(lines).encode(), "f")

    assert len(document.problems) == 9 + 8 * 9
    assert document.tree["a8"] == (None,) * 9  # type: ignore[index, call-overload]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100_000, f"nested deeper than {MAX_DEPTH} levels"),
        ("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), f"nested deeper than {MAX_DEPTH} levels"),
        ("[" + "1," * MAX_NODES + "1]", f"more than {MAX_NODES} nodes"),
        ("#" * (MAX_BYTES + 1), f"the file has {MAX_BYTES + 1} bytes, more than {MAX_BYTES}"),
    ],
)
def test_bounds_end_the_reading(text: str, message: str) -> None:
    """Depth, nodes and size are bounded; nothing of a file that breaks a bound is used."""
    document = parse(text.encode(), "f")

    assert [message] == [problem.message for problem in document.problems]
    assert (None, {()}) == (document.tree, document.broken)


def test_the_deepest_allowed_nesting_is_read() -> None:
    """The bound itself is allowed."""
    assert parse(("[" * MAX_DEPTH + "]" * MAX_DEPTH).encode(), "f").problems == []


def test_carriage_returns_and_tabs_between_are_no_problem() -> None:
    """Files from other systems are read, and places are counted as editors count them."""
    document = parse(b"a: 1\r\nb:\t2\r\nc: 010\r\n", "f")

    assert [(problem.line, problem.column) for problem in document.problems] == [(3, 4)]


@given(TREES)
def test_json_is_read_as_what_it_says(tree: object) -> None:
    """YAML is a superset of JSON: any tree that is written as JSON is read back."""
    document = parse(msgspec.json.encode(tree), "f")

    assert (frozen(tree), []) == (document.tree, document.problems)


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode(errors="surrogatepass")))
def test_any_bytes_give_a_document(data: bytes) -> None:
    """Nothing that a file may hold makes the reader raise; what it cannot read is a problem."""
    document = parse(data, "f")

    assert all(problem.message and problem.mend for problem in document.problems)
    assert all(problem.line <= len(document.source.lines) for problem in document.problems)
    assert all(str(problem).replace("\n", " ").isprintable() for problem in document.problems)

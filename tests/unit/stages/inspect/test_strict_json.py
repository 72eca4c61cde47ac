"""Invariant: what is accepted has exactly one reading, and the canonical bytes have the same one."""

from __future__ import annotations

import json
import math
from base64 import b64decode
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.core.refusal import Reason, Refusal
from gateway.stages.inspect.strict_json import MAX_DEPTH, MAX_INTEGER, parse
from tests.unit.stages.inspect.doubles import reason

SUITE = {
    name: b64decode(text)
    for name, text in json.loads(Path(__file__).with_name("json_test_suite.json").read_bytes())[
        "base64"
    ].items()
} | {
    "n_structure_100000_opening_arrays.json": b"[" * 100_000,
    "n_structure_open_array_object.json": b'[{"":' * 50_000 + b"\n",
}
"""JSONTestSuite's documents by their names."""

# JSONTestSuite leaves these to the implementation. This is what we decided.
DECIDED = {
    "i_number_double_huge_neg_exp.json": None,  # underflow to zero is the nearest number
    "i_number_huge_exp.json": Reason.JSON_NUMBER,
    "i_number_neg_int_huge_exp.json": Reason.JSON_NUMBER,
    "i_number_pos_double_huge_exp.json": Reason.JSON_NUMBER,
    "i_number_real_neg_overflow.json": Reason.JSON_NUMBER,
    "i_number_real_pos_overflow.json": Reason.JSON_NUMBER,
    "i_number_real_underflow.json": None,
    "i_number_too_big_neg_int.json": Reason.JSON_NUMBER,
    "i_number_too_big_pos_int.json": Reason.JSON_NUMBER,
    "i_number_very_big_negative_int.json": Reason.JSON_NUMBER,
    "i_object_key_lone_2nd_surrogate.json": Reason.JSON_INVALID,
    "i_string_1st_surrogate_but_2nd_missing.json": Reason.JSON_INVALID,
    "i_string_1st_valid_surrogate_2nd_invalid.json": Reason.JSON_INVALID,
    "i_string_UTF-16LE_with_BOM.json": Reason.JSON_INVALID,
    "i_string_UTF-8_invalid_sequence.json": Reason.JSON_INVALID,
    "i_string_UTF8_surrogate_U+D800.json": Reason.JSON_INVALID,
    "i_string_incomplete_surrogate_and_escape_valid.json": Reason.JSON_INVALID,
    "i_string_incomplete_surrogate_pair.json": Reason.JSON_INVALID,
    "i_string_incomplete_surrogates_escape_valid.json": Reason.JSON_INVALID,
    "i_string_invalid_lonely_surrogate.json": Reason.JSON_INVALID,
    "i_string_invalid_surrogate.json": Reason.JSON_INVALID,
    "i_string_invalid_utf-8.json": Reason.JSON_INVALID,
    "i_string_inverted_surrogates_U+1D11E.json": Reason.JSON_INVALID,
    "i_string_iso_latin_1.json": Reason.JSON_INVALID,
    "i_string_lone_second_surrogate.json": Reason.JSON_INVALID,
    "i_string_lone_utf8_continuation_byte.json": Reason.JSON_INVALID,
    "i_string_not_in_unicode_range.json": Reason.JSON_INVALID,
    "i_string_overlong_sequence_2_bytes.json": Reason.JSON_INVALID,
    "i_string_overlong_sequence_6_bytes.json": Reason.JSON_INVALID,
    "i_string_overlong_sequence_6_bytes_null.json": Reason.JSON_INVALID,
    "i_string_truncated-utf-8.json": Reason.JSON_INVALID,
    "i_string_utf16BE_no_BOM.json": Reason.JSON_INVALID,
    "i_string_utf16LE_no_BOM.json": Reason.JSON_INVALID,
    "i_structure_500_nested_arrays.json": Reason.JSON_TOO_DEEP,
    "i_structure_UTF-8_BOM_empty_object.json": Reason.JSON_INVALID,
}
# The suite calls these valid, as RFC 8259 does; RFC 7493 does not allow equal names.
DUPLICATES = {"y_object_duplicated_key.json", "y_object_duplicated_key_and_value.json"}


def files(prefix: str) -> list[str]:
    """List the documents of the suite whose verdict is `prefix`."""
    return sorted(name for name in SUITE if name.startswith(f"{prefix}_"))


@pytest.mark.parametrize("name", files("n"))
def test_refuses_what_is_not_json(name: str) -> None:
    """Every document that JSONTestSuite calls invalid is refused."""
    verdict = parse(SUITE[name])

    assert isinstance(verdict, Refusal)
    assert verdict.reason in {Reason.JSON_INVALID, Reason.JSON_TOO_DEEP}


@pytest.mark.parametrize("name", files("y"))
def test_accepts_what_is_json(name: str) -> None:
    """Every valid document passes and keeps its meaning, apart from duplicate names."""
    body = SUITE[name]
    verdict = parse(body)

    if name in DUPLICATES:
        assert Reason.JSON_DUPLICATE_KEY is reason(verdict)
    else:
        assert isinstance(verdict, tuple)
        assert json.loads(body) == json.loads(verdict[1])


@pytest.mark.parametrize("name", files("i"))
def test_decides_what_is_left_open(name: str) -> None:
    """What the suite leaves open is decided, case by case, in a table."""
    assert DECIDED[name] is reason(parse(SUITE[name]))


def test_knows_the_whole_suite() -> None:
    """All of it is there, and no decision is about a document that is not."""
    assert sorted(DECIDED) == files("i")
    assert (188, 95) == (len(files("n")), len(files("y")))


def no_constant(name: str) -> object:
    """Refuse NaN and Infinity."""
    raise ValueError(name)


def depth_of(value: object) -> int:
    """Count containers in one another."""
    return 1 + max(map(depth_of, value), default=0) if isinstance(value, list) else 0


def numbers_in(value: object) -> list[int | float]:
    """Collect all numbers."""
    if isinstance(value, list):
        return [number for item in value for number in numbers_in(item)]
    return [value] if isinstance(value, int | float) and not isinstance(value, bool) else []


def reference(body: bytes, depth: int) -> set[Reason | None]:
    """Say slowly and by other means which verdicts are right; several faults allow several."""
    wrong: set[Reason | None] = set()

    def keep_all(members: list[tuple[str, object]]) -> list[object]:
        """Turn an object into the list of all its names and values, equal names included."""
        if len(dict(members)) != len(members):
            wrong.add(Reason.JSON_DUPLICATE_KEY)
        return [part for member in members for part in member]

    try:
        document = json.loads(body.decode(), parse_constant=no_constant, object_pairs_hook=keep_all)
        json.dumps(document, ensure_ascii=False).encode()  # lone surrogates have no bytes
    except ValueError:  # not UTF-8, not JSON, NaN
        return {Reason.JSON_INVALID}
    if depth_of(document) > depth:
        wrong.add(Reason.JSON_TOO_DEEP)
    for number in numbers_in(document):
        if isinstance(number, int) and abs(number) > MAX_INTEGER:
            wrong.add(Reason.JSON_NUMBER)
        if isinstance(number, float) and math.isinf(number):
            wrong.add(Reason.JSON_NUMBER)
    return wrong or {None}


# Strings in every disguise: plain, \u-escaped, with quotes and backslashes that fool a counter.
PIECES = st.sampled_from(
    [
        "a",
        "b",
        "é",
        "\\u0061",
        "\\u0022",
        '\\"',
        "\\\\",
        "\\\\u0022",
        "\\\\\\u0022",
        "\\/",
        "\\n",
        "\\ud83d\\ude00",
        "9" * 20,
        "[",
        "{",
    ]
)
STRINGS = st.lists(PIECES, max_size=4).map(lambda pieces: '"' + "".join(pieces) + '"')
NUMBERS = st.one_of(
    st.integers(-(2**70), 2**70).map(str),
    st.sampled_from([str(MAX_INTEGER), str(MAX_INTEGER + 1), str(-MAX_INTEGER), str(-MAX_INTEGER - 1)]),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.sampled_from(
        [
            "1e5",
            "1.0",
            "-0",
            "-0.0",
            "1e999",
            "-1E400",
            "1e-999",
            "0.12345678901234567890",
            "12345678901234567890.5",
        ]
    ),
)
SPACE = st.sampled_from(["", " ", "\n\t"])


def arrays(items: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Write arrays."""
    return st.tuples(st.lists(items, max_size=4), SPACE).map(lambda t: "[" + ("," + t[1]).join(t[0]) + "]")


def objects(items: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Write objects, in which names may come twice."""
    member = st.tuples(STRINGS, SPACE, items).map(lambda t: f"{t[0]}{t[1]}:{t[2]}")
    return st.tuples(st.lists(member, max_size=4), SPACE).map(lambda t: "{" + ("," + t[1]).join(t[0]) + "}")


TEXTS = st.recursive(
    st.one_of(STRINGS, NUMBERS, st.sampled_from(["true", "false", "null"])),
    lambda items: st.one_of(arrays(items), objects(items)),
    max_leaves=12,
)


@given(TEXTS)
@example('{"a":1,"\\u0061":2}')
@example('{"a":1e999,"a":1}')
@example('{"a":[[[[1]]]],"a":1}')
@example('{"\\u0022":1,"\\"":2}')
@example('{"a":"\\u0022\\u0022","b":1,"b":2}')
@example('{"\\\\u0022":1,"\\\\\\u0022":2}')
def test_agrees_with_a_slow_reference(text: str) -> None:
    """The counting arguments come to the same verdict as a parser that looks at everything."""
    body = text.encode()
    verdict = parse(body, depth=3)

    assert reason(verdict) in reference(body, 3)
    if isinstance(verdict, tuple):
        document, canonical = verdict
        assert json.loads(text) == document
        assert json.loads(text) == json.loads(canonical)
        assert list(parse(canonical, depth=3)) == [document, canonical]


@given(st.binary(max_size=40))
def test_never_fails_on_bytes(body: bytes) -> None:
    """Any bytes get a verdict: the same as the reference's, never an exception."""
    assert reason(parse(body)) in reference(body, MAX_DEPTH)


@given(st.text(min_size=1, max_size=3), st.integers(1, 6))
def test_refuses_a_name_in_any_second_spelling(name: str, cut: int) -> None:
    """A name written plainly and the same name in escapes are equal."""
    try:
        plain = json.dumps(name, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return  # a lone surrogate has no bytes
    units = name.encode("utf-16-be").hex(",", 2).split(",")
    escaped = "".join(f"\\u{unit}" for unit in units)
    body = b'{"x":[{' + plain + b":1," + b" " * cut + f'"{escaped}"'.encode() + b":2}]}"

    assert Reason.JSON_DUPLICATE_KEY is reason(parse(body))


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", Reason.JSON_INVALID),
        (b" \r\n\t", Reason.JSON_INVALID),
        (b"\xef\xbb\xbf{}", Reason.JSON_INVALID),
        ("{}".encode("utf-16"), Reason.JSON_INVALID),
        (b"{}\x00", Reason.JSON_INVALID),
        (b"{}{}", Reason.JSON_INVALID),
        (b"NaN", Reason.JSON_INVALID),
        (b"[Infinity]", Reason.JSON_INVALID),
        (b'"\xed\xa0\x80"', Reason.JSON_INVALID),
        (b'"\xc0\xaf"', Reason.JSON_INVALID),
        (b"{'a':1}", Reason.JSON_INVALID),
        (b"[1,]", Reason.JSON_INVALID),
        (b"/**/1", Reason.JSON_INVALID),
        (b"1" * 5000, Reason.JSON_NUMBER),
        (b"[1e999]", Reason.JSON_NUMBER),
        (b"[9007199254740992]", Reason.JSON_NUMBER),
        (b'{"a":{"b":-9007199254740992}}', Reason.JSON_NUMBER),
        (b'{"model":"a","model":"b"}', Reason.JSON_DUPLICATE_KEY),
        (b'{"model":"a","mod\\u0065l":"b"}', Reason.JSON_DUPLICATE_KEY),
        (b'[{"a":1,"a":1}]', Reason.JSON_DUPLICATE_KEY),
        (b"[9007199254740991,-9007199254740991]", None),
        (b'{"phone":"00491234567890123456"}', None),
        (b"7", None),
    ],
)
def test_decides_by_the_letter(body: bytes, expected: Reason | None) -> None:
    """The corner cases that gateways and servers read differently."""
    assert expected is reason(parse(body))


def test_names_an_empty_body() -> None:
    """No body at all is told apart from a broken one, in words."""
    verdict = parse(b"")

    assert isinstance(verdict, Refusal)
    assert verdict.detail == "The body is empty; a JSON document is required."


@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_bounds_the_depth_exactly(opening: bytes, closing: bytes) -> None:
    """The bound itself passes, one more does not, and no depth is an exception."""
    at = opening * MAX_DEPTH + b"1" + closing * MAX_DEPTH
    over = opening * (MAX_DEPTH + 1) + b"1" + closing * (MAX_DEPTH + 1)

    assert reason(parse(at)) is None
    assert Reason.JSON_TOO_DEEP is reason(parse(over))
    assert Reason.JSON_TOO_DEEP is reason(parse(opening * 100_000 + b"1" + closing * 100_000))


def test_lets_wide_documents_pass() -> None:
    """Many brackets side by side are not depth."""
    body = b"[" + b",".join([b"[{}]"] * 500) + b"]"

    assert reason(parse(body)) is None


@pytest.mark.parametrize(
    ("body", "canonical"),
    [
        (b' { "b" : 1.0 , "a" : [ 1e5 , -0.0 ] } ', b'{"b":1.0,"a":[100000.0,-0.0]}'),
        (b'"\\u00e9\\/\\u0022"', '"é/\\""'.encode()),
    ],
)
def test_reserialises_without_change_of_meaning(body: bytes, canonical: bytes) -> None:
    """Order, kind of number and text stay; white space and spelling are ours."""
    verdict = parse(body)

    assert isinstance(verdict, tuple)
    assert canonical == verdict[1]


@pytest.mark.parametrize("sign", [b"", b"-"])
@pytest.mark.parametrize("pad", range(17))
def test_a_long_number_is_found_wherever_it_stands(pad: int, sign: bytes) -> None:
    """Sixteen digits cover two neighbours of every eighth byte, at every place."""
    verdict = parse(b'{"a":"%b","n":%b9007199254740992}' % (b"x" * pad, sign))

    assert isinstance(verdict, Refusal)
    assert verdict.reason is Reason.JSON_NUMBER

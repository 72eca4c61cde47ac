"""The scanner: what is read, and what may not be written."""

from __future__ import annotations

import pytest

from gateway.stages.authorize.attributes import BY_NAME, ROOTS
from gateway.stages.authorize.expressions import ConditionError, position, scan


@pytest.mark.parametrize(
    ("text", "reads", "tests"),
    [
        ("true", set(), set()),
        ("request.n == 1", {"request.n"}, set()),
        ("request . n == 1", {"request.n"}, set()),
        ("request//x\n.n == 1 // request.model", {"request.n"}, set()),
        ("identity.claims.team.name == 'x'", {"identity.claims"}, set()),
        ("identity.claims['a.b'] == 'x'", {"identity.claims"}, set()),
        ("'request.n' == \"request.model\"", set(), set()),
        ("r'\\' == '\\'request.n'", set(), set()),
        ("'''a'request.n'''  == b'x'", set(), set()),
        ('"""a\\"""request.n""" == r"""x"""', set(), set()),
        ("has(request.n)", set(), {"request.n"}),
        ("!has( request . n ) || request.n < 1.5", {"request.n"}, {"request.n"}),
        ("has(identity.claims)", set(), {"identity.claims"}),
        ("has(identity.claims.team)", {"identity.claims"}, set()),
        ("now.getHours('UTC') == 1", {"now"}, set()),
        ("identity.roles.exists(r, r == request.model)", {"identity.roles", "request.model"}, set()),
        ("[1.5, .5, 1e3].exists(x, x < risk.score)", {"risk.score"}, set()),
        ("foo.request.n", set(), set()),
        ("foo.now", set(), set()),
    ],
)
def test_attributes_are_found_wherever_they_stand(text: str, reads: set[str], tests: set[str]) -> None:
    """Values read and presences asked for; never inside of texts and comments."""
    expression = scan(text, BY_NAME, ROOTS)

    assert (reads, tests) == (set(expression.reads), set(expression.tests))


def test_asking_for_presence_keeps_every_column() -> None:
    """What is compiled is as long as what was written, so that error columns fit."""
    expression = scan("has( request.n ) &&\n request.n == 1", BY_NAME, ROOTS)

    assert expression.text == "has. request.n   &&\n request.n == 1"


@pytest.mark.parametrize(
    ("text", "column", "word"),
    [
        ("has((request.stream))", 1, "plain name"),
        ("true && has(.request.stream)", 9, "plain name"),
        ("has('x')", 1, "plain name"),
        ("has(", 1, "plain name"),
        (".request.stream", 1, "dot"),
        ("!.request.stream", 2, "dot"),
        ("'a' in .identity.roles", 8, "dot"),
        ("request.`stream`", 9, "quoted"),
        ("has.request.stream", 1, "parentheses"),
        ("[true].exists(request, request)", 15, "hides"),
        ("[true].exists((request), request.stream)", 16, "alone"),
        ("[identity].x", 2, "alone"),
        ("request == 1", 1, "alone"),
        ("[1].all( now , now == 1)", 10, "hides"),
    ],
)
def test_disguised_names_are_refused(text: str, column: int, word: str) -> None:
    """Whatever could make the scanner and the runtime see different names is no condition."""
    with pytest.raises(ConditionError, match=word) as caught:
        scan(text, BY_NAME, ROOTS)

    assert (1, column) == (caught.value.line, caught.value.column)


def test_a_position_counts_from_one() -> None:
    """Line and column as editors show them."""
    assert position("ab\ncd", 0) == (1, 1)
    assert position("ab\ncd", 4) == (2, 2)

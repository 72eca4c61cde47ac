"""Findings about rules that are valid and still wrong."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from gateway.stages.authorize import Effect, Rule, compile_condition, lint

ALLOW, DENY = Effect.ALLOW, Effect.DENY
GOOD = Rule("good", ALLOW, roles=["a"])
TEN, TEN_ONE, SIX = ip_network("10.0.0.0/8"), ip_network("10.1.0.0/16"), ip_network("2001:db8::/32")


def _when(text: str, effect: Effect = ALLOW) -> Rule:
    return Rule("w", effect, roles=["a"], when=compile_condition(text))


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ([], ["there is no allow rule: every request is refused"]),
        ([Rule("d", DENY, roles=["a"])], ["there is no allow rule: every request is refused"]),
        (
            [Rule("r", ALLOW)],
            ["rule 'r': allows everybody everything: name roles, models, networks or a condition"],
        ),
        (
            [GOOD, Rule("r", ALLOW, roles=[])],
            ["rule 'r': the list of roles is empty: the rule never applies"],
        ),
        (
            [GOOD, Rule("r", DENY, models=[])],
            ["rule 'r': the list of models is empty: the rule never applies"],
        ),
        (
            [GOOD, Rule("r", DENY, networks=[])],
            ["rule 'r': the list of networks is empty: the rule never applies"],
        ),
        (
            [Rule("r", ALLOW, models=["org/**"])],
            ["rule 'r': '**' in a model means no more than '*': a star never stands for '/'"],
        ),
        ([GOOD, _when("true")], ["rule 'w': the condition is always true"]),
        ([GOOD, _when("request.n == 1 && false")], ["rule 'w': the condition is always false"]),
        ([GOOD, _when("1 / 0 == 1", DENY)], ["rule 'w': the condition always fails"]),
        ([GOOD, Rule("good", ALLOW, roles=["b"])], ["rule 'good': the name is used twice"]),
        ([GOOD, Rule("copy", ALLOW, roles=["a"])], ["rule 'copy': says the same as rule 'good'"]),
        (
            [
                _when("request.n == 1"),
                Rule("copy", ALLOW, roles=["a"], when=compile_condition("request.n == 1")),
            ],
            ["rule 'copy': says the same as rule 'w'"],
        ),
        (
            [Rule("r", ALLOW, models=["x"], networks=[TEN]), Rule("s", ALLOW, models=["x"], networks=[TEN])],
            ["rule 's': says the same as rule 'r'"],
        ),
        ([GOOD, Rule("d", DENY)], ["rule 'good': never allows: deny rule 'd' applies wherever it does"]),
        (
            [GOOD, Rule("d", DENY, roles=["a", "b"])],
            ["rule 'good': never allows: deny rule 'd' applies wherever it does"],
        ),
        (
            [Rule("r", ALLOW, models=["xl"]), Rule("d", DENY, models=["x*"])],
            ["rule 'r': never allows: deny rule 'd' applies wherever it does"],
        ),
        (
            [Rule("r", ALLOW, networks=[TEN_ONE]), Rule("d", DENY, networks=[SIX, TEN])],
            ["rule 'r': never allows: deny rule 'd' applies wherever it does"],
        ),
        ([GOOD], []),
        ([GOOD, Rule("d", DENY, roles=["b"])], []),
        ([GOOD, Rule("d", DENY, models=["x"])], []),
        ([GOOD, Rule("d", DENY, networks=[TEN])], []),
        ([Rule("r", ALLOW, models=["*"]), Rule("d", DENY, roles=["b"])], []),
        ([Rule("r", ALLOW, models=["xl", "y"]), Rule("d", DENY, models=["x*"])], []),
        ([Rule("r", ALLOW, networks=[TEN]), Rule("d", DENY, networks=[TEN_ONE])], []),
        ([GOOD, _when("request.n == 1", DENY)], []),
        ([GOOD, _when("request.n == 1")], []),
        ([GOOD, Rule("copy", DENY, roles=["b"]), Rule("other", ALLOW, roles=["b", "c"])], []),
    ],
)
def test_findings(rules: list[Rule], expected: list[str]) -> None:
    """What default deny would hide, or what would let everybody in; nothing else."""
    assert expected == lint(rules)

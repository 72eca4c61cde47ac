"""Conditions: checked at load, three-valued at run time, never true by accident."""

from __future__ import annotations

import math
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.prompt import Prompt
from gateway.core.signals import Risk
from gateway.stages.authorize import ConditionError, compile_condition
from gateway.stages.authorize.conditions import MAX_CHARACTERS, MAX_REMEMBERED, MAX_TEXT, check_runtime

from .material import NOW, a_call, an_identity, some_facts


@pytest.mark.parametrize(
    ("text", "line", "column", "word"),
    [
        ("request.modle == 'a'", 1, 1, "did you mean 'request.model'"),
        ("true &&\n  request.max_tokns <= 5", 2, 3, "did you mean 'request.max_tokens'"),
        ("zzz == 1", 1, 1, "undeclared reference to 'zzz'$"),
        ("has(request.modle)", 1, 4, "undeclared"),
        ("request.temperature < 1", 1, 21, "decimal point"),
        ("request.model == 1", 1, 15, "no matching overload"),
        ("request.n", 1, 1, "type int"),
        ("identity.claims.admin", 1, 1, "type dyn"),
        ("true &&", 1, 8, "Syntax error"),
        ("", 1, 1, "Syntax error"),
        ("now.getHours('Europe/Brlin') == 1", 1, 14, "time zone"),
        ("true || request.model.matches('(a')", 1, 31, "regular expression"),
        ("now < timestamp('tomorrow')", 1, 17, "RFC 3339"),
        ("token.age > 5 && duration('5 parsecs') < duration('5s')", 1, 27, "duration"),
        ("now < timestamp('\\q')", 1, 17, "Syntax error"),
        ("(" * 100 + "true" + ")" * 100, 1, 1, "nested too deeply"),
        ("1+" * 100 + "1 == 1", 1, 1, "recursion"),
        ("true || " * MAX_CHARACTERS + "true", 1, 1, "characters"),
    ],
)
def test_a_mistake_is_found_when_the_condition_is_loaded(
    text: str, line: int, column: int, word: str
) -> None:
    """Every error says where it is, and how to mend it where that is known."""
    with pytest.raises(ConditionError, match=word) as caught:
        compile_condition(text)

    assert (line, column) == (caught.value.line, caught.value.column)


def test_constants_that_are_right_are_not_complained_about() -> None:
    """The trial of constants accepts what works."""
    text = (
        "now.getHours('Europe/Berlin') == 9 && 'ab'.matches('a.') && now > timestamp('2020-01-01T00:00:00Z')"
    )

    assert compile_condition(text).ask(some_facts()) is True


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("request.max_tokens <= 1024", None),
        ("has(request.max_tokens)", False),
        ("!has(request.max_tokens) || request.max_tokens <= 1024", True),
        ("request.max_tokens <= 1024 || true", True),
        ("request.max_tokens <= 1024 && false", False),
        ("has(request.stream)", True),
        ("request.stream", False),
        ("request.temperature < 2.0", None),
        ("identity.claims.team == 'ml'", True),
        ("identity.claims.team == 5", False),
        ("identity.claims.nothing == 5", None),
        ("identity.claims.team.name == 'x'", None),
        ("has(identity.claims.nothing)", False),
        ("has(identity.claims.team)", True),
        ("identity.claims.level > 3", True),
        ("identity.claims.team > 3", None),
        ("identity.client_id == 'x'", None),
        ("has(identity.client_id) && identity.client_id == 'x'", False),
        ("peer.certificate", False),
        ("peer.subject == 'CN=ada'", None),
        ("'a' in identity.roles && identity.roles[0] == 'a'", True),
        ("identity.roles[7] == 'a'", None),
        ("1 / request.tools == 1", None),
        ("1 % request.tools == 1", None),
        ("request.n + 9223372036854775807 > 0", None),
        ("request.model.matches(identity.subject + '(')", None),
        ("token.age == 60", True),
        ("token.expires_in == 600 && !token.bound", True),
        ("now.getDayOfWeek() == 5 && now.getHours() == 8", True),
        ("now == timestamp('2027-01-15T08:00:00Z')", True),
        ("auth.age < 60", None),
        ("size(auth.amr) == 0", True),
        ("route.name == 'chat' && source.address.startsWith('10.')", True),
        ("risk.score < 0.5", True),
    ],
)
def test_a_condition_is_true_false_or_cannot_be_said(text: str, expected: bool | None) -> None:
    """What is absent, missing, of the wrong type or out of range is None, however often it is asked."""
    condition = compile_condition(text)
    facts = some_facts(an_identity("b", "a", claims={"team": "ml", "level": 4.5}))

    assert expected is condition.ask(facts)
    assert expected is condition.ask(facts), "remembered"


def test_values_come_from_certificate_token_and_body_where_there_are_any() -> None:
    """The absent ones of the table above, present."""
    facts = some_facts(
        an_identity(
            client_id="app",
            spiffe_id="spiffe://e/x",
            acr="gold",
            amr=("pwd", "otp"),
            auth_time=NOW - 5.5,
            bound=True,
        ),
        Prompt("llama", stream=True, output_cap=7, choices=2, messages=3, tools=4, temperature=1, size=5),
        Risk(0.25),
        a_call(certificate=True),
    )
    text = (
        "identity.client_id == 'app' && identity.spiffe_id == 'spiffe://e/x' && auth.acr == 'gold'"
        " && auth.amr == ['pwd', 'otp'] && auth.age == 6 && token.bound && peer.certificate"
        " && peer.subject == 'CN=ada' && peer.fingerprint == 'FINGERPRINT' && request.stream"
        " && request.max_tokens == 7 && request.n == 2 && request.messages == 3 && request.tools == 4"
        " && request.temperature == 1.0 && request.size == 5 && risk.score == 0.25"
        " && request.method == 'POST' && request.path == '/v1/chat/completions' && request.model == 'llama'"
        " && identity.methods == ['jwt'] && identity.key.endsWith('ada') && identity.subject == 'ada'"
        " && identity.issuer.startsWith('https://') && identity.groups == [] && identity.scopes == []"
    )

    assert compile_condition(text).ask(facts) is True


def test_without_a_token_its_times_are_absent() -> None:
    """Nobody is fresh by lack of a token."""
    facts = some_facts(an_identity(token=None))

    assert compile_condition("token.age < 60").ask(facts) is None
    assert compile_condition("token.expires_in > 0").ask(facts) is None
    assert compile_condition("token.age < 60").ask(some_facts(an_identity(issued=0.0))) is None


@pytest.mark.parametrize(
    "claims",
    [
        {"team": "ml", "other": 2**70},
        {"team": "ml", "other": "\ud800"},
        {"team": "ml", "other": (1, 2)},
        {"team": "ml", "other": object()},
    ],
)
def test_claims_that_the_runtime_cannot_hold_make_the_condition_fail(claims: dict[str, object]) -> None:
    """A value that cannot be converted is an error even where it is not looked at."""
    assert (
        compile_condition("identity.claims.team == 'ml'").ask(some_facts(an_identity(claims=claims))) is None
    )


@pytest.mark.parametrize("is_list", [True, False])
def test_claims_nested_too_deeply_do_not_reach_the_runtime(*, is_list: bool) -> None:
    """30,000 levels would end the process: they are absent instead."""
    nested: object = "bottom"
    for _ in range(100_000):
        nested = [nested] if is_list else {"a": nested}
    identity = an_identity(claims={"team": "ml", "deep": nested})

    assert compile_condition("identity.claims.team == 'ml'").ask(some_facts(identity)) is None
    while isinstance(nested, (list, dict)):  # taken apart level by level: freeing it at once would recurse
        nested = nested.pop() if isinstance(nested, list) else nested.pop("a")


def test_claims_may_be_nested_a_little() -> None:
    """Objects and lists inside of claims can be read."""
    identity = an_identity(claims=MappingProxyType({"team": {"name": "ml", "leads": ["ada"]}}))
    condition = compile_condition("identity.claims.team.name == 'ml' && 'ada' in identity.claims.team.leads")

    assert condition.ask(some_facts(identity)) is True


def test_huge_loops_end_in_an_error() -> None:
    """The runtime's iteration budget is an error, not a verdict."""
    identity = an_identity(groups=tuple(str(number) for number in range(2000)))
    condition = compile_condition("identity.groups.all(a, identity.groups.all(b, a != 'x' || b != 'y'))")

    assert condition.ask(some_facts(identity)) is None


def test_text_that_is_no_unicode_is_an_error() -> None:
    """A lone surrogate raises inside of the runtime; it is neither true nor false here."""
    assert compile_condition("request.model != 'a'").ask(some_facts(prompt=Prompt("\ud800"))) is None


@given(st.floats())
def test_an_odd_temperature_never_passes_a_bound_it_does_not_meet(temperature: float) -> None:
    """NaN compares false, infinities compare as they should."""
    verdict = compile_condition("request.temperature <= 1.0").ask(
        some_facts(prompt=Prompt(temperature=temperature))
    )

    assert (not math.isnan(temperature) and temperature <= 1.0) is verdict


def test_the_head_decides_what_no_body_can_change() -> None:
    """`false && x` is false whatever x is; what needs the body is open."""
    facts = some_facts(an_identity("b"))

    assert compile_condition("'a' in identity.roles && request.n == 1").ask_head(facts) is False
    assert compile_condition("'b' in identity.roles || request.n == 1").ask_head(facts) is True
    assert compile_condition("'b' in identity.roles && request.n == 1").ask_head(facts) is None
    assert compile_condition("has(request.max_tokens) || 'a' in identity.roles").ask_head(facts) is None
    assert compile_condition("request.n == 1").ask_head(facts) is None
    assert compile_condition("'a' in identity.roles").ask_head(facts) is False


def test_a_condition_says_what_it_reads() -> None:
    """For explanations, and to know when it can be asked."""
    condition = compile_condition("has(request.max_tokens) && 'a' in identity.roles")

    assert {"request.max_tokens", "identity.roles"} == condition.reads
    assert condition.needs_body
    assert not compile_condition("'a' in identity.roles").needs_body


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("true", True),
        ("1 > 2", False),
        ("1 / 0 == 1", None),
        ("request.n == 1 || true", True),
        ("request.n == 1 && false", False),
        ("request.n == 1", None),
    ],
)
def test_a_constant_is_recognized(text: str, expected: bool | None) -> None:
    """A condition that no request can change."""
    condition = compile_condition(text)

    assert expected is condition.constant
    if not condition.reads:
        assert expected is condition.ask(some_facts())


def test_equal_looking_claims_of_two_tokens_are_two_keys() -> None:
    """Verdicts on claims are remembered per claims object, never by what it happens to equal."""
    condition = compile_condition("identity.claims.level == 1")
    one, other = an_identity(claims={"level": 1}), an_identity(claims={"level": True})

    assert condition.ask(some_facts(one)) is True
    assert condition.ask(some_facts(other)) is False
    assert condition.ask(some_facts(one)) is True
    assert len(condition._at_end.remembered) == 2


def test_what_is_remembered_is_bounded_in_number_and_length() -> None:
    """Values come from the client, so neither many nor long ones grow the memory."""
    condition = compile_condition("request.model == 'a'")
    for number in range(MAX_REMEMBERED + 10):
        assert condition.ask(some_facts(prompt=Prompt(str(number)))) is False
    assert condition.ask(some_facts(prompt=Prompt("x" * (MAX_TEXT + 1)))) is False

    assert len(condition._at_end.remembered) == 10


def test_long_text_among_several_values_is_not_kept() -> None:
    """The bound holds for every part of a key."""
    condition = compile_condition("request.model == 'a' || request.n == 1")

    assert condition.ask(some_facts(prompt=Prompt("x" * (MAX_TEXT + 1)))) is True
    assert len(condition._at_end.remembered) == 0


class Lenient:
    """A runtime as another distribution could bring it: everything it is asked is true."""

    def compile(self, text: str) -> Lenient:
        return self

    def eval(self, activation: None, data: dict[str, object]) -> Lenient:
        return self

    def value(self) -> bool:
        return True


def test_a_runtime_that_makes_missing_values_true_is_not_used() -> None:
    """The gateway does not start with an expression runtime that fails open."""
    with pytest.raises(ImportError, match="does not behave"):
        check_runtime(Lenient())

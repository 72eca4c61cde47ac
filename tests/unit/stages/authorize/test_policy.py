"""The rules of one route together: decision tables, and what must hold for any rules at all."""

from __future__ import annotations

from ipaddress import ip_network
from types import MappingProxyType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.identity import Identity
from gateway.core.prompt import Prompt
from gateway.core.refusal import Reason, Refusal
from gateway.core.signals import NO_RISK, Risk
from gateway.stages.authorize import DENIED, Effect, Rule, Rules, compile_condition
from gateway.stages.authorize.attributes import Facts
from gateway.stages.authorize.policy import MAX_REMEMBERED

from .material import NOW, a_call, an_identity

ALLOW, DENY = Effect.ALLOW, Effect.DENY
TEN = (ip_network("10.0.0.0/8"),)
TEXTS = (
    "true",
    "false",
    "1 / 0 == 1",
    "request.max_tokens <= 10",
    "!has(request.max_tokens)",
    "has(request.temperature) && request.temperature > 1.0",
    "'a' in identity.roles && request.n == 1",
    "'a' in identity.roles || request.max_tokens == 5",
    "identity.claims.team == 'ml'",
    "request.model.startsWith('x')",
    "risk.score >= 0.5",
    "token.age < 30",
    "now.getHours('Europe/Berlin') < 12 && request.tools == 0",
    "[1, 2].exists(i, i == request.n || 'b' in identity.roles)",
    "request.stream ? 'a' in identity.roles : request.n > 1",
)
CONDITIONS = tuple(compile_condition(text) for text in TEXTS)


def _reason(answer: str | Refusal | None) -> Reason | str | None:
    return answer.reason if isinstance(answer, Refusal) else answer


def _both(
    rules: list[Rule], identity: Identity, prompt: Prompt, risk: Risk = NO_RISK, address: str = "10.1.2.3"
) -> tuple[Reason | str | None, Reason | str | None]:
    policy, call = Rules("chat", rules), a_call(address=address)
    return (
        _reason(policy.enter(identity, call, NOW)),
        _reason(policy.decide(identity, call, prompt, risk, NOW)),
    )


def test_a_deny_rule_lets_no_body_be_read() -> None:
    """What it does not deny it does not allow either, at the head as little as afterwards."""
    deny = Rule("d", DENY, models=["large"])

    assert (Reason.NO_RULE_ALLOWS,) * 2 == _both([deny], an_identity(), Prompt("small"))


def _when(text: str, effect: Effect = ALLOW, **parts: tuple[str, ...]) -> Rule:
    return Rule("w", effect, when=compile_condition(text), **parts)  # type: ignore[arg-type]


ANY = Rule("any", ALLOW)


@pytest.mark.parametrize(
    ("rules", "at_head", "at_end"),
    [
        ([], Reason.NO_RULE_ALLOWS, Reason.NO_RULE_ALLOWS),
        ([ANY], None, "any"),
        ([Rule("r", ALLOW, roles=["a"])], None, "r"),
        ([Rule("r", ALLOW, roles=["z"])], Reason.NO_RULE_ALLOWS, Reason.NO_RULE_ALLOWS),
        ([Rule("r", ALLOW, models=["llama*"])], None, "r"),
        ([Rule("r", ALLOW, models=["gpt"])], None, Reason.NO_RULE_ALLOWS),
        ([Rule("r", ALLOW, networks=TEN)], None, "r"),
        ([Rule("r", ALLOW, roles=["z"]), Rule("s", ALLOW, roles=["a"])], None, "s"),
        ([ANY, Rule("d", DENY)], Reason.DENIED_BY_RULE, Reason.DENIED_BY_RULE),
        ([Rule("d", DENY), ANY], Reason.DENIED_BY_RULE, Reason.DENIED_BY_RULE),
        ([ANY, Rule("d", DENY, roles=["a"])], Reason.DENIED_BY_RULE, Reason.DENIED_BY_RULE),
        ([ANY, Rule("d", DENY, roles=["z"])], None, "any"),
        ([ANY, Rule("d", DENY, models=["llama*"])], None, Reason.DENIED_BY_RULE),
        ([ANY, Rule("d", DENY, models=["gpt"])], None, "any"),
        ([ANY, Rule("d", DENY, networks=TEN)], Reason.DENIED_BY_RULE, Reason.DENIED_BY_RULE),
        ([_when("request.n == 1")], None, "w"),
        ([_when("request.n == 2")], None, Reason.NO_RULE_ALLOWS),
        ([_when("token.age < 90")], None, "w"),
        ([_when("token.age < 30")], Reason.NO_RULE_ALLOWS, Reason.NO_RULE_ALLOWS),
        ([_when("auth.age < 30")], Reason.NO_RULE_ALLOWS, Reason.NO_RULE_ALLOWS),
        ([_when("token.age < 30"), ANY], None, "any"),
        ([_when("request.max_tokens < 30"), ANY], None, "any"),
        ([_when("request.max_tokens < 30")], None, Reason.NO_RULE_ALLOWS),
        ([_when("token.age < 30 && request.n == 1")], Reason.NO_RULE_ALLOWS, Reason.NO_RULE_ALLOWS),
        ([_when("token.age < 90 || request.n == 2")], None, "w"),
        ([ANY, _when("request.n == 1", DENY)], None, Reason.DENIED_BY_RULE),
        ([ANY, _when("request.n == 2", DENY)], None, "any"),
        ([ANY, _when("request.max_tokens > 5", DENY)], None, Reason.RULE_ERROR),
        ([ANY, _when("auth.age > 5", DENY)], Reason.RULE_ERROR, Reason.RULE_ERROR),
        ([ANY, _when("token.age > 5", DENY)], Reason.DENIED_BY_RULE, Reason.DENIED_BY_RULE),
        ([ANY, _when("token.age > 90", DENY)], None, "any"),
        ([ANY, _when("token.age > 5", DENY, models=("gpt",))], None, "any"),
        ([ANY, _when("auth.age > 5", DENY, models=("gpt",))], None, "any"),
        ([ANY, _when("auth.age > 5", DENY, models=("llama",))], None, Reason.RULE_ERROR),
        ([ANY, _when("auth.age > 5", DENY, roles=("z",))], None, "any"),
        (
            [ANY, Rule("d", DENY, models=["llama"]), _when("token.age > 90", DENY)],
            None,
            Reason.DENIED_BY_RULE,
        ),
        ([ANY, _when("risk.score >= 0.8", DENY)], None, "any"),
    ],
)
def test_a_decision_table(
    rules: list[Rule], at_head: Reason | str | None, at_end: Reason | str | None
) -> None:
    """One identity of role a, model llama, from 10.1.2.3, token 60 s old, nothing else sent."""
    assert (at_head, at_end) == _both(rules, an_identity("a"), Prompt("llama"))


def test_a_deny_by_models_stops_a_request_whose_model_nobody_knows() -> None:
    """Where no model is named a deny rule on models cannot be told apart from one that applies."""
    rules = [ANY, Rule("d", DENY, models=["gpt"])]

    assert _both(rules, an_identity("a"), Prompt(None)) == (None, Reason.RULE_ERROR)


def test_a_deny_whose_condition_is_false_does_not_care_for_the_model() -> None:
    """False and unknown is false."""
    rules = [ANY, _when("request.n == 2", DENY, models=("gpt",))]

    assert _both(rules, an_identity("a"), Prompt(None)) == (None, "any")


def test_an_allow_by_models_does_not_allow_a_request_without_model() -> None:
    """Unknown is not allowed."""
    rules = [Rule("r", ALLOW, models=["*"])]

    assert _both(rules, an_identity("a"), Prompt(None)) == (None, Reason.NO_RULE_ALLOWS)


@pytest.mark.parametrize(
    ("effect", "address", "expected"),
    [
        (ALLOW, "unix", Reason.NO_RULE_ALLOWS),
        (ALLOW, "nonsense", Reason.NO_RULE_ALLOWS),
        (DENY, "unix", "any"),
        (DENY, "nonsense", Reason.DENIED_BY_RULE),
        (DENY, "192.0.2.1", "any"),
    ],
)
def test_an_address_that_is_not_understood_is_denied(
    effect: Effect, address: str, expected: Reason | str
) -> None:
    """A unix socket is in no network; what is no address at all is in every denied one."""
    rules = [Rule("n", effect, networks=TEN)] + ([ANY] if effect is DENY else [])

    assert expected == _both(rules, an_identity("a"), Prompt("llama"), address=address)[1]


def test_a_refusal_names_its_rule_for_the_record_and_nothing_to_the_client() -> None:
    """The detail is the same whatever was decided; rule and note say it all."""
    call, identity = a_call(), an_identity("a")
    denied = Rules("chat", [ANY, Rule("secret", DENY)]).enter(identity, call, NOW)
    failed = Rules("chat", [_when("auth.age < 5")]).enter(identity, call, NOW)
    silent = Rules("chat", [_when("request.max_tokens < 5"), Rule("x", ALLOW, models=["gpt"])]).decide(
        identity, call, Prompt("llama"), NO_RISK, NOW
    )

    assert denied is not None
    assert failed is not None
    assert isinstance(silent, Refusal)
    assert {DENIED} == {denied.detail, failed.detail, silent.detail}
    assert denied.rule == "secret"
    assert "secret" in denied.note
    assert "could not be evaluated: w" in failed.note
    assert "w, x" in silent.note


def test_one_policy_serves_identities_of_different_roles_and_addresses() -> None:
    """What is remembered for one pair of roles and address is never used for another."""
    policy = Rules("chat", [Rule("r", ALLOW, roles=["a"], networks=TEN)])
    answers = [
        _reason(policy.decide(an_identity(role), a_call(address=address), Prompt("m"), NO_RISK, NOW))
        for _ in range(2)
        for role in ("a", "b")
        for address in ("10.0.0.1", "11.0.0.1")
    ]

    assert 2 * ["r", *3 * [Reason.NO_RULE_ALLOWS]] == answers


def test_what_is_remembered_is_bounded() -> None:
    """Addresses are the network's to choose, so many of them do not grow the memory."""
    policy = Rules("chat", [Rule("r", ALLOW, networks=TEN)])
    identity = an_identity("a")
    for number in range(MAX_REMEMBERED + 10):
        policy.enter(identity, a_call(address=f"10.0.{number >> 8}.{number & 255}"), NOW)

    assert len(policy._standings) == 10


_names = st.sampled_from(["a", "b", "c"])
_models = st.sampled_from(["llama", "xl", "x*", "org/*", "*"])
_rules = st.builds(
    lambda effect, roles, models, networks, when: Rule(
        "rule", effect, roles=roles, models=models, networks=networks, when=when
    ),
    st.sampled_from(Effect),
    st.none() | st.lists(_names, max_size=2),
    st.none() | st.lists(_models, max_size=2),
    st.none() | st.just(TEN),
    st.none() | st.sampled_from(CONDITIONS),
)
_identities = st.builds(
    lambda roles, token, team, issued: an_identity(
        *roles, token=token, claims=MappingProxyType({"team": team} if team else {}), issued=issued
    ),
    st.lists(_names, max_size=3),
    st.sampled_from([None, "t"]),
    st.sampled_from([None, "ml", 5]),
    st.sampled_from([0.0, NOW - 10.0, NOW - 100.0]),
)
_prompts = st.builds(
    lambda model, cap, n, temperature, stream: Prompt(
        model, output_cap=cap, choices=n, temperature=temperature, stream=stream
    ),
    st.sampled_from([None, "llama", "xl", "org/m", "\ud800"]),
    st.sampled_from([None, 5, 50, 2**70]),
    st.integers(0, 3),
    st.none() | st.floats(0, 2),
    st.booleans(),
)
_risks = st.builds(Risk, st.floats(0, 1))
_addresses = st.sampled_from(["10.0.0.1", "192.0.2.1", "::ffff:10.0.0.1", "unix", "?"])
_worlds = st.tuples(_identities, _prompts, _risks, _addresses)
World = tuple[Identity, Prompt, Risk, str]


def _is_allowed(rules: list[Rule], world: World) -> bool:
    identity, prompt, risk, address = world
    decision = Rules("chat", rules).decide(identity, a_call(address=address), prompt, risk, NOW)
    return isinstance(decision, str)


@given(st.lists(_rules, max_size=5), _rules, _worlds)
@settings(max_examples=300)
def test_adding_a_deny_never_allows_more(rules: list[Rule], extra: Rule, world: World) -> None:
    """Composition only tightens."""
    deny = Rule("deny", DENY, when=extra.when, networks=extra.networks, roles=extra.roles)

    assert _is_allowed(rules, world) or not _is_allowed([*rules, deny], world)


@given(st.lists(_rules, max_size=5), st.randoms(use_true_random=False), _worlds)
@settings(max_examples=300)
def test_the_order_of_rules_does_not_matter(rules: list[Rule], random: object, world: World) -> None:
    """Whether a request passes is a question to the set of rules."""
    shuffled = list(rules)
    random.shuffle(shuffled)  # type: ignore[attr-defined]

    assert _is_allowed(rules, world) is _is_allowed(shuffled, world)


@given(st.lists(_rules, max_size=5), _worlds)
@settings(max_examples=500)
def test_the_head_never_denies_what_the_whole_request_may(rules: list[Rule], world: World) -> None:
    """Reading the body later must not change what was refused before."""
    identity, prompt, risk, address = world
    policy, call = Rules("chat", rules), a_call(address=address)
    early = policy.enter(identity, call, NOW)
    late = policy.decide(identity, call, prompt, risk, NOW)

    assert early is None or isinstance(late, Refusal)


@given(st.lists(_rules, max_size=5), _worlds)
@settings(max_examples=300)
def test_an_error_never_allows(rules: list[Rule], world: World) -> None:
    """With a condition that fails in every rule nothing passes, and in one deny nothing either."""
    broken = compile_condition("1 / 0 == 1")
    every = [
        Rule(
            r.name,
            r.effect,
            roles=r.roles,
            networks=r.networks,
            models=r.models and r.models.patterns,
            when=broken,
        )
        for r in rules
    ]

    assert not _is_allowed(every, world)
    assert not _is_allowed([*rules, Rule("broken", DENY, when=broken)], world)


def _reference(rules: list[Rule], world: World) -> bool:
    """Decide as the documentation says, rule by rule, with nothing remembered and nothing indexed."""
    identity, prompt, _, address = world
    allowed = False
    for rule in rules:
        parts = [
            rule.is_for(identity.roles),
            rule.is_from(address),
            True if rule.models is None else None if prompt.model is None else prompt.model in rule.models,
            True if rule.when is None else _fresh(rule, world),
        ]
        verdict = False if False in parts else None if None in parts else True
        if rule.effect is DENY and verdict is not False:
            return False
        allowed = allowed or (rule.effect is ALLOW and verdict is True)
    return allowed


def _fresh(rule: Rule, world: World) -> bool | None:
    identity, prompt, risk, address = world
    assert rule.when is not None
    return compile_condition(rule.when.text).ask(
        Facts(identity, a_call(address=address), "chat", NOW, prompt, risk)
    )


@given(st.lists(_rules, max_size=4), _worlds)
@settings(max_examples=200, deadline=None)
def test_the_compiled_policy_agrees_with_the_plain_reading_of_its_rules(
    rules: list[Rule], world: World
) -> None:
    """Index, memory and early exits never change a decision."""
    assert _reference(rules, world) is _is_allowed(rules, world)

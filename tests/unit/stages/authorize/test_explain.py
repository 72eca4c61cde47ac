"""What is said of each rule: the values it saw, and nothing that the decision itself does not say."""

from __future__ import annotations

from types import MappingProxyType

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.prompt import Prompt
from gateway.core.refusal import Reason, Refusal
from gateway.core.signals import Risk
from gateway.stages.authorize import Effect, Rule, Rules, compile_condition
from gateway.stages.authorize.attributes import Facts
from gateway.stages.authorize.explain import Part, explain

from .material import NOW, a_call, an_identity
from .test_policy import TEN, World, _rules, _worlds


def test_every_part_of_a_rule_says_what_it_wants_and_sees() -> None:
    """As written; what the request does not have is None, times are RFC 3339 once they are JSON."""
    condition = compile_condition("has(request.max_tokens) && now.getHours('UTC') < 12")
    rules = [
        Rule("all", Effect.ALLOW, roles=["b", "a"], models=["llama", "x*"], networks=TEN, when=condition),
        Rule("any", Effect.DENY),
    ]
    facts = Facts(an_identity("b"), a_call(), "chat", NOW, Prompt("llama"), Risk(0.25))
    explained, unconditional = explain(rules, facts)
    at = {part.name: part for part in explained.parts}

    assert Part("roles", "a, b", {"identity.roles": ["b"]}, True) == at["roles"]
    assert Part("networks", "10.0.0.0/8", {"source.address": "10.1.2.3"}, True) == at["networks"]
    assert Part("models", "llama, x*", {"request.model": "llama"}, True) == at["models"]
    assert (condition.text, False) == (at["when"].wants, at["when"].holds)
    assert at["when"].sees["request.max_tokens"] is None
    assert "2027-01-15 08:00:00+00:00" == str(at["when"].sees["now"])
    assert explained.applies is False
    assert (True, ()) == (unconditional.applies, unconditional.parts)


def test_claims_are_shown_whole() -> None:
    """The condition read them."""
    rule = Rule("own", Effect.ALLOW, when=compile_condition("identity.claims.team == 'ml'"))
    identity = an_identity(claims=MappingProxyType({"team": "ml"}))
    (explained,) = explain([rule], Facts(identity, a_call(), "chat", NOW, Prompt(), Risk(0.0)))

    assert {"identity.claims": {"team": "ml"}} == explained.parts[0].sees


@given(st.lists(_rules, max_size=5), _worlds)
@settings(max_examples=300, deadline=None)
def test_it_never_says_anything_else_than_the_decision(rules: list[Rule], world: World) -> None:
    """A deny that does not surely fail refuses; else an allow that surely applies lets it pass."""
    identity, prompt, risk, address = world
    call = a_call(address=address)
    decision = Rules("chat", rules).decide(identity, call, prompt, risk, NOW)
    explained = explain(rules, Facts(identity, call, "chat", NOW, prompt, risk))
    denied = [each for each in explained if each.effect is Effect.DENY and each.applies is not False]
    allowed = [each.name for each in explained if each.effect is Effect.ALLOW and each.applies is True]

    if isinstance(decision, str):
        assert decision in allowed
        assert [] == denied
    elif denied:
        assert isinstance(decision, Refusal)
    else:
        assert (Reason.NO_RULE_ALLOWS, []) == (decision.reason, allowed)

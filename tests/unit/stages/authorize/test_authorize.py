"""The stage: requirements of the route, then its rules, then the proofs."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.core.permit import Entry, issue_vetted
from gateway.core.prompt import Prompt
from gateway.core.refusal import Reason, Refused
from gateway.core.route import Requirements
from gateway.core.signals import NO_RISK, Risk
from gateway.stages.authorize import (
    ATTRIBUTES,
    DENIED,
    Effect,
    Rule,
    Rules,
    authorize,
    compile_condition,
    enter,
    table,
)

from .material import NOW, a_call, a_route, an_identity

ANYBODY = Rules("chat", [Rule("any", Effect.ALLOW)])


KEY_BOUND = an_identity(bound=True, proof_key="k", claims={"cnf": {"jkt": "k"}})
BOTH_BOUND = an_identity(bound=True, proof_key="k", claims={"cnf": {"jkt": "k", "x5t#S256": "f"}})


def test_an_unknown_route_and_a_forbidden_one_read_the_same() -> None:
    """A caller learns nothing about which routes there are."""
    with pytest.raises(Refused) as unknown:
        enter(an_identity("a"), None, a_call(), NOW)
    with pytest.raises(Refused) as forbidden:
        enter(an_identity("a"), a_route(Rules("chat", ())), a_call(), NOW)

    assert Reason.ROUTE_UNKNOWN is unknown.value.refusal.reason
    assert Reason.NO_RULE_ALLOWS is forbidden.value.refusal.reason
    assert DENIED == unknown.value.refusal.detail == forbidden.value.refusal.detail


@pytest.mark.parametrize(
    ("require", "identity", "expected"),
    [
        (Requirements(), an_identity(token=None), None),
        (Requirements(certificate=True), an_identity(), Reason.CERTIFICATE_REQUIRED),
        (Requirements(certificate=True), an_identity(certificate="F"), None),
        (Requirements(token=True), an_identity(token=None), Reason.TOKEN_REQUIRED),
        (Requirements(token=True), an_identity(), None),
        (Requirements(bound=True), an_identity(token=None, bound=True), Reason.TOKEN_REQUIRED),
        (Requirements(bound=True), an_identity(), Reason.TOKEN_BINDING),
        (Requirements(bound=True), an_identity(bound=True), None),
        (Requirements(bound=True), an_identity(bound=True, proof_key="k"), None),
        (Requirements(bound=True, binding="certificate"), an_identity(bound=True), None),
        (Requirements(bound=True, binding="certificate"), KEY_BOUND, Reason.TOKEN_BINDING),
        (Requirements(bound=True, binding="certificate"), BOTH_BOUND, None),
        (Requirements(bound=True, binding="key"), an_identity(bound=True), Reason.TOKEN_BINDING),
        (Requirements(bound=True, binding="key"), an_identity(), Reason.TOKEN_BINDING),
        (Requirements(bound=True, binding="key"), KEY_BOUND, None),
        (Requirements(bound=True, binding="key"), BOTH_BOUND, None),
        (Requirements(scopes=frozenset({"x"})), an_identity(token=None), Reason.TOKEN_REQUIRED),
        (
            Requirements(scopes=frozenset({"x", "y"})),
            an_identity(scopes=frozenset({"x"})),
            Reason.SCOPE_MISSING,
        ),
        (Requirements(scopes=frozenset({"x"})), an_identity(scopes=frozenset({"x", "z"})), None),
        (Requirements(max_age=60.5), an_identity(token=None), Reason.TOKEN_REQUIRED),
        (Requirements(max_age=59.0), an_identity(), Reason.TOKEN_TOO_OLD),
        (Requirements(max_age=60.0), an_identity(), None),
        (Requirements(max_age=60.0), an_identity(issued=0.0), Reason.TOKEN_TOO_OLD),
        (Requirements(max_age=60.0), an_identity(issued=float("nan")), Reason.TOKEN_TOO_OLD),
    ],
)
def test_the_requirements_of_a_route_come_before_its_rules(
    require: Requirements, identity: object, expected: Reason | None
) -> None:
    """What is required is a minimum of proof, whatever the rules say."""
    route, call = a_route(ANYBODY, require), a_call()
    if expected is None:
        entry = enter(identity, route, call, NOW)  # type: ignore[arg-type]
        assert (identity, route) == (entry.identity, entry.route)
        return
    with pytest.raises(Refused) as caught:
        enter(identity, route, call, NOW)  # type: ignore[arg-type]

    assert expected is caught.value.refusal.reason


def test_missing_scopes_are_named_sorted() -> None:
    """The client is told which scopes the route wants (RFC 6750, section 3.1)."""
    route = a_route(ANYBODY, Requirements(scopes=frozenset({"models:chat", "admin"})))
    with pytest.raises(Refused) as caught:
        enter(an_identity(), route, a_call(), NOW)

    assert caught.value.refusal.scopes == ("admin", "models:chat")


def _entry(policy: Rules) -> Entry:
    return enter(an_identity("a"), a_route(policy), a_call(), NOW)


def test_a_permit_names_identity_route_model_and_rule() -> None:
    """The proof says exactly what was decided."""
    entry = _entry(Rules("chat", [Rule("llamas", Effect.ALLOW, roles=["a"], models=["llama"])]))
    permit = authorize(entry, a_call(), issue_vetted(entry, Prompt("llama"), b"{}", b""), NO_RISK, NOW)

    assert (entry.identity, entry.route, "llama", "llamas") == (
        permit.identity,
        permit.route,
        permit.model,
        permit.rule,
    )


def test_the_body_can_still_be_refused() -> None:
    """Model and risk are known late and decide late."""
    deny = Rule("risky", Effect.DENY, when=compile_condition("risk.score >= 0.8"))
    entry = _entry(Rules("chat", [Rule("llamas", Effect.ALLOW, models=["llama"]), deny]))
    reasons = []
    for model, score in (("gpt", 0.0), ("llama", 0.9)):
        with pytest.raises(Refused) as caught:
            authorize(entry, a_call(), issue_vetted(entry, Prompt(model), b"", b""), Risk(score), NOW)
        reasons.append((caught.value.refusal.reason, caught.value.refusal.rule))

    assert reasons == [(Reason.NO_RULE_ALLOWS, None), (Reason.DENIED_BY_RULE, "risky")]


def test_a_credential_that_ends_while_the_body_arrives_ends_the_request() -> None:
    """What was proven at the head must still be proven when the request would leave."""
    entry = enter(an_identity("a"), a_route(ANYBODY), a_call(), NOW)
    vetted = issue_vetted(entry, Prompt("m"), b"{}", b"application/json")
    end = entry.identity.expires

    assert "any" == authorize(entry, a_call(), vetted, NO_RISK, end - 0.001).rule
    with pytest.raises(Refused) as late:
        authorize(entry, a_call(), vetted, NO_RISK, end)
    assert Reason.TOKEN_EXPIRED is late.value.refusal.reason


def test_proofs_of_two_requests_do_not_mix() -> None:
    """A body that was vetted for another entry permits nothing."""
    entry, other = _entry(ANYBODY), _entry(ANYBODY)
    vetted = issue_vetted(other, Prompt("llama"), b"{}", b"")

    with pytest.raises(TypeError, match="another entry"):
        authorize(entry, a_call(), vetted, NO_RISK, NOW)


def test_the_documented_table_of_attributes_is_the_real_one() -> None:
    """`docs/policy.md` holds what `table()` renders."""
    document = Path(__file__).parents[4] / "docs" / "policy.md"

    assert table() in document.read_text(encoding="utf-8")


def test_every_condition_in_the_documentation_compiles() -> None:
    """Examples that do not load teach nothing."""
    text = (Path(__file__).parents[4] / "docs" / "policy.md").read_text(encoding="utf-8")
    conditions = [part.split('"', 1)[0] for part in text.split('when: "')[1:]]
    for condition in conditions:
        compile_condition(condition)

    assert len(conditions) >= 5


def test_attribute_names_are_unique() -> None:
    """One name, one meaning."""
    assert len(ATTRIBUTES) == len({attribute.name for attribute in ATTRIBUTES})

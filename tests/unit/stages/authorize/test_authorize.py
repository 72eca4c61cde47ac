"""The stage: requirements of the route, then its rules, then the proofs."""

from __future__ import annotations

from ipaddress import IPv4Network
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gateway.core.exchange import Exchange
from gateway.core.permit import Entry, issue_vetted
from gateway.core.prompt import Prompt
from gateway.core.refusal import Reason, Refusal, Refused, StepUp
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
from gateway.stages.refuse import Problems

from .material import NOW, a_call, a_route, an_identity

if TYPE_CHECKING:
    from gateway.core.identity import Identity
    from gateway.core.ports import Assurance

A_KEY = an_identity(token=None, key_id="k", methods=("key",))
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
        (Requirements(bound=True), an_identity(), Reason.TOKEN_UNBOUND),
        (Requirements(bound=True), an_identity(bound=True), None),
        (Requirements(bound=True), an_identity(bound=True, proof_key="k"), None),
        (Requirements(bound=True, binding="certificate"), an_identity(bound=True), None),
        (Requirements(bound=True, binding="certificate"), KEY_BOUND, Reason.TOKEN_UNBOUND),
        (Requirements(bound=True, binding="certificate"), BOTH_BOUND, None),
        (Requirements(bound=True, binding="key"), an_identity(bound=True), Reason.TOKEN_UNBOUND),
        (Requirements(bound=True, binding="key"), an_identity(), Reason.TOKEN_UNBOUND),
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
        (Requirements(token=True), A_KEY, Reason.TOKEN_REQUIRED),
        (Requirements(token=True, key=True), A_KEY, None),
        (Requirements(token=True, key=True), an_identity(token=None), Reason.TOKEN_REQUIRED),
        (Requirements(token=True, key=True), an_identity(), None),
        (Requirements(token=True, key=True, bound=True), A_KEY, Reason.TOKEN_UNBOUND),
        (Requirements(token=True, key=True, scopes=frozenset({"x"})), A_KEY, Reason.SCOPE_MISSING),
        (Requirements(token=True, key=True, max_age=59.0), A_KEY, Reason.TOKEN_TOO_OLD),
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


class Unmet:
    """An assurance that nobody meets; counts how often it was asked."""

    def __init__(self, reason: Reason = Reason.STEP_UP_REQUIRED) -> None:
        self.refusal = Refusal(reason, "not well enough", step_up=StepUp(("high",), 300))
        self.asked = 0

    def __call__(self, identity: Identity, now: float, /) -> Refusal | None:
        self.asked += 1
        return self.refusal


def test_a_gateway_key_says_nothing_of_an_authentication() -> None:
    """Where one is demanded a key never does, and the assurance is not asked about it."""
    unmet = Unmet()
    route = a_route(ANYBODY, Requirements(token=True, key=True, authentication=unmet))
    with pytest.raises(Refused) as caught:
        enter(A_KEY, route, a_call(), NOW)

    assert (Reason.TOKEN_REQUIRED, 0) == (caught.value.refusal.reason, unmet.asked)


class Met:
    """An assurance that everybody meets."""

    def __call__(self, identity: Identity, now: float, /) -> Refusal | None:
        return None


def everything(assurance: Assurance | None = None) -> Requirements:
    """Demand everything that there is."""
    return Requirements(
        certificate=True,
        token=True,
        bound=True,
        scopes=frozenset({"x"}),
        max_age=10.0,
        authentication=assurance or Unmet(),
    )


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"certificate": "F"},
        {"certificate": "F", "bound": True},
        {"certificate": "F", "bound": True, "scopes": frozenset({"x"})},
        {"certificate": "F", "bound": True, "scopes": frozenset({"x"}), "issued": NOW},
    ],
)
@pytest.mark.parametrize(
    "rules",
    [
        [],
        [Rule("others", Effect.ALLOW, roles=["b"])],
        [Rule("elsewhere", Effect.ALLOW, networks=[IPv4Network("192.0.2.0/24")])],
        [Rule("strong", Effect.ALLOW, when=compile_condition("auth.acr == 'high'"))],
        [Rule("any", Effect.ALLOW), Rule("never", Effect.DENY, roles=["a"])],
        [
            Rule("any", Effect.ALLOW),
            Rule("old", Effect.DENY, when=compile_condition("token.age > 0 || true")),
        ],
    ],
)
def test_whom_no_rule_could_allow_learns_no_requirement(
    changes: dict[str, object], rules: list[Rule]
) -> None:
    """Whatever a caller shows: without a rule that could allow it, a route reads as one that is not there."""
    identity, assurance = an_identity("a", **changes), Unmet()
    route = a_route(Rules("chat", rules), everything(assurance))
    refusals = []
    for each in (route, None):
        with pytest.raises(Refused) as caught:
            enter(identity, each, a_call(), NOW)
        refusals.append(caught.value.refusal)
    forbidden, unknown = refusals

    render = Problems("urn:", "gateway", lambda *found: None).render
    ex = Exchange("id", a_call().peer, a_call(), NOW, 0.0)
    assert Reason.ROUTE_UNKNOWN is unknown.reason
    assert render(ex, unknown) == render(ex, forbidden)
    assert 0 == assurance.asked


def test_a_missing_token_comes_before_the_rules() -> None:
    """Rules are about the token's subject: until there is one, nobody is known whom they could be asked about."""
    for require in (Requirements(token=True), Requirements(authentication=Met()), everything()):
        with pytest.raises(Refused) as caught:
            enter(an_identity(token=None), a_route(Rules("chat", ()), require), a_call(), NOW)

        assert Reason.TOKEN_REQUIRED is caught.value.refusal.reason
        assert caught.value.refusal.step_up is None
        assert () == caught.value.refusal.scopes


@pytest.mark.parametrize(
    ("changes", "assurance", "expected"),
    [
        ({}, Unmet(), Reason.CERTIFICATE_REQUIRED),
        ({"certificate": "F"}, Unmet(), Reason.TOKEN_UNBOUND),
        ({"certificate": "F", "bound": True}, Unmet(), Reason.STEP_UP_REQUIRED),
        ({"certificate": "F", "bound": True}, Unmet(Reason.STEP_UP_FAILED), Reason.STEP_UP_FAILED),
        ({"certificate": "F", "bound": True}, Met(), Reason.SCOPE_MISSING),
        ({"certificate": "F", "bound": True, "scopes": frozenset({"x"})}, Met(), Reason.TOKEN_TOO_OLD),
        ({"certificate": "F", "bound": True, "scopes": frozenset({"x"}), "issued": NOW}, Met(), None),
    ],
)
def test_the_order_of_requirements(
    changes: dict[str, object], assurance: Assurance, expected: Reason | None
) -> None:
    """First what no new token mends, then what one journey to the issuer does."""
    route = a_route(ANYBODY, everything(assurance))
    if expected is None:
        assert route is enter(an_identity(**changes), route, a_call(), NOW).route
        return
    with pytest.raises(Refused) as caught:
        enter(an_identity(**changes), route, a_call(), NOW)

    assert expected is caught.value.refusal.reason


@pytest.mark.parametrize(("scopes", "expected"), [((), ("a", "x")), (("a", "x"), ())])
def test_a_step_up_names_the_scopes_that_lack_too(scopes: tuple[str, ...], expected: tuple[str, ...]) -> None:
    """RFC 9470, section 3: the client asks its issuer once for all that it needs."""
    require = Requirements(scopes=frozenset({"x", "a"}), authentication=Unmet())
    with pytest.raises(Refused) as caught:
        enter(an_identity(scopes=frozenset(scopes)), a_route(ANYBODY, require), a_call(), NOW)
    refusal = caught.value.refusal

    assert (Reason.STEP_UP_REQUIRED, expected) == (refusal.reason, refusal.scopes)
    assert StepUp(("high",), 300) == refusal.step_up


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

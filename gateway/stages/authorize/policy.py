"""The rules of one route together: a deny beats every allow, silence denies, errors deny.

What depends on roles and address alone is decided once per pair and remembered, so that a request
looks only at the rules that can concern it. `enter` denies what no body could change; `decide` asks
every remaining rule. Whatever `enter` refuses, `decide` would refuse too. A condition is asked only
where roles, networks and models of its rule already match; if it cannot be evaluated, an allow rule
does not allow and a deny rule denies.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from gateway.core.refusal import Reason, Refusal
from gateway.stages.authorize.attributes import Facts
from gateway.stages.authorize.rules import Effect, Rule

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.core.call import Call
    from gateway.core.identity import Identity
    from gateway.core.prompt import Prompt
    from gateway.core.signals import Risk

# The same for every denial and for a route that does not exist: nothing can be learned from it.
DENIED: Final = "This identity may not do this with this model."
NOBODY: Final = Refusal(
    Reason.NO_RULE_ALLOWS, DENIED, note="no allow rule is for this identity's roles and address"
)
MAX_REMEMBERED: Final = 4096  # pairs of roles and address per route; then all are forgotten


@final
class _Deny:
    """A deny rule, with its refusals made in advance."""

    __slots__ = ("denied", "failed", "models", "when")

    def __init__(self, rule: Rule) -> None:
        self.models = rule.models
        self.when = rule.when
        self.denied = Refusal(
            Reason.DENIED_BY_RULE, DENIED, note=f"deny rule '{rule.name}' applies", rule=rule.name
        )
        self.failed = Refusal(
            Reason.RULE_ERROR,
            DENIED,
            note=f"deny rule '{rule.name}' cannot be evaluated for this request",
            rule=rule.name,
        )


@final
class _Standing:
    """What is left to ask of identities with these roles at this address."""

    __slots__ = ("allows", "asks", "asks_at_head", "denies", "refusal")

    def __init__(self, denies: tuple[_Deny, ...], allows: tuple[Rule, ...], refusal: Refusal | None) -> None:
        self.denies = denies
        self.allows = allows
        self.refusal = refusal
        self.asks = any(deny.when is not None for deny in denies) or any(
            rule.when is not None for rule in allows
        )
        # At the head a deny with models is open; one allow without condition lets the body be read.
        self.asks_at_head = any(deny.models is None and deny.when is not None for deny in denies) or all(
            rule.when is not None for rule in allows
        )


@final
class Rules:
    """The policy of one route (`core.ports.Policy`).

    Args:
        route: Name of the route, for conditions.
        rules: Its rules, in any order: the order only decides which of several fitting rules is named.
    """

    __slots__ = ("_allows", "_by_address", "_denies", "_route", "_standings", "rules")

    def __init__(self, route: str, rules: Iterable[Rule]) -> None:
        self.rules = tuple(rules)
        self._route = route
        self._denies = tuple([(rule, _Deny(rule)) for rule in self.rules if rule.effect is Effect.DENY])
        self._allows = tuple([rule for rule in self.rules if rule.effect is Effect.ALLOW])
        self._by_address = any(rule.networks is not None for rule in self.rules)
        self._standings: dict[tuple[frozenset[str], str], _Standing] = {}

    def enter(self, identity: Identity, call: Call, now: float, /) -> Refusal | None:
        """Deny what the head alone can deny.

        Args:
            identity: Who asks.
            call: The head of the request.
            now: Seconds since the epoch.

        Returns:
            None if some body could be allowed, else why none could.
        """
        standing = self._standing(identity, call)
        if standing.refusal is not None or not standing.asks_at_head:
            return standing.refusal
        facts = Facts(identity, call, self._route, now)
        for deny in standing.denies:
            if deny.models is not None or deny.when is None:
                continue
            verdict = deny.when.ask_head(facts)
            if verdict is True:
                return deny.denied
            if verdict is None and not deny.when.needs_body:
                return deny.failed
        failed: list[str] = []
        for rule in standing.allows:
            if rule.when is None:
                return None
            verdict = rule.when.ask_head(facts)
            if verdict is True or (verdict is None and rule.when.needs_body):
                return None
            if verdict is None:
                failed.append(rule.name)
        return _nothing_allows(standing.allows, failed)

    def decide(
        self, identity: Identity, call: Call, prompt: Prompt, risk: Risk, now: float, /
    ) -> str | Refusal:
        """Decide about exactly this prompt.

        Args:
            identity: Who asks.
            call: The head of the request.
            prompt: The inspected body.
            risk: How unusual the request is.
            now: Seconds since the epoch.

        Returns:
            The name of the rule that allows it, or why it may not pass.
        """
        standing = self._standing(identity, call)
        if standing.refusal is not None:
            return standing.refusal
        facts: Facts | None = None
        if standing.asks:
            facts = Facts(identity, call, self._route, now, prompt, risk)
        if standing.denies:
            refusal = _denied(standing.denies, prompt.model, facts)
            if refusal is not None:
                return refusal
        return _allowed(standing.allows, prompt.model, facts)

    def _standing(self, identity: Identity, call: Call) -> _Standing:
        key = (identity.roles, call.peer.address if self._by_address else "")
        try:
            return self._standings[key]
        except KeyError:
            standing = self._stand(*key)
        if len(self._standings) >= MAX_REMEMBERED:
            self._standings.clear()
        self._standings[key] = standing
        return standing

    def _stand(self, roles: frozenset[str], address: str) -> _Standing:
        """Keep the rules that can apply; to an address nobody understands every deny, and no allow."""
        denies = tuple(
            [deny for rule, deny in self._denies if rule.is_for(roles) and rule.is_from(address) is not False]
        )
        allows = tuple(
            [rule for rule in self._allows if rule.is_for(roles) and rule.is_from(address) is True]
        )
        for deny in denies:
            if deny.models is None and deny.when is None:
                return _Standing(denies, allows, deny.denied)
        if not allows:
            return _Standing(denies, allows, NOBODY)
        return _Standing(denies, allows, None)


def _denied(denies: tuple[_Deny, ...], model: str | None, facts: Facts | None) -> Refusal | None:
    for deny in denies:
        if deny.models is not None and model is not None and model not in deny.models:
            continue
        verdict = True if deny.when is None or facts is None else deny.when.ask(facts)
        if verdict is False:
            continue
        if verdict is None or (deny.models is not None and model is None):
            return deny.failed  # nobody can tell whether it applies: not past a deny rule
        return deny.denied
    return None


def _allowed(allows: tuple[Rule, ...], model: str | None, facts: Facts | None) -> str | Refusal:
    failed: list[str] = []
    for rule in allows:
        if rule.models is not None and (model is None or model not in rule.models):
            continue
        if rule.when is None:
            return rule.name
        verdict = None if facts is None else rule.when.ask(facts)
        if verdict is True:
            return rule.name
        if verdict is None:
            failed.append(rule.name)
    return _nothing_allows(allows, failed)


def _nothing_allows(asked: tuple[Rule, ...], failed: list[str]) -> Refusal:
    note = "allow rules for this identity, none of which fits: " + ", ".join([rule.name for rule in asked])
    if failed:
        note += "; their condition could not be evaluated: " + ", ".join(failed)
    return Refusal(Reason.NO_RULE_ALLOWS, DENIED, note=note)

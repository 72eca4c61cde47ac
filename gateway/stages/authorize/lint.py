"""What is wrong with a route's rules although each of them is valid: found when they are loaded.

Every finding is a mistake that default deny would hide (a rule that can never apply) or that would
let everybody in. Findings are sentences for the operator; what to do about them is the loader's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.stages.authorize.rules import Effect, Rule

if TYPE_CHECKING:
    from collections.abc import Sequence
    from ipaddress import IPv4Network, IPv6Network


def lint(rules: Sequence[Rule]) -> list[str]:
    """Look for rules that cannot mean what they say.

    Args:
        rules: All rules of one route.

    Returns:
        One sentence per finding, each with the rule's name; empty if nothing was found.
    """
    findings: list[str] = []
    if not any(rule.effect is Effect.ALLOW for rule in rules):
        findings.append("there is no allow rule: every request is refused")
    for at, rule in enumerate(rules):
        findings.extend(f"rule '{rule.name}': {finding}" for finding in _alone(rule))
        findings.extend(f"rule '{rule.name}': {finding}" for finding in _among(rule, rules[:at], rules))
    return findings


def _alone(rule: Rule) -> list[str]:
    """Look at one rule by itself."""
    findings: list[str] = []
    if rule.effect is Effect.ALLOW and rule.is_unconditional:
        findings.append("allows everybody everything: name roles, models, networks or a condition")
    for word, part in (
        ("roles", rule.roles),
        ("models", rule.models and rule.models.patterns),
        ("networks", rule.networks),
    ):
        if part is not None and not part:
            findings.append(f"the list of {word} is empty: the rule never applies")
    if rule.models is not None and any("**" in pattern for pattern in rule.models.patterns):
        findings.append("'**' in a model means no more than '*': a star never stands for '/'")
    if rule.when is not None and rule.when.constant is not None:
        findings.append(f"the condition is always {str(rule.when.constant).lower()}")
    elif rule.when is not None and not rule.when.reads:
        findings.append("the condition always fails")
    return findings


def _among(rule: Rule, earlier: Sequence[Rule], rules: Sequence[Rule]) -> list[str]:
    """Look at one rule beside the others."""
    findings: list[str] = []
    for other in earlier:
        if other.name == rule.name:
            findings.append("the name is used twice")
        elif other.effect is rule.effect and _content(other) == _content(rule):
            findings.append(f"says the same as rule '{other.name}'")
    if rule.effect is Effect.ALLOW:
        findings.extend(
            f"never allows: deny rule '{other.name}' applies wherever it does"
            for other in rules
            if other.effect is Effect.DENY and other.when is None and _covers(other, rule)
        )
    return findings


def _content(rule: Rule) -> tuple[object, ...]:
    return (
        rule.roles,
        None if rule.models is None else frozenset(rule.models.patterns),
        None if rule.networks is None else frozenset(rule.networks),
        None if rule.when is None else rule.when.text,
    )


def _covers(deny: Rule, allow: Rule) -> bool:
    """Tell whether a deny without condition surely applies wherever an allow does."""
    if deny.roles is not None and (allow.roles is None or not allow.roles <= deny.roles):
        return False
    if deny.models is not None and (allow.models is None or not deny.models.covers(allow.models)):
        return False
    if deny.networks is None:
        return True
    if allow.networks is None:
        return False
    return all(any(_is_within(inner, outer) for outer in deny.networks) for inner in allow.networks)


def _is_within(inner: IPv4Network | IPv6Network, outer: IPv4Network | IPv6Network) -> bool:
    return inner.version == outer.version and inner[0] in outer and inner[-1] in outer

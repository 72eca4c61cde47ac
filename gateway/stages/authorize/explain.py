"""Says of each rule of a route whether it applies to one request, and which values it saw.

Decides nothing: what is decided is `policy`'s, and a test holds the two together. For operators who
want to know why; never on the way of a request.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, final

from gateway.stages.authorize.attributes import BY_NAME, Pinned
from gateway.stages.authorize.rules import Effect, Rule

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.stages.authorize.attributes import Attribute, Facts
    from gateway.stages.authorize.conditions import Condition


@final
@dataclass(frozen=True)
class Part:
    """What one part of a rule says of a request.

    Args:
        name: "roles", "networks", "models" or "when".
        wants: As written.
        sees: What the request has, by attribute; None: it has none.
        holds: True or False; None if it cannot be said.
    """

    name: str
    wants: str
    sees: dict[str, object]
    holds: bool | None


@final
@dataclass(frozen=True)
class Explained:
    """One rule and one request.

    Args:
        name: The rule's name.
        effect: Allow or deny.
        parts: Those that it has. A rule without any applies to everything.
    """

    name: str
    effect: Effect
    parts: tuple[Part, ...]

    @property
    def applies(self) -> bool | None:
        """True if all parts hold, False if one does not; None if that cannot be said."""
        verdicts = [part.holds for part in self.parts]
        if False in verdicts:
            return False
        return None if None in verdicts else True


def explain(rules: Sequence[Rule], facts: Facts) -> list[Explained]:
    """Ask every rule, the ones too that a request would not come to.

    Args:
        rules: Rules of one route.
        facts: The request, its body known.
    """
    return [_explain(rule, facts) for rule in rules]


def _explain(rule: Rule, facts: Facts) -> Explained:
    parts: list[Part] = []
    identity, address = facts.identity, facts.call.peer.address
    model = None if facts.prompt is None else facts.prompt.model
    if rule.roles is not None:
        sees: dict[str, object] = {"identity.roles": sorted(identity.roles)}
        parts.append(Part("roles", ", ".join(sorted(rule.roles)), sees, rule.is_for(identity.roles)))
    if rule.networks is not None:
        wants = ", ".join(map(str, rule.networks))
        parts.append(Part("networks", wants, {"source.address": address}, rule.is_from(address)))
    if rule.models is not None:
        unnamed = None if rule.effect is Effect.DENY else False  # whether a deny applies, nobody can tell
        holds = unnamed if model is None else model in rule.models
        sees = {"request.model": model}
        parts.append(Part("models", ", ".join(rule.models.patterns), sees, holds))
    if rule.when is not None:
        parts.append(Part("when", rule.when.text, _seen(rule.when, facts), rule.when.ask(facts)))
    return Explained(rule.name, rule.effect, tuple(parts))


def _seen(condition: Condition, facts: Facts) -> dict[str, object]:
    return {name: _shown(BY_NAME[name], facts) for name in sorted(condition.reads)}


def _shown(attribute: Attribute, facts: Facts) -> object:
    value = attribute.read(facts)
    if isinstance(value, Pinned):
        return dict(value.mapping)
    return None if value is None else attribute.convert(value)

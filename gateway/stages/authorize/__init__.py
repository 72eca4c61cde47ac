"""May they? The only stage that issues an `Entry` (the head may pass) and a `Permit` (all of it may).

Refuses unless the credentials are what the route requires and a rule allows exactly this. An unknown
route and a forbidden one are refused in the same words, and what a route requires is told to those alone
whom a rule could allow. Never reads a body, a store or a clock.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from gateway.core.permit import issue_entry, issue_permit
from gateway.core.refusal import Reason, Refusal, Refused, refuse
from gateway.stages.authorize.assurance import RequiredAuthentication
from gateway.stages.authorize.attributes import ATTRIBUTES, Attribute, table
from gateway.stages.authorize.challenged import Challenged
from gateway.stages.authorize.conditions import Condition, compile_condition
from gateway.stages.authorize.expressions import ConditionError
from gateway.stages.authorize.lint import lint
from gateway.stages.authorize.policy import DENIED, Rules
from gateway.stages.authorize.rules import Effect, Network, Rule

if TYPE_CHECKING:
    from gateway.core.call import Call
    from gateway.core.identity import Identity
    from gateway.core.permit import Entry, Permit, Vetted
    from gateway.core.route import Requirements, Route
    from gateway.core.signals import Risk

__all__ = [
    "ATTRIBUTES",
    "DENIED",
    "Attribute",
    "Challenged",
    "Condition",
    "ConditionError",
    "Effect",
    "Network",
    "RequiredAuthentication",
    "Rule",
    "Rules",
    "authorize",
    "compile_condition",
    "enter",
    "lint",
    "table",
]

_UNKNOWN: Final = Refusal(Reason.ROUTE_UNKNOWN, DENIED)
EXPIRED: Final = Refusal(Reason.TOKEN_EXPIRED, "The credential expired before the body had arrived.")

BINDINGS: Final = {
    "": "This route requires an access token that is bound to the client certificate or to a key.",
    "certificate": "This route requires an access token that is bound to the client certificate.",
    "key": "This route requires an access token that is bound to a key.",
}


def enter(identity: Identity, route: Route | None, call: Call, now: float) -> Entry:
    """Decide what the head of a request decides: route, rules as far as known, and requirements.

    A token that is missing comes first: rules are about its subject, and nobody knows who that will be.
    Everything else that is required comes after the rules, so that it is told to nobody whom none of
    them could allow.

    Args:
        identity: Who asks.
        route: What was matched, or None.
        call: The head of the request.
        now: Seconds since the epoch.

    Returns:
        Proof that this identity may use this route with some body.

    Raises:
        Refused: `ROUTE_UNKNOWN`, `TOKEN_REQUIRED`, a reason of the rules, `CERTIFICATE_REQUIRED`,
            `TOKEN_UNBOUND`, `STEP_UP_REQUIRED` (RFC 9470) or another reason of `core.ports.Assurance`,
            `SCOPE_MISSING` (RFC 6750, section 3.1), or `TOKEN_TOO_OLD`.
    """
    if route is None:
        raise Refused(_UNKNOWN)
    require = route.require
    if identity.token is None and _needs_token(require) and not _key_will_do(require, identity):
        raise refuse(Reason.TOKEN_REQUIRED, "This route requires an access token.")
    refusal = route.policy.enter(identity, call, now)
    if refusal is not None:
        raise Refused(refusal)
    _require(require, identity, now)
    return issue_entry(identity, route)


def authorize(entry: Entry, call: Call, vetted: Vetted, risk: Risk, now: float) -> Permit:
    """Decide about exactly this prompt to exactly this model.

    Args:
        entry: What `enter` issued for this request.
        call: The head of the request.
        vetted: The inspected body.
        risk: How unusual the request is.
        now: Seconds since the epoch; later than for `enter` by what the body took.

    Returns:
        Proof that it may be sent.

    Raises:
        Refused: `NO_RULE_ALLOWS`, `DENIED_BY_RULE`, `RULE_ERROR`, or `TOKEN_EXPIRED` since `enter`.
        TypeError: The proofs are of two different requests: a mistake of ours.
    """
    if vetted.entry is not entry:
        raise TypeError("the body was vetted for another entry")
    if not now < entry.identity.expires:  # nothing is trusted for longer than it is proven
        raise Refused(EXPIRED)
    decision = entry.route.policy.decide(entry.identity, call, vetted.prompt, risk, now)
    if isinstance(decision, Refusal):
        raise Refused(decision)
    return issue_permit(entry, vetted.prompt.model, decision)


def _key_will_do(require: Requirements, identity: Identity) -> bool:
    """Tell whether a gateway key stands for the token; never for how somebody authenticated."""
    return require.key and identity.key_id is not None and require.authentication is None


def _needs_token(require: Requirements) -> bool:
    return (
        require.token
        or require.bound
        or bool(require.scopes)
        or require.max_age is not None
        or require.authentication is not None
    )


def _require(require: Requirements, identity: Identity, now: float) -> None:
    """Check the credentials. Written so that a missing or odd number fails."""
    if require.certificate and identity.certificate is None:
        raise refuse(Reason.CERTIFICATE_REQUIRED, "This route requires a client certificate.")
    if require.bound and not _is_bound(identity, require.binding):
        raise refuse(Reason.TOKEN_UNBOUND, BINDINGS[require.binding])
    scopes = () if require.scopes <= identity.scopes else tuple(sorted(require.scopes))
    if require.authentication is not None:
        refusal = require.authentication(identity, now)
        if refusal is not None:  # one journey to the issuer for all that is lacking
            raise Refused(replace(refusal, scopes=scopes))
    if scopes:
        raise Refused(
            Refusal(Reason.SCOPE_MISSING, "The access token lacks a scope of this route.", scopes=scopes)
        )
    max_age = require.max_age
    if max_age is not None and not now - identity.issued <= max_age:
        raise refuse(
            Reason.TOKEN_TOO_OLD, f"This route requires an access token of at most {max_age:g} seconds."
        )


def _is_bound(identity: Identity, binding: str) -> bool:
    """Tell whether the token is bound, and to what is demanded: "certificate", "key", or "" for either."""
    return identity.bound and (not binding or identity.binding in {binding, "both"})

"""Sealed proofs: what must be true before a byte leaves for a backend.

`forward` demands a `Permit`, a `Reservation` (which demands an `Admission`) and a `Vetted`; each is
made in exactly one stage, so leaving a stage out of the line is a type error. The makers are banned
everywhere else by ruff's TID251. In Python a seal guards against mistakes, not against hostile code in
the process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

if TYPE_CHECKING:
    from gateway.core.budgets import Estimate, Hold
    from gateway.core.identity import Identity
    from gateway.core.limits import Ledger
    from gateway.core.prompt import Prompt
    from gateway.core.route import Route

_SEAL: Final = object()


def _check(seal: object) -> None:
    if seal is not _SEAL:
        msg = "a proof is issued by its stage, never constructed"
        raise TypeError(msg)


@final
class Entry:
    """This identity may use this route, as far as the head of the request tells."""

    __slots__ = ("identity", "route")

    def __init__(self, seal: object, identity: Identity, route: Route) -> None:
        _check(seal)
        self.identity = identity
        self.route = route


@final
class Admission:
    """The limits of the route have room for this request, and it is charged."""

    __slots__ = ("entry", "ledger")

    def __init__(self, seal: object, entry: Entry, ledger: Ledger) -> None:
        _check(seal)
        self.entry = entry
        self.ledger = ledger


@final
class Reservation:
    """The budgets of the route have room for exactly this prompt, and it is set aside.

    Args:
        admission: That the head was admitted.
        permit: What was permitted.
        holds: What is set aside; none on a route without budgets.
        estimate: What the prompt is taken to use.
    """

    __slots__ = ("admission", "estimate", "holds", "permit")

    def __init__(
        self, seal: object, admission: Admission, permit: Permit, holds: tuple[Hold, ...], estimate: Estimate
    ) -> None:
        _check(seal)
        self.admission = admission
        self.permit = permit
        self.holds = holds
        self.estimate = estimate


@final
class Vetted:
    """The body passed every check of the route; `body` is re-serialised from what was checked."""

    __slots__ = ("body", "content_type", "entry", "prompt")

    def __init__(self, seal: object, entry: Entry, prompt: Prompt, body: bytes, content_type: bytes) -> None:
        _check(seal)
        self.entry = entry
        self.prompt = prompt
        self.body = body
        self.content_type = content_type


@final
class Permit:
    """This identity may send exactly this prompt to exactly this model now.

    Args:
        rule: Name of the rule that allowed it.
    """

    __slots__ = ("identity", "model", "route", "rule")

    def __init__(self, seal: object, identity: Identity, route: Route, model: str | None, rule: str) -> None:
        _check(seal)
        self.identity = identity
        self.route = route
        self.model = model
        self.rule = rule


def issue_entry(identity: Identity, route: Route) -> Entry:
    """For `stages.authorize` alone."""
    return Entry(_SEAL, identity, route)


def issue_admission(entry: Entry, ledger: Ledger) -> Admission:
    """For `stages.limit` alone."""
    return Admission(_SEAL, entry, ledger)


def issue_reservation(
    admission: Admission, permit: Permit, holds: tuple[Hold, ...], estimate: Estimate
) -> Reservation:
    """For `stages.reserve` alone."""
    return Reservation(_SEAL, admission, permit, holds, estimate)


def issue_vetted(entry: Entry, prompt: Prompt, body: bytes, content_type: bytes) -> Vetted:
    """For `stages.inspect` alone."""
    return Vetted(_SEAL, entry, prompt, body, content_type)


def issue_permit(entry: Entry, model: str | None, rule: str) -> Permit:
    """For `stages.authorize` alone."""
    return Permit(_SEAL, entry.identity, entry.route, model, rule)

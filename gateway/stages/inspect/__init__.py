"""Inspect: is the body exactly what the route's dialect says a body is?

Decides about bytes alone: framing came before, policy comes after. What goes on to the backend is
re-serialised from what was checked, so there is no second parser to confuse. Never looks at who
asks, never repairs a body, never lets an unchecked byte of a structured dialect pass.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.core.permit import issue_vetted
from gateway.core.refusal import Refusal, Refused

if TYPE_CHECKING:
    from gateway.core.call import Call
    from gateway.core.permit import Entry, Vetted


def inspect(entry: Entry, call: Call, body: bytes) -> Vetted:
    """Check a body by its route's inspector.

    Args:
        entry: Proof that the caller may use the route; it names the route.
        call: The request; only its method and headers matter here.
        body: The whole body, bounded by the route. Attacker-controlled.

    Returns:
        The proof that the body passed, with the bytes that go on.

    Raises:
        Refused: `CONTENT_TYPE`, `CONTENT_ENCODING`, `JSON_*`, `SCHEMA_VIOLATION` or `BODY_UNEXPECTED`.
    """
    verdict = entry.route.inspector(body, call)
    if isinstance(verdict, Refusal):
        raise Refused(verdict)
    prompt, canonical, content_type = verdict
    return issue_vetted(entry, prompt, canonical, content_type)

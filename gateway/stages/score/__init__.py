"""Stage `score`: how unusual is this request for this identity?

Counts the request, asks the route's detectors, and adds up what they say. Decides only against the
route's own bar; it never looks at content, and never remembers anything itself.
"""

from __future__ import annotations

from math import isnan
from typing import TYPE_CHECKING

from gateway.core.refusal import Reason, Refusal, Refused
from gateway.core.signals import NO_RISK, Risk

if TYPE_CHECKING:
    from gateway.core.permit import Entry
    from gateway.core.ports import Counters
    from gateway.core.prompt import Prompt
    from gateway.core.signals import Signal

__all__ = ["score"]


def score(entry: Entry, prompt: Prompt, counters: Counters) -> Risk:
    """Count a request and judge how unusual its identity behaves.

    Args:
        entry: Proof that the identity may use the route.
        prompt: What the body asks for.
        counters: What identities did lately.

    Returns:
        The risk: 0 without signals.

    Raises:
        Refused: `RISK_TOO_HIGH`, if the score is above the route's bar. The client reads no number
            and no detector's name: that would teach it how far it may go.
    """
    route = entry.route
    history = counters.request(entry.identity.key, prompt)
    signals: list[Signal] | None = None
    for detector in route.detectors:
        signal = detector(history, prompt)
        if signal is not None:
            if signals is None:
                signals = []
            signals.append(signal)
    if signals is None:
        return NO_RISK
    risk = Risk(combine(signals), tuple(signals))
    if route.risk_bar is not None and risk.score >= route.risk_bar:
        strongest = max(signals, key=_strength)
        raise Refused(
            Refusal(
                Reason.RISK_TOO_HIGH,
                "This request was refused because of unusual behaviour.",
                note="; ".join(
                    f"{signal.name} {signal.strength:.2f}: {signal.evidence}" for signal in signals
                ),
                rule=strongest.name,
            )
        )
    return risk


def combine(signals: list[Signal]) -> float:
    """Combine strengths as independent probabilities of abuse: 1 - product of (1 - strength).

    A strength outside [0, 1] is a detector's mistake; it counts as the nearer end, not a number as 1.
    """
    innocent = 1.0
    for signal in signals:
        strength = 1.0 if isnan(signal.strength) else signal.strength
        innocent *= 1.0 - min(max(strength, 0.0), 1.0)
    return 1.0 - innocent


def _strength(signal: Signal) -> float:
    return signal.strength

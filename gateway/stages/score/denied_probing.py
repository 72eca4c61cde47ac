"""Sees an identity that tries what it may not do: models, routes and scopes that policy denies.

Its posture: a client that is set up wrongly looks the same, so this signals, and never decides; few
refusals say nothing, whatever their share.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, final

from gateway.core.signals import Signal
from gateway.stages.score.wilson import lower_bound, strength

if TYPE_CHECKING:
    from gateway.core.prompt import Prompt
    from gateway.core.signals import History

NAME = "denied-probing"


@final
class DeniedProbing:
    """The share of an identity's requests that policy denied. Implements `core.ports.Detector`.

    Args:
        base: Share in [0, 1) that is usual.
        least: Denials below which nothing is said.
    """

    __slots__ = ("_base", "_least")

    name: ClassVar[str] = NAME

    def __init__(self, base: float = 0.1, least: float = 5.0) -> None:
        self._base = base
        self._least = least

    def __call__(self, history: History, prompt: Prompt, /) -> Signal | None:
        """Return a signal if denials are many and their share is surely above the usual one."""
        del prompt  # says nothing here: what an identity did counts, not what it asks for now
        denials = history.denials
        if denials < self._least:
            return None
        bound = lower_bound(denials, history.requests)
        if bound <= self._base:
            return None
        evidence = f"{denials:.1f} of {history.requests:.1f} denied, surely {bound:.0%}"
        return Signal(NAME, strength(bound, self._base), evidence)

"""Sees an identity that sends bodies which do not pass inspection, again and again: fuzzing.

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

NAME = "malformed-burst"


@final
class MalformedBurst:
    """The share of an identity's requests that inspection refused. Implements `core.ports.Detector`.

    Args:
        base: Share in [0, 1) that is usual.
        least: Malformed requests below which nothing is said.
    """

    __slots__ = ("_base", "_least")

    name: ClassVar[str] = NAME

    def __init__(self, base: float = 0.1, least: float = 5.0) -> None:
        self._base = base
        self._least = least

    def __call__(self, history: History, prompt: Prompt, /) -> Signal | None:
        """Return a signal if malformed are many and their share is surely above the usual one."""
        del prompt  # says nothing here: what an identity did counts, not what it asks for now
        malformed = history.malformed
        if malformed < self._least:
            return None
        bound = lower_bound(malformed, history.requests)
        if bound <= self._base:
            return None
        evidence = f"{malformed:.1f} of {history.requests:.1f} malformed, surely {bound:.0%}"
        return Signal(NAME, strength(bound, self._base), evidence)

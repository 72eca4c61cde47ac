"""Estimates how many distinct things an identity asked for, in a few bytes.

Linear counting (Whang et al., 1990): each thing sets one bit; the share of bits still zero tells how
many things there were. Two halves alternate every half-life, and the estimate is over both: what was
seen between one and two half-lives ago is forgotten. Never keeps what was counted.
"""

from __future__ import annotations

from math import log
from typing import Final, final

PROMPT_BITS: Final = 1024
"""Counts about 5,000 distinct prompts before it is full; standard error 5 % at 1,000."""

MODEL_BITS: Final = 64
"""Counts about 200 distinct models before it is full; far more than anybody needs."""


def estimate(seen: int, bits: int) -> float:
    """Estimate how many distinct things set these bits.

    Args:
        seen: The bits, as an integer.
        bits: How many there are.

    Returns:
        The estimate; of a full sketch, that of one with a single bit left.
    """
    ones = seen.bit_count()
    return bits * log(bits / max(bits - ones, 1))


@final
class Sketch:
    """Distinct things of the current and the last window."""

    __slots__ = ("bits", "current", "previous")

    def __init__(self, bits: int) -> None:
        self.bits = bits
        self.current = 0
        self.previous = 0

    def turn(self, windows: int) -> None:
        """Go on by a number of windows, at least 1."""
        self.previous = self.current if windows == 1 else 0
        self.current = 0

    def estimate(self) -> float:
        """Estimate how many distinct things both windows saw."""
        return estimate(self.current | self.previous, self.bits)

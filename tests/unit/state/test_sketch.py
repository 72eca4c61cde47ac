"""Distinct things, estimated."""

from __future__ import annotations

from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.state.sketch import PROMPT_BITS, Sketch, estimate


@pytest.mark.parametrize("distinct", [1, 10, 100, 1000])
def test_estimates_within_a_few_percent(distinct: int) -> None:
    """Good enough to tell ten prompts from a hundred, and repeats count once."""
    seen = 0
    for index in [*range(distinct)] * 3:
        seen |= 1 << crc32(b"prompt %d" % index) % PROMPT_BITS

    assert pytest.approx(distinct, rel=0.25, abs=1.0) == estimate(seen, PROMPT_BITS)


@given(st.integers(0, 2**64 - 1))
def test_is_total_and_monotonic(seen: int) -> None:
    """Every state has an estimate, a full one too; one more bit never lowers it."""
    here = estimate(seen, 64)

    assert 0.0 <= here <= estimate(seen | (seen + 1) % 2**64, 64)


def test_forgets_what_is_two_windows_old() -> None:
    """Two halves alternate."""
    sketch = Sketch(64)
    sketch.current = 0b111
    sizes = [round(sketch.estimate())]
    sketch.turn(1)
    sketch.current = 0b1000
    sizes.append(round(sketch.estimate()))
    sketch.turn(1)
    sizes.append(round(sketch.estimate()))
    sketch.turn(2)
    sizes.append(round(sketch.estimate()))

    assert sizes == [3, 4, 1, 0]

"""How much a request may use, taken before, and how much it used, read after. Arithmetic alone.

Where an answer does not say what it used, its events and bytes tell: too much rather than nothing, for
what was forwarded was never free.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, assert_never

from gateway.core.budgets import Estimate, Measure

if TYPE_CHECKING:
    from gateway.core.budgets import RouteBudgets
    from gateway.core.exchange import Usage
    from gateway.core.prompt import Prompt

BYTES_PER_TOKEN: Final = 4
"""Of text in the languages and tokenizers that waste most; what is settled is the backend's count."""

BYTES_PER_EVENT: Final = 256
"""Of an event around one token: more than that is taken for more tokens in one event."""

FIRST_BYTES: Final = 64 * 1024
"""Bytes of an answer that are reserved before anybody knows its length; more follow as it grows."""

FIRST_TIME: Final = 10_000
"""Milliseconds of a stream that are reserved; more follow as it lasts."""

MORE_TOKENS: Final = 256
"""Output tokens that an answer takes at a time once it has outrun its reservation."""


def estimate(prompt: Prompt, model: str | None, budgets: RouteBudgets) -> Estimate:
    """Estimate the tokens of a prompt and of its answer.

    Args:
        prompt: The prompt.
        model: The model that was permitted.
        budgets: Prices, and the cap where the client names none.
    """
    cap = budgets.output_cap if prompt.output_cap is None else prompt.output_cap
    price = budgets.prices.get(model or "") or budgets.prices.get("*")
    return Estimate(
        -(-prompt.size // BYTES_PER_TOKEN),
        cap * max(1, prompt.choices),
        price,
        is_capped=prompt.output_cap is not None,
    )


def reserved(measure: Measure, estimate: Estimate, quota: int) -> int:
    """Return how much of a measure is set aside for an estimate; at least 1."""
    match measure:
        case Measure.BYTES_OUT:
            return min(FIRST_BYTES, quota)
        case Measure.STREAM_TIME:
            return min(FIRST_TIME, quota)
        case _:
            return max(1, amount(measure, estimate, estimate.given, estimate.produced))


def amount(
    measure: Measure, estimate: Estimate, given: int, produced: int, sent: int = 0, lasted: int = 0
) -> int:
    """Return how much of a measure tokens, bytes and time are.

    Args:
        measure: Which.
        estimate: Its price.
        given: Input tokens.
        produced: Output tokens.
        sent: Bytes of the answer.
        lasted: Milliseconds of the answer.
    """
    match measure:
        case Measure.REQUESTS | Measure.CONCURRENT | Measure.STREAMS:
            return 1
        case Measure.INPUT_TOKENS:
            return given
        case Measure.OUTPUT_TOKENS:
            return produced
        case Measure.TOKENS:
            return given + produced
        case Measure.COST:
            return estimate.price.of(given, produced) if estimate.price is not None else 0
        case Measure.BYTES_OUT:
            return sent
        case Measure.STREAM_TIME:
            return lasted
        case _:  # pragma: no cover - mypy proves that nothing comes here
            assert_never(measure)


def counted(events: int, sent: int) -> int:
    """Return how many output tokens events and bytes stand for.

    Args:
        events: Server-sent events; 0 for an answer of another kind.
        sent: Bytes of the answer.
    """
    if events == 0:
        return -(-sent // BYTES_PER_TOKEN)
    return events + max(0, sent - BYTES_PER_EVENT * events) // BYTES_PER_TOKEN


def used(estimate: Estimate, usage: Usage, sent: int, *, is_whole: bool) -> tuple[int, int]:
    """Return the input and output tokens that a forwarded request used.

    Args:
        estimate: What was expected.
        usage: What the backend said.
        sent: Bytes of the answer that were passed on.
        is_whole: True if the answer came to its end: only then is what it says about itself final.
    """
    given = estimate.given if usage.input_tokens is None else usage.input_tokens
    produced = usage.output_tokens
    if produced is None or not is_whole:
        seen = counted(usage.events, sent)
        if estimate.is_capped:
            seen = min(seen, estimate.produced)  # more than the cap, the backend did not write
        produced = seen if produced is None else max(produced, seen)
    return given, produced

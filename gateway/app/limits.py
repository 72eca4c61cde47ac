"""Compiles limits: those that the head of a request is enough for, and budgets for all others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.core.budgets import Budget, Dimension, Key, Measure, Price, RouteBudgets
from gateway.core.calendars import Calendar, Window
from gateway.core.limits import ConcurrencyLimit, RateLimit, RouteLimits
from gateway.stages.authorize.globs import ModelSet

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.app.findings import Findings
    from gateway.config.limits import Budget as WindowSettings
    from gateway.config.limits import Metered
    from gateway.config.routing import Route as RouteSettings
    from gateway.config.schema import Settings
    from gateway.config.source import Path as Place

LEASE_SLACK = 30.0  # seconds beyond the longest exchange
IDENTITY = (Key(Dimension.IDENTITY),)
METERED = tuple(measure for measure in Measure if measure is not Measure.REQUESTS and not measure.is_level)


def compile_limits(route: RouteSettings, queue_time: float, *, is_local: bool) -> RouteLimits:
    """Compile the limits of one route that are kept per identity and need no body.

    Args:
        route: The route.
        queue_time: Seconds that its requests may wait for the backend.
        is_local: True if a local share may answer when the store fails.
    """
    limits = route.limits
    if not _is_for_heads(limits):
        return RouteLimits(route.name, is_local_on_failure=is_local)
    rates = tuple(
        RateLimit(rate.text, rate.count, rate.period, min(limits.burst or rate.count, rate.count))
        for rate in limits.requests
    )
    concurrent = limits.concurrent
    # a slot that a crashed gateway holds comes back when its longest exchange would be over
    bounds = route.bounds
    longest = bounds.body_time + queue_time + bounds.connect + bounds.first_byte + bounds.answer_time
    return RouteLimits(
        route.name,
        rates,
        None if concurrent is None else ConcurrencyLimit("concurrent", concurrent, longest + LEASE_SLACK),
        is_local_on_failure=is_local,
    )


def compile_budgets(
    route: RouteSettings, place: Place, settings: Settings, findings: Findings, *, is_local: bool
) -> RouteBudgets:
    """Compile everything else that limits a route.

    Args:
        route: The route.
        place: Where it stands.
        settings: Budgets that routes share, and prices.
        findings: Takes what is wrong.
        is_local: True if a local share may answer when the store fails.
    """
    limits = route.limits
    is_extending = limits.overdraft == "extend"
    budgets: list[Budget] = []
    for index, metered in enumerate((limits, *limits.more)):
        where = (*place, "limits", "more", index - 1) if index else (*place, "limits")
        heads = index == 0 and _is_for_heads(limits)
        own = list(_budgets(metered, route.name, "", is_extending, is_local, is_without_heads=heads))
        known = {budget.name for budget in budgets}
        if len({budget.name for budget in own} - known) < len(own):
            findings.add(where, "the same limit stands twice", "remove one of the two")
        budgets.extend(own)
    for name in limits.shared:
        if name in settings.budgets:
            budgets.extend(_budgets(settings.budgets[name], "", f"{name} ", is_extending, is_local))
    prices = {model: Price(price.input, price.output) for model, price in settings.prices.items()}
    cap = 0 if route.dialect == "openai.embeddings" else limits.output_cap
    return RouteBudgets(tuple(budgets), prices, cap)


def _is_for_heads(limits: Metered) -> bool:
    """Tell whether the head of a request is enough to know whom requests count for."""
    return limits.per == IDENTITY and limits.roles is None and limits.models is None


def _budgets(
    metered: Metered,
    scope: str,
    prefix: str,
    is_extending: bool,  # noqa: FBT001 - private, and named where it is called
    is_local: bool,  # noqa: FBT001
    *,
    is_without_heads: bool = False,
) -> Iterator[Budget]:
    suffix = _suffix(metered)
    models = None if metered.models is None else ModelSet(metered.models)

    def make(
        measure: Measure, text: str, quota: int, period: float = 0.0, calendar: Calendar | None = None
    ) -> Budget:
        return Budget(
            scope,
            f"{prefix}{measure.value} {text}{suffix}",
            measure,
            quota,
            metered.per,
            period,
            calendar,
            None if metered.roles is None else frozenset(metered.roles),
            None if models is None else models.__contains__,
            is_extending=is_extending,
            is_local_on_failure=is_local,
        )

    if not is_without_heads:
        for rate in metered.requests:
            burst = min(metered.burst or rate.count, rate.count)
            yield make(Measure.REQUESTS, rate.text, burst, rate.period * burst / rate.count)
        if metered.concurrent is not None:
            yield make(Measure.CONCURRENT, str(metered.concurrent), metered.concurrent)
    if metered.streams is not None:
        yield make(Measure.STREAMS, str(metered.streams), metered.streams)
    for measure in METERED:
        for amount in getattr(metered, measure.value):
            yield make(measure, amount.text, amount.amount, amount.period)
    for window in metered.budget:
        calendar = Calendar(Window(window.window), window.zone)
        for counted, quota in _quotas(window):
            yield make(counted, f"{quota}/{window.window} {window.zone.key}", quota, calendar=calendar)


def _quotas(window: WindowSettings) -> Iterator[tuple[Measure, int]]:
    for measure in (Measure.REQUESTS, *METERED):
        quota = getattr(window, measure.value)
        if quota is not None:
            yield measure, int(quota * 1000) if measure is Measure.STREAM_TIME else quota


def _suffix(metered: Metered) -> str:
    """Write what tells limits of the same amount apart; an identity is what nobody has to be told."""
    text = ""
    if metered.per != IDENTITY:
        text += " per " + ", ".join(_word(key) for key in metered.per)
    if metered.roles is not None or metered.models is not None:
        text += " for " + ", ".join((*(metered.roles or ()), *(metered.models or ())))
    return text


def _word(key: Key) -> str:
    match key.dimension:
        case Dimension.CLAIM:
            return f"claim:{key.claim}"
        case Dimension.NETWORK:
            return f"network/{key.prefix4}/{key.prefix6}"
        case _:
            return str(key.dimension.value)

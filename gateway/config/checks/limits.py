"""Whether every limit can match a request, and every request can satisfy it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gateway.config.checks.findings import Finding
from gateway.config.checks.routes import names_model
from gateway.core.budgets import Dimension
from gateway.core.dialects import NAMELESS, STREAMING, UNMETERED, WITHOUT_OUTPUT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gateway.config.checks.findings import Subject
    from gateway.config.limits import Limits, Metered
    from gateway.config.routing import Route
    from gateway.config.source import Path

TOKENS: Final = ("input_tokens", "output_tokens", "tokens", "cost")
PRODUCED: Final = ("output_tokens", "tokens")
GROWING: Final = (*PRODUCED, "cost", "bytes_out", "stream_time")
AMOUNTS: Final = (*TOKENS, "bytes_out", "stream_time")


def check_limits(subject: Subject) -> Iterator[Finding]:
    """Limits of a route mean something there."""
    for index, route in enumerate(subject.settings.routes):
        path = ("routes", index, "limits")
        limits = route.limits
        for place, metered in _all(path, limits):
            yield from _metered(subject, place, metered)
            yield from _in_route(place, metered, route)
        yield from _satisfiable(path, subject, route)
        drawn = [subject.settings.budgets[name] for name in limits.shared if name in subject.settings.budgets]
        every = [metered for _, metered in _all(path, limits)] + drawn
        if "overdraft" in limits.model_fields_set and not any(_uses(each, GROWING) for each in every):
            message = "`overdraft` has no effect: nothing here can be outrun by an answer"
            yield Finding(
                (*path, "overdraft"), message, "add `tokens: 100000/day`, or remove it", is_key=True
            )
        if "output_cap" in limits.model_fields_set and not any(
            _uses(each, (*PRODUCED, "cost")) for each in every
        ):
            message = "`output_cap` has no effect: no output tokens are limited"
            yield Finding(
                (*path, "output_cap"), message, "add `tokens: 100000/day`, or remove it", is_key=True
            )
        for position, name in enumerate(limits.shared):
            if name not in subject.settings.budgets:
                known = ", ".join(sorted(subject.settings.budgets)) or "none yet"
                message = f"there is no budget `{name}`"
                mend = f"add it to `budgets`; there are: {known}"
                yield Finding((*path, "shared", position), message, mend, (("budgets",),))
        if len(set(limits.shared)) < len(limits.shared):
            yield Finding((*path, "shared"), "the same budget stands twice", "remove one of the two")


def check_shared(subject: Subject) -> Iterator[Finding]:
    """Budgets that routes share are limits at all, and some route draws on them."""
    settings = subject.settings
    for name, metered in settings.budgets.items():
        path = ("budgets", name)
        yield from _metered(subject, path, metered)
        routes = [route for route in settings.routes if name in route.limits.shared]
        if not routes:
            message = f"no route draws on the budget `{name}`: it limits nobody"
            mend = f"write `shared: [{name}]` in the `limits` of a route, or remove it"
            yield Finding(path, message, mend, is_key=True)
        for route in routes:
            yield from _in_route(path, metered, route)


def check_prices(subject: Subject) -> Iterator[Finding]:
    """What is limited by cost has a price."""
    settings = subject.settings
    for model in settings.prices:
        if "*" in model and model != "*":
            message = f"`{model}` is a pattern, and a price is that of one model"
            yield Finding(("prices", model), message, "write the model's name, or `*` for all others")
    for index, route in enumerate(settings.routes):
        path = ("routes", index, "limits")
        drawn = [settings.budgets[name] for name in route.limits.shared if name in settings.budgets]
        if not any(_uses(each, ("cost",)) for each in (route.limits, *route.limits.more, *drawn)):
            continue
        if not settings.prices:
            yield Finding(
                path,
                "cost is limited, and no model has a price",
                "add `prices: {llama-3-8b: {input: 0.2, output: 0.6}}`",
                (("prices",),),
                is_key=True,
            )
            continue
        models = {model for rule in route.allow for model in rule.models or () if "*" not in model}
        lacking = sorted(models - settings.prices.keys())
        if lacking and "*" not in settings.prices:
            message = f"cost is limited, and `{lacking[0]}` has no price: it would always be refused"
            mend = f"add `{lacking[0]}: {{input: 0.2, output: 0.6}}` to `prices`, or `*` for all others"
            yield Finding(path, message, mend, (("prices",),), is_key=True)


def _all(path: Path, limits: Limits) -> Iterator[tuple[Path, Metered]]:
    yield path, limits
    for index, metered in enumerate(limits.more):
        yield (*path, "more", index), metered


def _uses(metered: Metered, measures: Sequence[str]) -> bool:
    return any(
        getattr(metered, measure) not in {(), None}
        or any(getattr(window, measure) is not None for window in metered.budget)
        for measure in measures
    )


def _metered(subject: Subject, path: Path, metered: Metered) -> Iterator[Finding]:
    """What a set of limits says is sound by itself."""
    burst = metered.burst
    if burst is not None and not metered.requests:
        message = "`burst` has no effect without `requests`"
        yield Finding((*path, "burst"), message, "add `requests: 60/minute`, or remove it", is_key=True)
    elif burst is not None and all(burst > rate.count for rate in metered.requests):
        message = f"a burst of {burst} is more than any of the rates grants"
        yield Finding((*path, "burst"), message, "write a smaller burst, or a larger rate")
    for measure in ("requests", *AMOUNTS):
        rates = getattr(metered, measure)
        if len({rate.text for rate in rates}) < len(rates):
            yield Finding((*path, measure), "the same rate stands twice", "remove one of the two")
    for index, window in enumerate(metered.budget):
        if all(getattr(window, measure) is None for measure in ("requests", *AMOUNTS)):
            message = "this budget limits nothing"
            place = (*path, "budget", index)
            yield Finding(place, message, "add `tokens: 5000000`, or remove it")
    if not metered.per or len(set(metered.per)) < len(metered.per):
        message = "limits are kept apart by nothing" if not metered.per else "the same stands twice"
        yield Finding((*path, "per"), message, "write `per: identity`, or `per: [identity, model]`")
    is_plain = "per" in metered.model_fields_set or metered.roles is not None or metered.models is not None
    if is_plain and not _uses(metered, ("requests", *AMOUNTS)) and not _levels(metered):
        message = "nothing is limited here"
        yield Finding(path, message, "add `requests: 60/minute`, or remove it", is_key=True)
    yield from _who(subject, path, metered)


def _levels(metered: Metered) -> bool:
    return metered.concurrent is not None or metered.streams is not None


def _who(subject: Subject, path: Path, metered: Metered) -> Iterator[Finding]:
    """What limits are kept apart by, and whom they are for, exists."""
    tls = subject.settings.server.tls
    dimensions = {key.dimension for key in metered.per}
    if Dimension.CERTIFICATE in dimensions and (tls is None or tls.client_certificate == "none"):
        message = "limits are kept apart by certificates, but the listener never asks for one"
        mend = "write `client_certificate: required` (or `optional`) in `server.tls`"
        yield Finding((*path, "per"), message, mend, (("server", "tls"),))
    if Dimension.CLAIM in dimensions and not subject.settings.identity.issuers:
        message = "limits are kept apart by a claim, but no issuer is believed"
        yield Finding(
            (*path, "per"), message, "add an issuer to `identity.issuers`", (("identity", "issuers"),)
        )
    for line in ("roles", "models"):
        if getattr(metered, line) == ():
            message = f"an empty list of {line}: this limit can never match"
            yield Finding((*path, line), message, f"add an entry, or remove `{line}:` to mean any")
    for position, role in enumerate(metered.roles or ()):
        if role not in subject.roles:
            known = ", ".join(sorted(subject.roles)) or "none yet"
            mend = f"add it to `roles`; there are: {known}"
            reads = (("identity", "anonymous"),)
            yield Finding((*path, "roles", position), f"there is no role `{role}`", mend, reads)


def _in_route(path: Path, metered: Metered, route: Route) -> Iterator[Finding]:
    """What is limited can be read from requests and answers of this route."""
    dialect = route.dialect
    if dialect in UNMETERED:
        for measure in TOKENS:
            if _uses(metered, (measure,)):
                message = (
                    f"answers of the dialect `{dialect}` say nothing of tokens: this limit can never match"
                )
                yield Finding(_place(path, metered, measure), message, "limit `requests` or `bytes_out`")
    has_no_model = dialect in NAMELESS and not names_model(route)
    if has_no_model and (
        metered.models is not None or any(key.dimension is Dimension.MODEL for key in metered.per)
    ):
        line = "models" if metered.models is not None else "per"
        message = f"requests of the dialect `{dialect}` name no model: this limit can never match"
        yield Finding((*path, line), message, "remove it from this limit")
    if dialect not in STREAMING:
        for measure in ("streams", "stream_time"):
            if _uses(metered, (measure,)) if measure != "streams" else metered.streams is not None:
                message = f"requests of the dialect `{dialect}` ask for no stream: this limit can never match"
                yield Finding(
                    _place(path, metered, measure), message, "limit `concurrent` or `bytes_out` instead"
                )


def _place(path: Path, metered: Metered, measure: str) -> Path:
    return (*path, measure) if getattr(metered, measure) else (*path, "budget")


def _satisfiable(path: Path, subject: Subject, route: Route) -> Iterator[Finding]:
    """A request without a cap of its own can be served at all."""
    if route.dialect in WITHOUT_OUTPUT:
        return
    cap = route.limits.output_cap
    settings = subject.settings
    shared = [
        (("budgets", name), settings.budgets[name])
        for name in route.limits.shared
        if name in settings.budgets
    ]
    for place, metered in [*_all(path, route.limits), *shared]:
        for measure in PRODUCED:
            quotas = [rate.amount for rate in getattr(metered, measure)]
            quotas += [
                getattr(window, measure) for window in metered.budget if getattr(window, measure) is not None
            ]
            if quotas and min(quotas) <= cap:
                message = (
                    f"a limit of {min(quotas)} {measure.replace('_', ' ')} has no room for one answer: "
                    f"{cap} are reserved where the client names no cap"
                )
                mend = (
                    f"write a larger limit, or `output_cap: {max(1, min(quotas) // 4)}` in the route's limits"
                )
                yield Finding(_place(place, metered, measure), message, mend)

"""The limits of routes, budgets that routes share, and the prices behind budgets of cost."""

from typing import Annotated, Literal, TypeAlias

from pydantic import BeforeValidator, Field

from gateway.config.amounts import (
    ByteRate,
    CostRate,
    Keys,
    Money,
    TimeRate,
    TokenRate,
    Zone,
)
from gateway.config.patterns import ModelPattern, Name
from gateway.config.quantities import Duration, Rates, Size
from gateway.config.section import Section, required, setting
from gateway.config.texts import one_or_more

Count: TypeAlias = Annotated[int, Field(ge=1, le=1_000_000_000_000)]
Level: TypeAlias = Annotated[int, Field(ge=1, le=100_000)]
TokenRates: TypeAlias = Annotated[tuple[TokenRate, ...], BeforeValidator(one_or_more)]
CostRates: TypeAlias = Annotated[tuple[CostRate, ...], BeforeValidator(one_or_more)]
ByteRates: TypeAlias = Annotated[tuple[ByteRate, ...], BeforeValidator(one_or_more)]
TimeRates: TypeAlias = Annotated[tuple[TimeRate, ...], BeforeValidator(one_or_more)]


class Price(Section):
    """What a model costs, per million tokens, in whatever currency budgets are written in."""

    input: Money = required("Per million input tokens.")
    output: Money = required("Per million output tokens.")


class Budget(Section):
    """So much per calendar window: whole again when the next one begins."""

    window: Literal["hour", "day", "week", "month"] = required("How long; weeks begin on Monday.")
    zone: Zone = setting("UTC", "Whose midnight ends a day: a name of the IANA time zone database.")
    requests: Count | None = setting(None, "Most requests.")
    input_tokens: Count | None = setting(None, "Most input tokens.")
    output_tokens: Count | None = setting(None, "Most output tokens.")
    tokens: Count | None = setting(None, "Most tokens, input and output together.")
    cost: Money | None = setting(None, "Most cost, by `prices`.")
    bytes_out: Size | None = setting(None, "Most bytes of answers.")
    stream_time: Duration | None = setting(None, "Longest time of all streams together.")


class Metered(Section):
    """Limits that are kept apart by the same things."""

    per: Keys = setting(
        "identity",
        "What each limit is kept apart by, one or several: `identity`, `route`, `model`, `role`, "
        "`certificate`, `network/24`, `claim:NAME`.",
    )
    roles: tuple[Name, ...] | None = setting(None, "Only for callers with one of these roles.")
    models: tuple[ModelPattern, ...] | None = setting(None, "Only for these models.")
    requests: Rates = setting((), "Rate, or list of rates: `60/minute`, `1000/hour`.")
    burst: Annotated[int, Field(ge=1, le=1_000_000)] | None = setting(
        None, "How many of each rate of requests may come at once; none: as many as its period grants."
    )
    input_tokens: TokenRates = setting((), "Rate of input tokens: `100000/day`.")
    output_tokens: TokenRates = setting((), "Rate of output tokens.")
    tokens: TokenRates = setting((), "Rate of tokens, input and output together.")
    cost: CostRates = setting((), "Rate of cost, by `prices`: `5.00/day`.")
    bytes_out: ByteRates = setting((), "Rate of bytes of answers: `1GiB/day`.")
    stream_time: TimeRates = setting((), "Rate of time that all streams last together: `1h/day`.")
    concurrent: Level | None = setting(None, "Most requests at the same time.")
    streams: Level | None = setting(None, "Most event streams at the same time.")
    budget: Annotated[tuple[Budget, ...], BeforeValidator(one_or_more)] = setting(
        (), "Quota per calendar window, or list of them."
    )


class Limits(Metered):
    """How much may be asked for on this route."""

    more: tuple[Metered, ...] = setting((), "Further limits, kept apart by other things.")
    shared: tuple[Name, ...] = setting((), "Names of `budgets` that this route draws on with others.")
    output_cap: Annotated[int, Field(ge=1, le=10_000_000)] = setting(
        1024, "Output tokens that are reserved where the client names no cap."
    )
    overdraft: Literal["extend", "end"] = setting(
        "extend",
        "Whether an answer that outruns what was reserved takes more while there is more, or ends.",
    )

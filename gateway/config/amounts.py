"""What budgets are written in: amounts per time, money, time zones, and what limits are kept apart by."""

import re
from dataclasses import dataclass
from typing import Annotated, Final, TypeAlias, final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BeforeValidator, PlainValidator, WithJsonSchema

from gateway.config.quantities import DURATION, SIZES, UNITS
from gateway.config.texts import describe, one_or_more, refused, schema, text_type
from gateway.core.budgets import Dimension, Key

PER: Final = r"/([1-9][0-9]{0,4} ?)?(second|minute|hour|day|month)s?$"
PERIODS: Final = {"second": 1.0, "minute": 60.0, "hour": 3600.0, "day": 86400.0, "month": 30 * 86400.0}
MAX_PERIOD: Final = 31 * 86400.0
MAX_AMOUNT: Final = 10**15  # whole numbers that doubles still tell apart, with room to add
MICRO: Final = 1_000_000
MAX_MONEY: Final = 1_000_000_000
PREFIX4: Final = 32
PREFIX6: Final = 128


@final
@dataclass(frozen=True, slots=True)
class AmountRate:
    """So much per period.

    Args:
        amount: In the smallest unit of what is counted.
        period: Seconds.
        text: As it was written.
    """

    amount: int
    period: float
    text: str


def _rate(text: str, amount: int) -> AmountRate:
    number, unit = re.match(r"([0-9]*) ?([a-z]+?)s?$", text.partition("/")[2]).groups()  # type: ignore[union-attr]  # PER has matched
    period = int(number or 1) * PERIODS[unit]
    if period > MAX_PERIOD:
        raise refused(f"`{text}` is about more than a month", "write a shorter period, or a `budget`")
    if amount > MAX_AMOUNT:
        raise refused(f"`{text}` is more than anything can count", "write a smaller amount")
    return AmountRate(amount, period, text)


def _tokens(text: str) -> AmountRate:
    return _rate(text, int(text.partition("/")[0]))


def _cost(text: str) -> AmountRate:
    return _rate(text, _positive(text, round(float(text.partition("/")[0]) * MICRO)))


def _bytes(text: str) -> AmountRate:
    size = text.partition("/")[0]
    number = size.rstrip("BKMGTi")
    return _rate(text, _positive(text, int(number) * SIZES[size[len(number) :]]))


def _time(text: str) -> AmountRate:
    time = text.partition("/")[0]
    number = time.rstrip("mshd")
    return _rate(text, _positive(text, round(float(number) * UNITS[time[len(number) :]] * 1000.0)))


def _positive(text: str, amount: int) -> int:
    if amount < 1:
        raise refused(f"`{text}` is nothing at all", "write a larger amount, or a rule that denies")
    return amount


def _money(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise refused(f"expected an amount of money, found {describe(value)}", "write it like `0.25`")
    if not 0 <= value <= MAX_MONEY or (value and value * MICRO < 1):
        raise refused(
            f"`{value}` is no amount of money that can be counted", "write one from 0.000001 to 1000000000"
        )
    return round(value * MICRO)


def _zone(text: str) -> ZoneInfo:
    try:
        return ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        mend = "write a name of the IANA time zone database, such as `Europe/Berlin` or `UTC`"
        raise refused(f"`{text}` is no time zone that this machine knows", mend) from None


def _key(text: str) -> Key:
    mend = "write `identity`, `route`, `model`, `role`, `certificate`, `network/24` or `claim:NAME`"
    if text.startswith("claim:") and len(text) > len("claim:"):
        return Key(Dimension.CLAIM, claim=text.removeprefix("claim:"))
    if network := re.match(r"network/([0-9]{1,2})(?:/([0-9]{1,3}))?\Z", text):
        prefix4, prefix6 = int(network[1]), int(network[2] or 64)
        if not (1 <= prefix4 <= PREFIX4 and 1 <= prefix6 <= PREFIX6):
            raise refused(f"`{text}` is no length of a prefix", "write `network/24` or `network/24/56`")
        return Key(Dimension.NETWORK, prefix4=prefix4, prefix6=prefix6)
    if text in {"identity", "route", "model", "role", "certificate"}:
        return Key(Dimension(text))
    raise refused(f"limits cannot be kept apart by `{text}`", mend)


TOKEN_RATE: Final = r"^[1-9][0-9]{0,14}" + PER
COST_RATE: Final = r"^[0-9]{1,9}(\.[0-9]{1,6})?" + PER
BYTE_RATE: Final = r"^[0-9]{1,9}(B|KiB|MiB|GiB)" + PER
TIME_RATE: Final = DURATION.removesuffix("$") + PER
ZONE: Final = r"^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*$"

TokenRate: TypeAlias = Annotated[
    AmountRate,
    PlainValidator(text_type("a rate of tokens", _tokens, "100000/day", TOKEN_RATE)),
    schema("rate of tokens", "100000/day", TOKEN_RATE),
]
CostRate: TypeAlias = Annotated[
    AmountRate,
    PlainValidator(text_type("a rate of cost", _cost, "5.00/day", COST_RATE)),
    schema("rate of cost", "5.00/day", COST_RATE),
]
ByteRate: TypeAlias = Annotated[
    AmountRate,
    PlainValidator(text_type("a rate of bytes", _bytes, "1GiB/day", BYTE_RATE)),
    schema("rate of bytes", "1GiB/day", BYTE_RATE),
]
TimeRate: TypeAlias = Annotated[
    AmountRate,
    PlainValidator(text_type("a rate of time", _time, "1h/day", TIME_RATE)),
    schema("rate of time", "1h/day", TIME_RATE),
]
Money: TypeAlias = Annotated[
    int,
    PlainValidator(_money),
    WithJsonSchema({"type": "number", "title": "money", "minimum": 0, "maximum": MAX_MONEY}),
]
Zone: TypeAlias = Annotated[
    ZoneInfo,
    PlainValidator(text_type("a time zone", _zone, "Europe/Berlin", ZONE)),
    schema("time zone", "Europe/Berlin", ZONE),
]
OneKey: TypeAlias = Annotated[
    Key,
    PlainValidator(text_type("what limits are kept apart by", _key, "identity")),
    schema("dimension", "identity"),
]
Keys: TypeAlias = Annotated[tuple[OneKey, ...], BeforeValidator(one_or_more)]

"""Durations, sizes and rates: numbers that never stand without their unit."""

from dataclasses import dataclass
from typing import Annotated, Final, TypeAlias, final

import limits
from pydantic import BeforeValidator, PlainValidator

from gateway.config.texts import one_or_more, refused, schema, text_type

UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
SIZES: Final = {"B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}
DURATION: Final = r"^[0-9]{1,9}(\.[0-9]{1,3})?(ms|s|m|h|d)$"
SIZE: Final = r"^[0-9]{1,9}(B|KiB|MiB|GiB)$"
RATE: Final = r"^[1-9][0-9]{0,8}/([1-9][0-9]{0,4} ?)?(second|minute|hour|day|month)s?$"
MAX_SECONDS: Final = 366 * 86400.0
MAX_SIZE: Final = 64 * 1024**3


def _seconds(text: str) -> float:
    number = text.rstrip("mshd")
    seconds = float(number) * UNITS[text[len(number) :]]
    if seconds > MAX_SECONDS:
        raise refused(f"`{text}` is longer than 366 days", "write a shorter time")
    return seconds


def _positive_seconds(text: str) -> float:
    seconds = _seconds(text)
    if seconds <= 0:
        raise refused(f"`{text}` is no time at all", "write at least `1ms`: no bound can be switched off")
    return seconds


def _bytes(text: str) -> int:
    number = text.rstrip("BKMGi")
    size = int(number) * SIZES[text[len(number) :]]
    if not 0 < size <= MAX_SIZE:
        raise refused(
            f"`{text}` is not between 1B and 64GiB", "write a size between: no bound can be switched off"
        )
    return size


@final
@dataclass(frozen=True, slots=True)
class Rate:
    """So many per period.

    Args:
        count: Requests per period.
        period: Seconds.
        text: As it was written: the limit's name.
    """

    count: int
    period: float
    text: str


def _rate(text: str) -> Rate:
    item = limits.parse(text)
    return Rate(item.amount, float(item.get_expiry()), text)


Duration: TypeAlias = Annotated[
    float,
    PlainValidator(text_type("a duration", _positive_seconds, "30s", DURATION)),
    schema("duration", "30s", DURATION),
]
DurationOrZero: TypeAlias = Annotated[
    float,
    PlainValidator(text_type("a duration", _seconds, "30s", DURATION)),
    schema("duration", "30s", DURATION),
]
Size: TypeAlias = Annotated[
    int, PlainValidator(text_type("a size", _bytes, "16KiB", SIZE)), schema("size", "16KiB", SIZE)
]
OneRate: TypeAlias = Annotated[
    Rate, PlainValidator(text_type("a rate", _rate, "60/minute", RATE)), schema("rate", "60/minute", RATE)
]
Rates: TypeAlias = Annotated[tuple[OneRate, ...], BeforeValidator(one_or_more)]

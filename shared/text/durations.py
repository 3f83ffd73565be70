"""Lengths of time as people write them into the API: with a unit, and only units of a fixed length.

`PT8H` is what is documented and what is always answered; `8h`, `90m` and `1h30m` are read too, since that is
what people type. A month is refused: it has no length.
"""

import re
from datetime import timedelta
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema
from pydantic_core import PydanticCustomError

from shared.text.refusals import refused

LONGEST: Final = timedelta(days=3650)
"""Nothing here lasts ten years; beyond, arithmetic with dates leaves the calendar."""

_ISO: Final = re.compile(
    r"P(?=[0-9T])(?:(?P<weeks>[0-9]{1,5})W)?(?:(?P<days>[0-9]{1,5})D)?"
    r"(?:T(?=[0-9])(?:(?P<hours>[0-9]{1,6})H)?(?:(?P<minutes>[0-9]{1,8})M)?"
    r"(?:(?P<seconds>[0-9]{1,9}(?:\.[0-9]{1,6})?)S)?)?"
)
_SHORT: Final = re.compile(
    r"(?=[0-9])(?:(?P<weeks>[0-9]{1,5}) ?w ?)?(?:(?P<days>[0-9]{1,5}) ?d ?)?(?:(?P<hours>[0-9]{1,6}) ?h ?)?"
    r"(?:(?P<minutes>[0-9]{1,8}) ?m(?:in)? ?)?(?:(?P<seconds>[0-9]{1,9}) ?s)?",
    re.IGNORECASE,
)
_CALENDAR: Final = re.compile(r"P[0-9][^T]*[YM].*")


def parse_duration(value: object) -> timedelta:
    """The length a text says; raises what tells its writer how to write it."""
    if isinstance(value, timedelta):
        return value
    if not isinstance(value, str):
        raise refused("duration_without_unit", f"a length of time needs its unit: {_with_unit(value)}")
    text = value.strip()
    match = _ISO.fullmatch(text.upper()) or _SHORT.fullmatch(text)
    if match is None:
        raise _unreadable(text)
    found = timedelta(**{unit: float(number) for unit, number in match.groupdict().items() if number})
    if found > LONGEST:
        raise refused("duration_too_long", "this is longer than ten years; write a shorter one")
    return found


def format_duration(length: timedelta) -> str:
    """As the API writes it: `P1DT30M`. pydantic would write a year for 365 days, which nobody may send."""
    hours, rest = divmod(length.seconds, 3600)
    minutes, seconds = divmod(rest, 60)
    fraction = f".{length.microseconds:06}".rstrip("0.") if length.microseconds else ""
    time = "".join(f"{number}{unit}" for number, unit in ((hours, "H"), (minutes, "M")) if number)
    time += f"{seconds}{fraction}S" if seconds or fraction else ""
    day = f"{length.days}D" if length.days else ""
    return f"P{day}T{time}" if time else f"P{day or 'T0S'}"


def _unreadable(text: str) -> PydanticCustomError:
    if _CALENDAR.fullmatch(text.upper()):
        return refused(
            "duration_of_the_calendar", "a month is not 30 days and a year not 365: write days, such as P30D"
        )
    if text.isdecimal():
        return refused("duration_without_unit", f"a length of time needs its unit: {_with_unit(int(text))}")
    return refused("duration_invalid", "write a length of time such as PT8H, PT90M or P1D, or 8h, 90m, 1h30m")


def _with_unit(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 10**6:
        return f"write PT{value}S for {value} seconds, or PT{value}H for {value} hours"
    return "write PT8H or 8h for eight hours"


_SCHEMA: Final[dict[str, Any]] = {
    "type": "string",
    "format": "duration",
    "description": "ISO 8601 with fixed units, such as PT8H, PT1H30M or P1D; 8h, 90m and 1h30m are read too",
    "examples": ["PT8H"],
}
Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str, when_used="json-unless-none"),
    WithJsonSchema(_SCHEMA),
]
"""A length of time in a body, a query or an answer."""

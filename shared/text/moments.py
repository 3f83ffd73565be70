"""Times as people write them into the API: with a zone, and converted to UTC while that is possible.

The first and last hours of the calendar have no UTC in Python or PostgreSQL, so that an honest refusal
would come late and look like a bug.
"""

from datetime import UTC, datetime
from typing import Annotated, Final

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, Field

from shared.text.refusals import refused

EXAMPLE: Final = "2026-03-02T09:00:00Z"


def _written(value: object) -> object:
    """Seconds since 1970 are no way to write a time: pydantic would read them."""
    if isinstance(value, datetime) or (isinstance(value, str) and not _is_number(value)):
        return value
    raise refused("moment_invalid", f"write a time with its zone, such as {EXAMPLE}")


def _is_number(text: str) -> bool:
    return text.strip().lstrip("+-").replace(".", "", 1).isdecimal()


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise refused(
            "moment_out_of_range", "this moment is beyond the calendar; choose one in living memory"
        ) from None


Moment = Annotated[
    AwareDatetime, BeforeValidator(_written), AfterValidator(_in_utc), Field(examples=[EXAMPLE])
]

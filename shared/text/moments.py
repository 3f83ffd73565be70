"""Times as people write them into the API: with a zone, and converted to UTC while that is possible.

The first and last hours of the calendar have no UTC in Python or PostgreSQL, so that an honest refusal
would come late and look like a bug.
"""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("this moment is beyond the calendar; choose one in living memory") from None


Moment = Annotated[AwareDatetime, AfterValidator(_in_utc)]

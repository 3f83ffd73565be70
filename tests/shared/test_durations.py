"""Lengths of time: what people type is read, what has no fixed length or no unit is refused with a hint."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from shared.text.durations import LONGEST, Duration


class Asked(BaseModel):
    duration: Duration


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("PT8H", timedelta(hours=8)),
        ("pt8h", timedelta(hours=8)),
        ("P1D", timedelta(days=1)),
        ("P1W", timedelta(weeks=1)),
        ("PT1M", timedelta(minutes=1)),
        ("P1DT2H3M4S", timedelta(days=1, hours=2, minutes=3, seconds=4)),
        ("PT0.5S", timedelta(seconds=0.5)),
        ("8h", timedelta(hours=8)),
        ("90m", timedelta(minutes=90)),
        ("90 min", timedelta(minutes=90)),
        ("1h30m", timedelta(hours=1, minutes=30)),
        ("1d 12h", timedelta(hours=36)),
        ("P3650D", LONGEST),
    ],
)
def test_a_length_with_its_unit_is_read(text: str, length: timedelta) -> None:
    assert Asked.model_validate({"duration": text}).duration == length


@pytest.mark.parametrize(
    ("value", "code", "hint"),
    [
        ("P1M", "duration_of_the_calendar", "P30D"),
        ("P1Y", "duration_of_the_calendar", "P30D"),
        ("P1Y2M3DT4H", "duration_of_the_calendar", "P30D"),
        (True, "duration_without_unit", "PT8H"),
        (8, "duration_without_unit", "PT8S for 8 seconds, or PT8H for 8 hours"),
        ("3600", "duration_without_unit", "PT3600S for 3600 seconds"),
        (1.5, "duration_without_unit", "8h"),
        (None, "duration_without_unit", "8h"),
        ("tomorrow", "duration_invalid", "1h30m"),
        ("", "duration_invalid", "PT8H"),
        ("P", "duration_invalid", "PT8H"),
        ("PT", "duration_invalid", "PT8H"),
        ("h", "duration_invalid", "PT8H"),
        ("-PT1H", "duration_invalid", "PT8H"),
        ("P3651D", "duration_too_long", "ten years"),
        ("PT999999H", "duration_too_long", "ten years"),
    ],
)
def test_what_has_no_unit_or_no_fixed_length_is_refused_with_a_hint(
    value: object, code: str, hint: str
) -> None:
    with pytest.raises(ValidationError) as refused:
        Asked.model_validate({"duration": value})
    (error,) = refused.value.errors()
    assert error["type"] == code
    assert hint in error["msg"]


@given(st.timedeltas(min_value=timedelta(0), max_value=LONGEST))
def test_what_is_answered_can_be_sent_again(length: timedelta) -> None:
    written = Asked(duration=length).model_dump_json()
    assert Asked.model_validate_json(written).duration == length

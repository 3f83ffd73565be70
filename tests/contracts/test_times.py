import json

import pytest
from pydantic import ValidationError

from shared.contracts.event import Event
from shared.contracts.registry import EVENTS
from tests.support.facts import example


@pytest.mark.parametrize("cls", EVENTS.values(), ids=EVENTS)
def test_event_whose_time_has_no_zone_cannot_be_read(cls: type[Event]) -> None:
    """It would compare with nothing, fail in every handler and be retried for ever."""
    body = json.loads(example(cls).model_dump_json())
    body["at"] = "2026-03-02T09:00:00"
    with pytest.raises(ValidationError, match="timezone"):
        cls.model_validate(body)

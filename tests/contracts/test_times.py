import json

import pytest
from pydantic import ValidationError

from shared.contracts.event import Event
from shared.contracts.registry import EVENTS
from shared.contracts.stop import StopFact
from tests.support.facts import example

TIMED = [cls for cls in EVENTS.values() if not issubclass(cls, StopFact)]
"""A stop is read without its time, which its envelope says too: tests/contracts/test_stop.py."""


@pytest.mark.parametrize("cls", TIMED, ids=lambda cls: cls.TYPE)
def test_event_whose_time_has_no_zone_cannot_be_read(cls: type[Event]) -> None:
    """It would compare with nothing, fail in every handler and be retried for ever."""
    body = json.loads(example(cls).model_dump_json())
    body["at"] = "2026-03-02T09:00:00"
    with pytest.raises(ValidationError, match="timezone"):
        cls.model_validate(body)

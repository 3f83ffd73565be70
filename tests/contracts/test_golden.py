"""Every version of every event, frozen as a file: what was once written can be read for ever."""

import json
import os
from pathlib import Path

import pytest

from shared.contracts import registry
from shared.contracts.event import Event
from shared.contracts.registry import EVENTS
from tests.support.facts import contract_events, example

GOLDEN = Path(__file__).parent / "golden"
WRITE = "JIT_WRITE_GOLDEN"


def golden(cls: type[Event]) -> Path:
    return GOLDEN / f"{cls.TYPE}.json"


def as_text(event: Event) -> str:
    return json.dumps(event.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n"


@pytest.mark.parametrize("cls", contract_events(), ids=lambda cls: cls.TYPE)
def test_write_of_todays_class_equals_its_golden_file(cls: type[Event]) -> None:
    written = as_text(example(cls))
    if os.environ.get(WRITE):
        golden(cls).write_text(written, encoding="utf-8")
    assert golden(cls).exists(), (
        f"{cls.TYPE} has no golden file. Is it a new event? Then run the tests of this file once with "
        f"{WRITE}=1 and commit the file."
    )
    assert written == golden(cls).read_text(encoding="utf-8"), (
        f"{cls.TYPE} is written differently from its golden file. A field was renamed, removed or changed "
        f"its meaning? Make a class for the next version and publish both for one release. Fields were "
        f"only added, with defaults? Run the tests of this file with {WRITE}=1: the difference may only "
        f"add lines. The example in tests/support/facts.py was edited? Edit it back."
    )


@pytest.mark.parametrize("cls", contract_events(), ids=lambda cls: cls.TYPE)
def test_read_of_golden_file_gives_the_event_that_was_written(cls: type[Event]) -> None:
    assert cls.model_validate_json(golden(cls).read_bytes()) == example(cls), (
        f"{cls.TYPE} cannot read what was written before: messages of this version are still in topics and "
        f"outboxes. Give new fields a default, and make a next version for anything else."
    )


@pytest.mark.parametrize("cls", contract_events(), ids=lambda cls: cls.TYPE)
def test_read_of_event_with_unknown_field_ignores_it(cls: type[Event]) -> None:
    newer = {**json.loads(golden(cls).read_bytes()), "field_of_a_later_release": 1}
    assert cls.model_validate(newer) == example(cls), "contracts must read events of the next release"


def test_golden_folder_holds_nothing_but_known_events() -> None:
    files = {file.stem for file in GOLDEN.glob("*.json")}
    assert files <= set(EVENTS), (
        f"{sorted(files - set(EVENTS))}: a golden file without its class. A version is dropped only when no "
        f"topic, outbox or log can hold it any more; then remove the file in the same commit."
    )


@pytest.mark.parametrize("cls", contract_events(), ids=lambda cls: cls.TYPE)
def test_type_name_is_noun_past_tense_and_version(cls: type[Event]) -> None:
    noun, verb, version = cls.TYPE.split(".")
    assert noun.replace("_", "").isalpha()
    assert verb.replace("_", "").isalpha()
    assert version.startswith("v")
    assert version[1:].isdigit(), f"{cls.TYPE}: types are noun.past_tense.vN"


def test_every_module_of_contracts_with_events_is_in_the_registry() -> None:
    folder = Path(registry.__file__).parent
    for file in folder.glob("*.py"):
        if 'ClassVar[str] = "' in file.read_text() and file.stem not in {"event", "documents"}:
            assert file.stem in registry.__all__, f"shared/contracts/registry.py: import {file.stem}"

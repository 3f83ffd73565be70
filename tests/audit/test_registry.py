"""The registry is complete, and nothing reaches the log that nobody has decided about."""

import pytest

from services.audit.domain.allowed import BASE, LEFT_OUT, NESTED, Allowed
from services.audit.domain.ocsf import OTHER
from services.audit.domain.registry import CODES, REGISTRY, TRANSLATION_FAILED, RegistryEntry
from shared.contracts.event import Contract, Event
from tests.support import ocsf
from tests.support.facts import contract_events

every_entry = pytest.mark.parametrize("entry", REGISTRY.values(), ids=lambda entry: entry.code)


def test_registry_has_an_entry_for_every_contract_event_and_no_other() -> None:
    missing = set(contract_events()) - set(REGISTRY)
    assert not missing, (
        f"{sorted(cls.TYPE for cls in missing)}: every event is audited. Add an entry to "
        f"services/audit/domain/registry.py: class, activity, severity, shape and the fields to keep."
    )
    assert set(REGISTRY) <= set(contract_events())


@every_entry
def test_entry_decides_about_every_field_of_its_event(entry: RegistryEntry) -> None:
    undecided = set(entry.event.model_fields) - set(entry.fields) - set(BASE)
    assert not undecided - LEFT_OUT.get(entry.event, frozenset()), (
        f"{entry.code}: {sorted(undecided)} are neither kept nor left out. Add them to the entry's fields, "
        f"or to LEFT_OUT in services/audit/domain/allowed.py with the reason."
    )
    assert set(entry.fields) <= set(entry.event.model_fields)


@pytest.mark.parametrize("cls", NESTED, ids=lambda cls: cls.__name__)
def test_allow_list_decides_about_every_field_inside(cls: type[Contract]) -> None:
    decided = set(NESTED[cls]) | LEFT_OUT.get(cls, frozenset())
    assert decided == set(cls.model_fields), (
        f"{cls.__name__} in shared/contracts and its allow-list in services/audit/domain/allowed.py differ"
    )


@every_entry
def test_entry_keeps_no_contract_without_a_list_of_its_own(entry: RegistryEntry) -> None:
    for name, field in entry.event.model_fields.items():
        if name in LEFT_OUT.get(entry.event, ()):
            continue
        if "Contract" in {base.__name__ for base in _classes(field.annotation)}:
            allowed: Allowed | bool = (BASE | entry.fields)[name]
            assert allowed is not True, f"{entry.code}.{name} is a contract: name what is kept of it"


def _classes(annotation: object) -> set[type]:
    inside = getattr(annotation, "__args__", (annotation,))
    return {base for one in inside if isinstance(one, type) for base in one.__mro__}


@every_entry
def test_entry_activity_is_one_of_its_class(entry: RegistryEntry) -> None:
    properties = ocsf.schema_of(entry.ocsf.uid)["properties"]
    assert entry.activity_id in properties["activity_id"]["enum"]
    assert entry.ocsf.category in properties["category_uid"]["enum"]
    assert entry.ocsf.takes_actor == ("actor" in properties)
    if entry.activity_id == OTHER:
        assert entry.activity_name, "an activity without a number of its own needs a name"


def test_codes_belong_to_one_entry_each() -> None:
    assert len(CODES) == len(REGISTRY) + 1, "two versions of an event may share a code: then count versions"
    assert TRANSLATION_FAILED in CODES
    assert all(issubclass(entry.event, Event) and entry.when for entry in REGISTRY.values())

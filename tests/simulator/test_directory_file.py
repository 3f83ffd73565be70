import re
from collections import Counter

import pytest
from botocore.model import ServiceModel

from simulator import identity_store, organizations, sso_assignments, sso_provisioning, sso_sets
from simulator.directory_file import load_directory
from simulator.patterns import compiled
from simulator.validation import load_model

DIRECTORY, STANDING = load_directory()


def test_shipped_organisation_has_its_size() -> None:
    sizes = [len(records) for records in (DIRECTORY.accounts, DIRECTORY.permission_sets, DIRECTORY.users)]
    assert sizes == [120, 25, 300]
    assert len(DIRECTORY.groups) == 40
    assert all(any(DIRECTORY.members_of(group)) for group in DIRECTORY.groups)
    assert max(len(DIRECTORY.chain(unit)) for unit in DIRECTORY.units) == 3


@pytest.mark.parametrize(
    ("user", "groups"),
    [
        ("ann", {"dev"}),
        ("bob", {"dev", "managers"}),
        ("carl", {"owners-prod"}),
        ("dora", {"secops"}),
        ("eve", {"dev", "contractors"}),
        ("root", {"admins"}),
        ("aud", {"auditors"}),
    ],
)
def test_people_of_the_walk_through_are_in_their_groups(user: str, groups: set[str]) -> None:
    found = DIRECTORY.find_user(user)
    joined = {DIRECTORY.groups[row.group].name for row in DIRECTORY.groups_of(found.id)}
    assert joined - {"everybody"} == groups
    assert found.email == f"{user}@example.com"


def test_deciding_groups_have_a_second_person() -> None:
    members = Counter(DIRECTORY.groups[row.group].name for row in DIRECTORY.memberships.values())
    assert [members[name] for name in ("owners-prod", "secops", "admins")] == [2, 2, 2]


def test_special_cases_are_there_once() -> None:
    states = Counter(account.state for account in DIRECTORY.accounts.values())
    assert states == {"ACTIVE": 119, "SUSPENDED": 1}
    assert [user.user_name for user in DIRECTORY.users.values() if not user.enabled] == ["leaver"]
    durations = Counter(found.session_duration for found in DIRECTORY.permission_sets.values())
    assert durations["PT12H"] == 1
    assert durations["PT1H"] > durations["PT4H"] > 1


def test_every_account_of_a_product_is_tagged() -> None:
    for account in DIRECTORY.accounts.values():
        assert {"env", "owner", "criticality"} <= set(account.tags), account.name
    assert sum(account.tags.get("pci") == "yes" for account in DIRECTORY.accounts.values()) == 18


def test_people_have_distinct_names_and_addresses() -> None:
    users = DIRECTORY.users.values()
    assert len({user.user_name for user in users}) == len({user.email for user in users}) == 300
    assert all(re.fullmatch(r"[a-z]+(\.[a-z]+)?", user.user_name) for user in users)


def test_ids_are_the_same_at_every_start() -> None:
    again, standing = load_directory()
    assert again == DIRECTORY
    assert standing == STANDING


SSO = sso_sets.OPERATIONS | sso_provisioning.OPERATIONS | sso_assignments.OPERATIONS


@pytest.mark.parametrize(
    ("service", "operations"),
    [
        ("sso-admin", SSO),
        ("identitystore", identity_store.OPERATIONS),
        ("organizations", organizations.OPERATIONS),
    ],
)
def test_operations_are_those_of_the_model_and_their_patterns_can_be_checked(
    service: str, operations: dict[str, object]
) -> None:
    model: ServiceModel = load_model(service)
    assert set(operations) <= set(model.operation_names)
    for name in model.shape_names:
        compiled(model.shape_for(name).metadata.get("pattern", ""))

"""What parts make of the organisation, and what of it is withheld: rules over values, without a database."""

from datetime import timedelta
from typing import Any

import pytest

from services.provisioner.domain.readings import (
    Directory,
    Part,
    PartKey,
    Slice,
    body_of,
    directory_of,
    outdated_units,
)
from shared.contracts import documents as doc
from tests.support.harness import NOW

MINUTE = timedelta(minutes=1)
ROOT = doc.OrganizationalUnit(id="r-1", name="Root")
TEAMS = doc.OrganizationalUnit(id="ou-1", name="teams", parent="r-1")
INNER = doc.OrganizationalUnit(id="ou-2", name="inner", parent="ou-1")
USER, GROUP = doc.User(id="u1", user_name="ann"), doc.Group(id="g1", name="admins")
ACCOUNT = doc.Account(id="1" * 12, name="orders", state="ACTIVE", ous=("r-1", "ou-1"))
SET = doc.PermissionSet(id="ps-1", arn="arn/ps-1", name="read", digest="d")


def part(kind: str, body: dict[str, Any], of: str = "", *, minutes: float = 0, **left_out: str) -> Part:
    return Part(kind, of, NOW + minutes * MINUTE, body, left_out)


WHOLE = (
    part("users", body_of([USER])),
    part("groups", body_of([GROUP])),
    part("members", {"members": ["u1"]}, "g1"),
    part("organisation", {"management": "9" * 12, "delegated": []}),
    part("roots", body_of([ROOT])),
    part("units", body_of([TEAMS]), "r-1"),
    part("units", body_of([]), "ou-1"),
    part("accounts", body_of([ACCOUNT])),
    part("tags", {"tags": {"env": "prod"}}, ACCOUNT.id),
    part("sets", {"arns": [SET.arn]}),
    part("set", body_of([SET]), SET.arn),
)


def parts_of(*changed: Part, without: PartKey | None = None) -> dict[PartKey, Part]:
    parts = {one.key: one for one in (*WHOLE, *changed)}
    parts.pop(without or ("", ""), None)
    return parts


def directory(*changed: Part, without: PartKey | None = None) -> Directory:
    found = directory_of(parts_of(*changed, without=without))
    assert found is not None
    return found


def keys(found: Directory) -> set[str]:
    return {document.key for document in found.documents}


def test_whole_directory_has_everything_and_withholds_nothing() -> None:
    found = directory()
    tagged = ACCOUNT.model_copy(update={"tags": {"env": "prod"}})
    [shard] = doc.Membership.shards(GROUP.id, ["u1"])
    wanted = [ROOT, TEAMS, tagged, SET, USER, GROUP, shard]
    assert sorted(found.documents, key=lambda one: one.key) == sorted(wanted, key=lambda one: one.key)
    assert (found.withheld, found.people_whole) == ({}, True)


def test_there_is_no_directory_before_every_list_was_read() -> None:
    assert directory_of(parts_of(without=("groups", ""))) is None


@pytest.mark.parametrize(
    ("unread", "withheld"),
    [
        (("members", "g1"), "group/g1"),
        (("tags", ACCOUNT.id), f"account/{ACCOUNT.id}"),
        (("units", "r-1"), f"account/{ACCOUNT.id}"),
        (("set", SET.arn), "set/ps-1"),
    ],
)
def test_what_is_not_wholly_known_is_withheld_and_not_published(unread: PartKey, withheld: str) -> None:
    found = directory(without=unread)
    assert withheld in found.withheld
    assert withheld not in keys(found)
    assert found.people_whole == (unread[0] != "members")


def test_account_in_units_of_which_one_is_unknown_is_withheld() -> None:
    """Rules that name the unit would not find it."""
    account = ACCOUNT.model_copy(update={"ous": ("r-1", "ou-unknown")})
    assert f"account/{account.id}" in directory(part("accounts", body_of([account]))).withheld


def test_account_of_which_only_the_parent_is_known_has_every_unit_above_it() -> None:
    account = ACCOUNT.model_copy(update={"ous": ()})
    changed = (
        part("accounts", body_of([account])),
        part("units", body_of([INNER]), "ou-1"),
        part("units", body_of([]), "ou-2"),
        part("parent", {"parent": "ou-2"}, account.id),
    )
    [shown] = [one for one in directory(*changed).documents if isinstance(one, doc.Account)]
    assert shown.ous == ("r-1", "ou-1", "ou-2")


def test_row_that_cannot_be_read_is_withheld() -> None:
    row = {"user/u2": "'UserName' is missing"}
    found = directory(part("users", body_of([USER]), **row))
    assert (found.left_out, found.withheld) == (row, {"user/u2": None})


def test_directory_is_as_old_as_the_oldest_list_of_its_source_whatever_its_details() -> None:
    found = directory(
        part("users", body_of([USER]), minutes=-5),
        part("groups", body_of([GROUP]), minutes=9),
        part("tags", {"tags": {}}, ACCOUNT.id, minutes=-90),
        part("accounts", body_of([ACCOUNT]), minutes=3),
    )
    assert found.read_at == {"identitystore": NOW - 5 * MINUTE, "organizations": NOW, "sso-admin": NOW}


def test_unit_that_must_be_missing_is_looked_for_where_it_must_be() -> None:
    assert outdated_units(parts_of()) == set()
    account = ACCOUNT.model_copy(update={"ous": ("r-1", "ou-1", "ou-new")})
    assert outdated_units(parts_of(part("accounts", body_of([account])))) == {("units", "ou-1")}


def test_slice_is_what_was_never_read_then_the_oldest_less_what_is_done() -> None:
    parts = {
        ("tags", str(number)): part("tags", {}, str(number), minutes=minute)
        for number, minute in enumerate([30, 10, 20, 0])
    }
    wanted = {*parts, ("tags", "new")}
    chosen = Slice(2, 0.1, overdue=NOW - MINUTE).of(wanted, parts)
    assert [name for _, name in chosen] == ["new", "3", "1"]
    assert Slice(2, 0.1, overdue=NOW - MINUTE).of(parts.keys(), parts, done=[("tags", "0")]) == [
        ("tags", "3")
    ]
    overdue = Slice(1, 0.1, overdue=NOW + 15 * MINUTE).of(parts.keys(), parts)
    assert [name for _, name in overdue] == ["3", "1"]

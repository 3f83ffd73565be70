"""What of a directory is believed: rules over values, without a database."""

from collections.abc import Iterable
from datetime import timedelta

import pytest

from services.provisioner.domain.inventory import Missing, Weighed, believed, hold_id, weigh
from services.provisioner.domain.readings import Directory
from shared.contracts import documents as doc
from tests.support.harness import NOW

HOUR = timedelta(hours=1)
USERS = [doc.User(id=f"u{number}", user_name=f"user-{number}") for number in range(40)]
GROUPS = [doc.Group(id=f"g{number}", name=f"group-{number}") for number in range(40)]
MEMBERS = {group.id: [user.id for user in USERS[:10]] for group in GROUPS}
ACCOUNTS = [doc.Account(id=f"{number:012}", name=f"a{number}", state="ACTIVE") for number in range(40)]
SETS = [doc.PermissionSet(id=f"ps-{n}", arn=f"arn/ps-{n}", name=f"s{n}", digest="d") for n in range(3)]
UNITS = [doc.OrganizationalUnit(id=f"ou-{number}", name=f"ou{number}") for number in range(40)]


def shards(members: dict[str, list[str]]) -> list[doc.Document]:
    return [shard for group, inside in members.items() for shard in doc.Membership.shards(group, inside)]


STORED: list[doc.Document] = [*UNITS, *ACCOUNTS, *SETS, *USERS, *GROUPS, *shards(MEMBERS)]


def directory(
    documents: Iterable[doc.Document], withheld: dict[str, doc.Document | None] | None = None
) -> Directory:
    read_at = dict.fromkeys(("identitystore", "organizations", "sso-admin"), NOW)
    return Directory(tuple(documents), withheld or {}, {}, read_at, people_whole=True)  # type: ignore[arg-type]


def weighed(
    documents: Iterable[doc.Document], *, gone: Iterable[str] = (), **withheld: doc.Document | None
) -> Weighed:
    return weigh(STORED, directory(documents, withheld), share=0.05, believed=list(gone))


def without(*gone: doc.Document) -> list[doc.Document]:
    keys = {document.key for document in gone}
    return [document for document in STORED if document.key not in keys]


def with_members(**members: list[str]) -> list[doc.Document]:
    return [*UNITS, *ACCOUNTS, *SETS, *USERS, *GROUPS, *shards(MEMBERS | members)]


def changed(result: Weighed) -> dict[str, doc.Document]:
    return {document.key: document for document in result.difference.changed}


def removed(result: Weighed) -> set[str]:
    return {document.key for document in result.difference.removed}


def members_after(result: Weighed, group: str) -> set[str]:
    before = {shard.key: shard for shard in doc.Membership.shards(group, MEMBERS[group])}
    now = {**before, **{key: one for key, one in changed(result).items() if key in before}}
    return {
        member
        for key, shard in now.items()
        if isinstance(shard, doc.Membership) and key not in removed(result)
        for member in shard.members
    }


@pytest.mark.parametrize("kind", [USERS, GROUPS, ACCOUNTS, UNITS], ids=lambda kind: kind[0].kind)
@pytest.mark.parametrize(("count", "held"), [(5, False), (6, True), (40, True)])
def test_many_of_a_kind_that_disappear_at_once_are_held(
    kind: list[doc.Document], count: int, held: bool
) -> None:
    result = weighed(without(*kind[:count]))
    assert (result.why is not None) == held
    keys = {one.key for one in kind[:count]}
    assert removed(result) & keys == (set() if held else keys)
    assert set(result.held) == (keys if held else set())
    if held:
        assert f"{count} of 40 {kind[0].kind}s disappeared at once" in str(result.why)


@pytest.mark.parametrize(("count", "held"), [(6, False), (7, True)])
def test_just_the_share_that_is_allowed_is_believed(count: int, held: bool) -> None:
    users = [doc.User(id=f"u{number}", user_name=f"user-{number}") for number in range(120)]
    assert (weigh(users, directory(users[count:]), share=0.05).why is not None) == held


def test_all_sets_gone_are_held_however_few_they_were() -> None:
    result = weighed(without(*SETS))
    assert result.why == "3 of 3 sets disappeared at once"
    assert removed(result) == set()
    assert removed(weighed(without(*SETS[:2]))) == {"set/ps-0", "set/ps-1"}


def test_memberships_that_disappear_everywhere_are_held() -> None:
    """Who left groups one by one has left; so many at once have not."""
    result = weighed(with_members(**{group.id: ["u0"] for group in GROUPS}))
    assert result.why == "360 of 400 memberships disappeared at once"
    assert (changed(result), removed(result)) == ({}, set())


def test_a_group_of_many_that_is_empty_is_held_and_a_handful_is_not() -> None:
    result = weighed(with_members(g0=[]))
    assert result.why == "all members of group g0 disappeared at once"
    assert members_after(result, "g0") == set(MEMBERS["g0"])
    left = weighed(with_members(g0=["u0", "u1", "u2", "u3", "u4"]))
    assert (left.why, members_after(left, "g0")) == (None, {"u0", "u1", "u2", "u3", "u4"})


@pytest.mark.parametrize(("size", "held"), [(5, False), (6, True)])
def test_a_group_that_is_emptied_is_held_from_six_members_on(size: int, held: bool) -> None:
    group = doc.Group(id="g-some", name="some")
    inside = shards({group.id: [user.id for user in USERS[:size]]})
    result = weigh([*STORED, group, *inside], directory([*STORED, group]), share=0.05)
    assert (result.why is not None) == held
    assert removed(result) == (set() if held else {shard.key for shard in inside})


def test_memberships_of_people_or_groups_that_are_gone_are_not_counted_as_left() -> None:
    rest = {group: inside[5:] for group, inside in MEMBERS.items()}
    result = weighed([*UNITS, *ACCOUNTS, *SETS, *USERS[5:], *GROUPS, *shards(rest)])
    assert result.why is None
    assert members_after(result, "g0") == {f"u{number}" for number in range(5, 10)}


def half_read(*more: doc.Document) -> list[doc.Document]:
    """Ten people are gone, with their memberships; and some things are different."""
    keys = {document.key for document in more}
    rest = [one for one in without(*USERS[:10], *shards(MEMBERS)) if one.key not in keys]
    return [*rest, *more]


def test_what_takes_rights_away_passes_while_people_are_held() -> None:
    disabled = USERS[20].model_copy(update={"enabled": False})
    result = weighed(half_read(disabled))
    assert result.why is not None
    assert changed(result)[disabled.key] == disabled
    assert removed(result) == set(), "who was held is still in their groups"


def test_who_left_a_group_is_out_while_others_are_held() -> None:
    stays = {group.id: [user for user in MEMBERS[group.id] if user not in {"u3", "u9"}] for group in GROUPS}
    rest = [one for one in without(*USERS[10:30]) if one.kind != "membership"]
    result = weighed([*rest, *shards(MEMBERS | {"g1": stays["g1"]})])
    assert result.why == "20 of 40 users disappeared at once"
    assert members_after(result, "g1") == set(stays["g1"])
    assert members_after(result, "g2") == set(MEMBERS["g2"])


def test_what_gives_rights_waits_while_people_are_held() -> None:
    enabled = doc.User(id="u-off", user_name="was-off")
    stored = [*STORED, enabled.model_copy(update={"enabled": False})]
    renamed = USERS[30].model_copy(update={"user_name": "somebody-else"})
    new = doc.User(id="u-new", user_name="new")
    rest = [one for one in without(*USERS[:10], renamed) if one.kind != "membership"]
    members = MEMBERS | {"g0": [*MEMBERS["g0"], "u30"]}
    read = directory([*rest, renamed, new, enabled, doc.Group(id="g-new", name="new"), *shards(members)])
    result = weigh(stored, read, share=0.05)
    assert (changed(result), removed(result)) == ({}, set())


def test_people_who_are_held_hold_no_account_and_no_set() -> None:
    moved = ACCOUNTS[0].model_copy(update={"tags": {"env": "prod"}})
    wider = SETS[0].model_copy(update={"digest": "another"})
    result = weighed(half_read(moved, wider))
    assert {moved.key, wider.key} <= changed(result).keys()


def test_suspended_and_protected_accounts_pass_while_accounts_are_held() -> None:
    suspended = ACCOUNTS[20].model_copy(update={"state": "SUSPENDED", "tags": {"env": "dev"}})
    protected = ACCOUNTS[21].model_copy(update={"delegated_administrator": True})
    moved = ACCOUNTS[22].model_copy(update={"ous": ("r-1", "ou-9")})
    new = doc.Account(id="9" * 12, name="new", state="ACTIVE")
    rest = without(*ACCOUNTS[:10], suspended, protected, moved)
    result = weighed([*rest, suspended, protected, moved, new])
    assert changed(result) == {
        suspended.key: ACCOUNTS[20].model_copy(update={"state": "SUSPENDED"}),
        protected.key: protected,
    }


@pytest.mark.parametrize("flag", ["management", "delegated_administrator"])
def test_half_a_directory_takes_no_protection_away(flag: str) -> None:
    protected = ACCOUNTS[20].model_copy(update={flag: True})
    result = weigh([*without(ACCOUNTS[20]), protected], directory(without(*ACCOUNTS[:10])), share=0.05)
    assert changed(result) == {}


def test_a_reopened_account_waits_while_accounts_are_held() -> None:
    closed = ACCOUNTS[20].model_copy(update={"state": "SUSPENDED"})
    stored = [*without(ACCOUNTS[20]), closed]
    result = weigh(stored, directory(without(*ACCOUNTS[:10])), share=0.05)
    assert changed(result) == {}


def test_what_a_set_allows_is_taken_over_while_sets_are_held() -> None:
    wider = SETS[0].model_copy(update={"digest": "another"})
    stored = [*STORED, *(SETS[0].model_copy(update={"id": f"ps-x{n}"}) for n in range(20))]
    result = weigh(stored, directory([*without(SETS[0]), wider]), share=0.05)
    assert result.why == "20 of 23 sets disappeared at once"
    assert (changed(result), removed(result)) == ({wider.key: wider}, set())


def test_what_is_withheld_has_not_disappeared() -> None:
    closed = ACCOUNTS[0].model_copy(update={"state": "CLOSED", "tags": {}})
    keys = {ACCOUNTS[0].key: closed, USERS[0].key: None, SETS[0].key: None, "account/new": ACCOUNTS[1]}
    result = weighed(without(ACCOUNTS[0], USERS[0], SETS[0]), **keys)
    assert (result.why, removed(result)) == (None, set())
    assert changed(result) == {closed.key: ACCOUNTS[0].model_copy(update={"state": "CLOSED"})}
    assert members_after(result, "g0") == set(MEMBERS["g0"])


def test_much_that_is_withheld_is_no_loss_that_anybody_has_to_confirm() -> None:
    result = weighed(without(*USERS[:20]), **dict.fromkeys([one.key for one in USERS[:20]]))
    assert (result.why, result.held, changed(result), removed(result)) == (None, (), {}, set())


def test_what_is_known_to_be_gone_is_removed_and_not_counted() -> None:
    gone = USERS[10:20]
    result = weighed(without(*gone), gone=[one.key for one in gone])
    assert (result.why, removed(result)) == (None, {one.key for one in gone})
    result = weighed(without(*USERS[10:26]), gone=[one.key for one in gone])
    assert (removed(result), len(result.held)) == ({one.key for one in gone}, 6)


@pytest.mark.parametrize(("later", "gone"), [(HOUR, True), (HOUR - timedelta(seconds=1), False)])
def test_what_a_later_reading_still_lacks_is_believed(later: timedelta, gone: bool) -> None:
    missing = [Missing("user/u0", NOW)]
    assert believed(missing, {"identitystore": NOW + later}, after=HOUR) == ({"user/u0"} if gone else set())


def test_time_alone_makes_nothing_believed() -> None:
    """Another source's reading, or none, agrees with nothing."""
    missing = [Missing("user/u0", NOW)]
    assert believed(missing, {"organizations": NOW + 2 * HOUR}, after=HOUR) == set()
    assert believed(missing, {"identitystore": NOW}, after=HOUR) == set()


def test_what_somebody_confirmed_is_believed_at_once() -> None:
    assert believed([Missing("user/u0", NOW, confirmed=True)], {}, after=HOUR) == {"user/u0"}


def test_hold_is_named_after_what_is_held_in_whatever_order() -> None:
    assert hold_id(["user/a", "user/b"]) == hold_id(["user/b", "user/a"]) != hold_id(["user/a"])

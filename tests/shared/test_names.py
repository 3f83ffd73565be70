"""What a name means, and what somebody is told of names: on the small organisation and on made-up worlds."""

from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.contracts.documents import (
    Account,
    Document,
    PermissionSet,
    RegisteredAccount,
    RegisteredSet,
    SetGroup,
    User,
)
from shared.policy.names import Kind, NameReader, Unresolved, meant
from shared.policy.snapshot import Snapshot
from tests.support import organisation as org
from tests.support.harness import NOW

ARN = "arn:aws:organizations::999999999999:account/o-exampleorgid/{}"
SET_ARN = "arn:aws:sso:::permissionSet/ssoins-0000000000000001/{}"
TWIN, HIDDEN = "555555555555", "666666666666"
EVERYBODY = (*org.PEOPLE, "nobody")
DOCUMENTS = tuple(document for owned in org.everything().values() for document in owned)


def account(account_id: str, name: str) -> Account:
    return Account(id=account_id, name=name, state="ACTIVE")


def user(user_id: str, name: str, email: str | None = None, *, enabled: bool = True) -> User:
    return User(id=user_id, user_name=name, email=email, enabled=enabled)


def snapshot(*more: Document) -> Snapshot:
    return Snapshot.of(org.ROLES, (*DOCUMENTS, *more))


def reader(who: str, *more: Document) -> NameReader:
    return NameReader(snapshot(*more), org.user_id(who), NOW)


def told(found: str | Unresolved) -> tuple[str, str]:
    assert isinstance(found, Unresolved), f"{found} was found"
    return found.problem, found.detail


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        (Account, org.P, org.P),
        (Account, "prod-payments", org.P),
        (Account, ARN.format(org.P), org.P),
        (Account, "000000000000", "000000000000"),  # digits are an id, whether it is there or not
        (PermissionSet, org.ADMIN, org.ADMIN),
        (PermissionSet, "Administrator", org.ADMIN),
        (PermissionSet, SET_ARN.format(org.ADMIN), org.ADMIN),
        (SetGroup, "elevated", org.ELEVATED),
        (User, "user-ann", "user-ann"),
        (User, "ann", "user-ann"),
        (User, "ANN", "user-ann"),
        (User, "Ann@Example.com", "user-ann"),
        (User, "gone", "user-gone"),
    ],
)
def test_what_names_one_thing_means_it_for_everybody(kind: Kind, text: str, expected: str) -> None:
    assert meant(snapshot(), kind, text) == {expected}
    for who in EVERYBODY:
        assert reader(who).resolve(kind, text) == expected


@pytest.mark.parametrize(
    ("kind", "text", "problem"),
    [
        (Account, "Prod-Payments", "unknown"),  # AWS tells capital letters apart, so we do
        (Account, "prod-payments ", "unknown"),
        (Account, "prod", "unknown"),  # a part of a name is no name
        (Account, "1111111111111", "unknown"),
        (Account, ARN.format("x"), "unknown"),
        (Account, "arn:aws:iam::111111111111:root", "unknown"),
        (PermissionSet, "administrator", "unknown"),
        (PermissionSet, "arn:aws:sso:::permissionSet/ssoins-another000000001/" + org.ADMIN, "unknown"),
        (PermissionSet, "elevated", "unknown"),  # another kind's name
        (SetGroup, "Administrator", "unknown"),
        (User, "Ann", "found"),
        (User, "Ann ", "unknown"),
        (User, "\N{KELVIN SIGN}im", "unknown"),
    ],
)
def test_only_an_exact_name_counts(kind: Kind, text: str, problem: str) -> None:
    found = reader("root", user("user-kim", "kim")).resolve(kind, text)
    assert (found.problem if isinstance(found, Unresolved) else "found") == problem


def test_an_id_wins_over_names() -> None:
    everything = (
        account(TWIN, org.P),
        account("777777777777", "000000000000"),
        RegisteredAccount(id=TWIN),
        PermissionSet(id="ps-2", arn="arn:2", name=org.ADMIN, digest="d"),
        RegisteredSet(id="ps-2"),
        SetGroup(id="other", name=org.ELEVATED),
        user("user-x", "user-ann", "user-bob"),
    )
    names = reader("root", *everything)
    assert names.resolve(Account, org.P) == org.P
    assert names.resolve(Account, "000000000000") == "000000000000"
    assert names.resolve(PermissionSet, org.ADMIN) == org.ADMIN
    assert names.resolve(SetGroup, org.ELEVATED) == org.ELEVATED
    assert names.resolve(User, "user-ann") == "user-ann"
    assert names.resolve(User, "user-bob") == "user-bob"


def test_an_id_of_what_is_gone_never_becomes_somebody_elses_name() -> None:
    gone = [one.model_copy(update={"deleted": True}) for one in DOCUMENTS if one.key in {
        "user/user-ann", f"set/{org.ADMIN}", "set_group/elevated"}]  # fmt: skip
    names = reader(
        "root",
        *gone,
        user("user-x", "user-ann"),
        PermissionSet(id="ps-2", arn="arn:2", name=org.ADMIN, digest="d"),
        SetGroup(id="other", name=org.ELEVATED),
    )
    assert names.resolve(User, "user-ann") == "user-ann"
    assert names.resolve(PermissionSet, org.ADMIN) == org.ADMIN
    assert names.resolve(PermissionSet, SET_ARN.format(org.ADMIN)) == org.ADMIN
    assert names.resolve(SetGroup, org.ELEVATED) == org.ELEVATED


def test_a_name_follows_a_renaming_and_a_removal() -> None:
    after = snapshot(account(org.P, "payments"), SetGroup(id="elevated", name="elevated", deleted=True))
    assert meant(after, Account, "payments") == {org.P}
    assert not meant(after, Account, "prod-payments")
    assert meant(after, SetGroup, "elevated") == {"elevated"}, "an id, although nothing has it any more"


@pytest.mark.parametrize(
    ("kind", "text", "more", "listed"),
    [
        (Account, "prod-payments", [account(TWIN, "prod-payments"), RegisteredAccount(id=TWIN)],
         [org.P, TWIN]),
        (PermissionSet, "Administrator",
         [PermissionSet(id="ps-2", arn="arn:2", name="Administrator", digest="d"), RegisteredSet(id="ps-2")],
         [org.ADMIN, "ps-2"]),
        (SetGroup, "elevated", [SetGroup(id="elevated", name="elevated", deleted=True),
         SetGroup(id="one", name="twice"), SetGroup(id="two", name="twice")], None),
        (SetGroup, "twice", [SetGroup(id="one", name="twice"), SetGroup(id="two", name="twice")],
         ["one", "two"]),
        (User, "ann@example.com", [user("user-x", "ann@example.com")], ["user-ann", "user-x"]),
        (User, "ann@example.com", [user("user-x", "x", "ANN@example.com", enabled=False)],
         ["user-ann", "user-x"]),
    ],
)  # fmt: skip
def test_a_name_of_several_is_refused_with_all_of_them(
    kind: Kind, text: str, more: list[Document], listed: list[str] | None
) -> None:
    found = reader("root", *more).resolve(kind, text)
    if listed is None:
        assert found == "elevated"
        return
    problem, detail = told(found)
    assert problem == "ambiguous"
    assert "names 2" in detail
    for one in listed:
        assert f"({one})" in detail


def test_a_name_of_very_many_lists_some() -> None:
    many = [SetGroup(id=f"group-{number:02}", name="twice") for number in range(25)]
    _, detail = told(reader("ann", *many).resolve(SetGroup, "twice"))
    assert "names 25" in detail
    assert detail.count("twice (group-") == 10
    assert "15 more" in detail


@pytest.mark.parametrize(
    ("kind", "text", "near"),
    [
        (Account, "prod-paymnets", "prod-payments (111111111111)"),
        (Account, "Prod-Payments", "prod-payments (111111111111)"),
        (PermissionSet, "Administrater", "Administrator (ps-00000000000000ad)"),
        (SetGroup, "elevatd", "elevated (elevated)"),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest(kind: Kind, text: str, near: str) -> None:
    problem, detail = told(reader("ann").resolve(kind, text))
    assert problem == "unknown"
    assert f"did you mean {near}?" in detail


@pytest.mark.parametrize("who", ["bob", "root", "aud"])
def test_who_may_find_people_is_told_the_nearest(who: str) -> None:
    assert "did you mean carl (user-carl)?" in told(reader(who).resolve(User, "carll"))[1]
    assert "did you mean carl (user-carl)?" in told(reader(who).resolve(User, "carl@exampel.com"))[1]
    assert "user-gone" not in told(reader(who).resolve(User, "gonee"))[1], "they cannot be given anything"


def test_a_plain_person_is_told_of_nobody_but_themselves() -> None:
    assert "did you mean" not in told(reader("ann").resolve(User, "carll"))[1]
    assert "did you mean ann (user-ann)?" in told(reader("ann").resolve(User, "anne"))[1]
    twin = user("user-x", "x", "carl@example.com")
    problem, detail = told(reader("ann", twin).resolve(User, "carl@example.com"))
    assert problem == "ambiguous"
    assert "user-" not in detail


SECRETS = (account(HIDDEN, "merger"), account("777777777777", "merger-two"))


@pytest.mark.parametrize("text", ["merger", "mergr", "merger-tw", "nothing-at-all"])
def test_an_account_that_is_not_registered_is_not_told_apart_from_none(text: str) -> None:
    with_it, without = reader("ann", *SECRETS), reader("ann")
    assert with_it.resolve(Account, text) == without.resolve(Account, text)


def test_two_accounts_that_are_not_registered_are_not_told_either() -> None:
    twice = (account(HIDDEN, "merger"), account("777777777777", "merger"))
    assert reader("ann", *twice).resolve(Account, "merger") == reader("ann").resolve(Account, "merger")
    assert told(reader("root", *twice).resolve(Account, "merger"))[0] == "ambiguous"


def test_a_set_that_is_not_registered_is_not_told_apart_from_none() -> None:
    hidden = PermissionSet(id="ps-9", arn="arn:9", name="Merger", digest="d")
    for text in ("Merger", "Mergerr"):
        assert reader("ann", hidden).resolve(PermissionSet, text) == reader("ann").resolve(
            PermissionSet, text
        )
    assert reader("root", hidden).resolve(PermissionSet, "Merger") == "ps-9"


def test_an_account_that_nobody_may_request_counts_too() -> None:
    """Else what `prod-payments` means would change with a registration."""
    problem, detail = told(reader("ann", account(HIDDEN, "prod-payments")).resolve(Account, "prod-payments"))
    assert problem == "ambiguous"
    assert HIDDEN not in detail
    assert "prod-payments (111111111111), 1 more" in detail
    assert (
        HIDDEN in told(reader("root", account(HIDDEN, "prod-payments")).resolve(Account, "prod-payments"))[1]
    )


def test_hints_of_one_request_are_bounded() -> None:
    names = reader("root")
    hinted = [
        "did you mean" in told(names.resolve(Account, f"prod-payment{number}"))[1] for number in range(9)
    ]
    assert hinted == [True] * 5 + [False] * 4


NAMES = st.sampled_from(["a", "A", "b", "111111111111", "222222222222", "ps-1", "ann", "a@x"])
ACCOUNT_IDS = st.sampled_from(["111111111111", "222222222222", "333333333333"])


@st.composite
def worlds(draw: st.DrawFn) -> Snapshot:
    """People with some rights, and few names for many things."""
    ids = st.sampled_from(["a", "b", "ps-1", "ann", "x"])
    documents: Iterable[Document] = [
        *(account(one, draw(NAMES)) for one in draw(st.sets(ACCOUNT_IDS))),
        *(RegisteredAccount(id=one) for one in draw(st.sets(ACCOUNT_IDS))),
        *(
            PermissionSet(id=one, arn=f"arn:{one}", name=draw(NAMES), digest="d")
            for one in draw(st.sets(ids))
        ),
        *(RegisteredSet(id=one) for one in draw(st.sets(ids))),
        *(SetGroup(id=one, name=draw(NAMES)) for one in draw(st.sets(ids))),
        *(user(one, draw(NAMES), draw(st.none() | NAMES)) for one in draw(st.sets(ids))),
    ]
    return snapshot(*documents)


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(worlds(), st.sampled_from([Account, PermissionSet, SetGroup, User]), NAMES)
def test_what_is_found_never_depends_on_who_asks(world: Snapshot, kind: Kind, text: str) -> None:
    answers = {who: NameReader(world, org.user_id(who), NOW).resolve(kind, text) for who in EVERYBODY}
    found = {answer for answer in answers.values() if isinstance(answer, str)}
    assert len(found) <= 1
    ids = meant(world, kind, text)
    if found:
        assert found == ids
    for who, answer in answers.items():
        names = NameReader(world, org.user_id(who), NOW)
        if len(ids) == 1 and all(names.sees(kind, one) for one in ids):
            assert answer in ids, f"{who} sees it and is not given it"
        if len(ids) > 1:
            assert isinstance(answer, Unresolved)


def by_hand(world: Snapshot, kind: Kind, text: str) -> set[str]:
    """The rule, said without an index."""
    if world.knows(kind, text) or (kind is Account and len(text) == 12):
        return {text}
    everything: Iterable[Account | PermissionSet | SetGroup | User] = world.all(kind)
    found = set()
    for one in everything:
        if isinstance(one, User):
            names = {one.user_name.lower(), (one.email or "").lower()}
            matches = text.lower() in names
        else:
            matches = one.name == text
        if matches:
            found.add(one.id)
    return found


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(worlds(), st.sampled_from([Account, PermissionSet, SetGroup, User]), NAMES)
def test_the_index_says_what_the_rule_says(world: Snapshot, kind: Kind, text: str) -> None:
    assert meant(world, kind, text) == by_hand(world, kind, text)

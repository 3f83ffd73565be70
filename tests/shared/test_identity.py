"""From a token to a user: by the document that binds its subject, or by the provisioner's word."""

from dataclasses import replace
from datetime import timedelta

import pytest

from shared.contracts.documents import ExternalId, User
from shared.foundation.errors import Forbidden, JitError, NotReady
from shared.identity.bindings import Answers, Principal, Sight, conflicting, identify, unbound
from shared.identity.tokens import Claims
from shared.policy.snapshot import Snapshot
from tests.support.bindings import ISSUER, binding
from tests.support.harness import NOW

ANN = Claims(
    iss=ISSUER,
    sub="s-ann",
    lookup="user_name",
    lookup_value="ann",
    external_id_issuer="https://scim.example.com",
    client="portal",
    auth_time=NOW,
    acr="mfa",
)
MINUTE = timedelta(minutes=1)


class Provisioner:
    """Answers as told, and keeps what it was asked."""

    def __init__(self, answer: str | JitError | None = None) -> None:
        self.answer = answer or unbound()
        self.asked: list[Sight] = []

    async def first_sight(self, sight: Sight) -> str:
        self.asked.append(sight)
        if isinstance(self.answer, JitError):
            raise self.answer
        return self.answer


def user(user_id: str, name: str, *, email: str = "", enabled: bool = True) -> User:
    external = (ExternalId(issuer="https://scim.example.com", id=f"ext-{user_id}"),)
    return User(
        id=user_id, user_name=name, email=email or f"{name}@x.io", enabled=enabled, external_ids=external
    )


def world() -> Snapshot:
    people = (user("u-ann", "ann"), user("u-bob", "bob"), user("u-off", "off", enabled=False))
    return Snapshot.of(documents=people)


BOUND = binding("s-ann", "u-ann", at=NOW)


async def who(
    snapshot: Snapshot,
    provisioner: Provisioner | None = None,
    claims: Claims = ANN,
    *,
    answers: Answers | None = None,
    later: timedelta = timedelta(0),
    unbound_ok: bool = False,
) -> Principal:
    asked = provisioner or Provisioner()
    return await identify(
        "the.very.token",
        claims,
        snapshot,
        NOW + later,
        first_sight=asked.first_sight,
        answers=answers or Answers(),
        unbound_ok=unbound_ok,
        cause="request",
    )


async def refusal(
    snapshot: Snapshot,
    provisioner: Provisioner | None = None,
    claims: Claims = ANN,
    *,
    answers: Answers | None = None,
    unbound_ok: bool = False,
) -> str:
    with pytest.raises(Forbidden) as raised:
        await who(snapshot, provisioner, claims, answers=answers, unbound_ok=unbound_ok)
    return raised.value.code


async def test_identify_by_the_document_asks_nobody_and_names_the_actor() -> None:
    provisioner = Provisioner()
    principal = await who(world().replace(BOUND), provisioner)
    assert principal.user.id == "u-ann"
    assert principal.actor.model_dump(exclude_none=True) == {
        "kind": "person",
        "name": "ann",
        "user_id": "u-ann",
        "iss": ISSUER,
        "sub": "s-ann",
        "client": "portal",
        "auth_time": NOW,
        "acr": "mfa",
    }
    assert not provisioner.asked


@pytest.mark.parametrize(
    "claims",
    [
        ANN,
        replace(ANN, lookup_value="ANN"),
        replace(ANN, lookup="email", lookup_value="Ann@x.io"),
        replace(ANN, lookup="external_id", lookup_value="ext-u-ann"),
    ],
)
async def test_identify_finds_the_user_by_each_lookup(claims: Claims) -> None:
    assert (await who(world().replace(BOUND), claims=claims)).user.id == "u-ann"


@pytest.mark.parametrize("stops", [False, True])
async def test_identify_of_nobody_two_or_a_disabled_user_is_refused_unasked(stops: bool) -> None:
    provisioner, people = Provisioner("u-ann"), world()
    shared = people.replace(user("u-off", "off", email="ANN@x.io", enabled=False))
    for snapshot, claims, code in (
        (people, replace(ANN, lookup_value="nobody"), "identity_unknown"),
        (
            people,
            replace(ANN, lookup="external_id", lookup_value="ext-u-ann", external_id_issuer=ISSUER),
            "identity_unknown",
        ),
        (people, replace(ANN, lookup_value="off"), "identity_disabled"),
        (shared, replace(ANN, lookup="email", lookup_value="ann@x.io"), "identity_ambiguous"),
    ):
        assert await refusal(snapshot, provisioner, claims, unbound_ok=stops) == code
    assert not provisioner.asked


async def test_identify_of_an_unseen_subject_asks_with_its_token_and_goes_on() -> None:
    provisioner = Provisioner("u-ann")
    assert (await who(world(), provisioner)).user.id == "u-ann"
    (asked,) = provisioner.asked
    assert (asked.token, asked.claims, asked.user.id, asked.cause) == (
        "the.very.token", ANN, "u-ann", "request",
    )  # fmt: skip


async def test_identify_goes_on_with_the_user_the_provisioner_names() -> None:
    principal = await who(world(), Provisioner("u-bob"))
    assert (principal.user.id, principal.actor.user_id, principal.actor.name) == ("u-bob", "u-bob", "bob")
    assert await refusal(world(), Provisioner("u-off")) == "identity_disabled"
    with pytest.raises(NotReady):
        await who(world(), Provisioner("u-new"))


async def test_identify_where_the_provisioner_refuses_is_refused_the_same() -> None:
    assert await refusal(world()) == "identity_unbound"
    assert await refusal(world(), Provisioner(conflicting("c"))) == "identity_conflict"


async def test_identify_remembers_an_answer_for_a_minute_and_no_refusal() -> None:
    provisioner, answers = Provisioner("u-ann"), Answers()
    for later in (timedelta(0), MINUTE - timedelta(seconds=1), MINUTE):
        await who(world(), provisioner, answers=answers, later=later)
    assert len(provisioner.asked) == 2
    refusing, empty = Provisioner(), Answers()
    for _ in range(2):
        await refusal(world(), refusing, answers=empty)
    assert len(refusing.asked) == 2


async def test_identify_by_a_remembered_answer_needs_the_claim_to_name_that_user() -> None:
    answers = Answers()
    await who(world(), Provisioner("u-ann"), answers=answers)
    provisioner = Provisioner(conflicting("c"))
    claims = replace(ANN, lookup_value="bob")
    assert await refusal(world(), provisioner, claims, answers=answers) == "identity_conflict"
    assert await refusal(world(), provisioner, replace(ANN, sub="s"), answers=answers) == "identity_conflict"
    assert await refusal(world(), provisioner, replace(ANN, iss="i"), answers=answers) == "identity_conflict"


@pytest.mark.parametrize("stops", [False, True])
async def test_identify_of_a_subject_that_names_somebody_else_asks_whatever_was_remembered(
    stops: bool,
) -> None:
    answers = Answers()
    await who(world(), Provisioner("u-bob"), replace(ANN, lookup_value="bob"), answers=answers)
    provisioner = Provisioner(conflicting("c"))
    claims = replace(ANN, lookup_value="bob")
    snapshot = world().replace(BOUND)
    assert await refusal(snapshot, provisioner, claims, answers=answers, unbound_ok=stops) == (
        "identity_conflict"
    )
    assert len(provisioner.asked) == 1


@pytest.mark.parametrize("stops", [False, True])
async def test_identify_of_a_killed_subject_is_refused_whatever_was_remembered(stops: bool) -> None:
    provisioner, answers = Provisioner("u-ann"), Answers()
    await who(world(), provisioner, answers=answers)
    killed = world().replace(BOUND).without(BOUND)
    assert await refusal(killed, provisioner, answers=answers, unbound_ok=stops) == "identity_replaced"
    assert len(provisioner.asked) == 1


async def test_identify_to_stop_takes_an_unseen_subject_of_an_unbound_user_unasked() -> None:
    provisioner = Provisioner()
    elsewhere = binding("other", "u-ann", at=NOW, iss="https://other")
    for snapshot in (world(), world().replace(elsewhere)):
        assert (await who(snapshot, provisioner, unbound_ok=True)).user.id == "u-ann"
    assert not provisioner.asked


async def test_identify_to_stop_does_not_take_a_second_subject_of_a_user() -> None:
    snapshot = world().replace(binding("s-first", "u-ann", at=NOW))
    assert await refusal(snapshot, unbound_ok=True) == "identity_unbound"


async def test_identify_before_the_inventory_is_read_is_not_ready() -> None:
    with pytest.raises(NotReady):
        await who(replace(world().replace(BOUND), people_known=False), unbound_ok=True)

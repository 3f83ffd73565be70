"""Requests in the words of people: names, ARNs and e-mails instead of ids, and answers that help."""

from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import Any

import httpx2
import pytest

from local.issuer import DevelopmentIssuer
from services.ticket.domain.draft import Draft, TargetAsked
from services.ticket.domain.plan import Plan, make_plan
from shared.contracts import documents as doc
from shared.contracts.ticket import WindowAsked
from shared.policy.snapshot import Snapshot
from shared.runtime.service import Service
from tests.support import organisation as org
from tests.support.harness import NOW, publish
from tests.support.http import api
from tests.ticket.test_window import LIMITS

HOUR = timedelta(hours=1)
MERGER = doc.Account(id="666666666666", name="merger", state="ACTIVE")
TWIN = doc.Account(id="555555555555", name="prod-cards", state="ACTIVE")


def snapshot(*more: doc.Document) -> Snapshot:
    owned = [document for documents in org.everything().values() for document in documents]
    return Snapshot.of(org.ROLES, (*owned, *more))


def plan(
    world: Snapshot,
    *targets: TargetAsked,
    who: str = "ann",
    beneficiaries: Sequence[str] = (),
    length: timedelta = HOUR,
) -> Plan:
    requester = world.user(org.user_id(who))
    assert requester is not None
    draft = Draft(
        requester=requester,
        beneficiaries=tuple(beneficiaries),
        targets=targets or (TargetAsked("prod-payments", "Administrator"),),
        asked=WindowAsked(duration=length),
        reason="restart the payment workers",
    )
    return make_plan(draft, world, now=NOW, limits=LIMITS)


def problems(made: Plan) -> list[tuple[str, str]]:
    return [(problem.field, problem.code) for problem in made.problems]


@pytest.mark.parametrize("account", [org.P, "prod-payments"])
@pytest.mark.parametrize(
    "allowing",
    [{"set": org.ADMIN}, {"set": "Administrator"}, {"set": org.permission_set(org.ADMIN, "").arn},
     {"set_group": org.ELEVATED}],
)  # fmt: skip
def test_plan_in_names_is_the_plan_in_ids(account: str, allowing: dict[str, str]) -> None:
    made = plan(snapshot(), TargetAsked(account, **allowing))
    assert not made.problems
    (target,) = made.targets
    assert (target.account.id, target.permission_set.id) == (org.P, org.ADMIN)
    assert target.set_group == allowing.get("set_group")


def test_plan_with_a_set_group_by_name_keeps_its_id() -> None:
    named = doc.SetGroup(id="elevated", name="Everything dangerous", sets=(org.ADMIN,))
    (target,) = plan(snapshot(named), TargetAsked(org.P, set_group="Everything dangerous")).targets
    assert target.set_group == "elevated"


def test_plan_that_names_one_thing_twice_has_it_once() -> None:
    made = plan(
        snapshot(),
        TargetAsked("prod-payments", "Administrator"),
        TargetAsked(org.P, set_group="elevated"),
        who="bob",
        beneficiaries=["ann", "ANN@example.com", "user-ann"],
    )
    assert [person.id for person in made.beneficiaries] == ["user-ann"]
    assert len(made.targets) == 1


@pytest.mark.parametrize(
    ("target", "problem"),
    [
        (TargetAsked("prod-paymnets", org.ADMIN), ("/targets/0/account", "account_not_registered")),
        (TargetAsked("merger", org.ADMIN), ("/targets/0/account", "account_not_registered")),
        (TargetAsked(MERGER.id, org.ADMIN), ("/targets/0/account", "account_not_registered")),
        (TargetAsked("prod-cards", org.ADMIN), ("/targets/0/account", "account_ambiguous")),
        (TargetAsked(org.P, "Admin"), ("/targets/0/set", "set_not_registered")),
        (TargetAsked(org.P, set_group="Elevated"), ("/targets/0/set_group", "set_group_unknown")),
    ],
)
def test_plan_with_a_name_that_is_not_one_names_field_and_code(
    target: TargetAsked, problem: tuple[str, str]
) -> None:
    for who in ("ann", "root"):
        assert problem in problems(plan(snapshot(MERGER, TWIN), target, who=who))


def test_plan_tells_only_who_configures_what_is_not_registered() -> None:
    def sentence(who: str, text: str, *more: doc.Document) -> str:
        return plan(snapshot(*more), TargetAsked(text, org.ADMIN), who=who).problems[0].detail

    assert sentence("ann", "merger", MERGER) == sentence("ann", "merger")
    assert MERGER.id in sentence("root", "merger", MERGER)
    assert sentence("ann", MERGER.id, MERGER) == sentence("ann", MERGER.id)


@pytest.mark.parametrize(
    ("name", "code"),
    [("carll", "beneficiary_unknown"), ("gone@example.com", "beneficiary_disabled"),
     ("twice@example.com", "beneficiary_ambiguous")],
)  # fmt: skip
def test_plan_for_somebody_who_is_not_one_enabled_person(name: str, code: str) -> None:
    twice = [doc.User(id=f"user-{n}", user_name=f"twice{n}", email="twice@example.com") for n in (1, 2)]
    made = plan(snapshot(*twice), who="bob", beneficiaries=[name])
    assert problems(made)[0] == ("/beneficiaries/0", code)


@pytest.mark.parametrize(
    ("length", "who", "beneficiaries", "says"),
    [
        (HOUR + timedelta(seconds=1), "ann", [], "for at most PT1H"),
        (9 * HOUR, "bob", ["ann"], "for at most PT8H"),  # request_for has a limit of its own
    ],
)
def test_plan_longer_than_allowed_says_the_longest(
    length: timedelta, who: str, beneficiaries: list[str], says: str
) -> None:
    made = plan(snapshot(), who=who, beneficiaries=beneficiaries, length=length)
    assert any(says in problem.detail for problem in made.problems)
    assert all(problem.code == "not_permitted" for problem in made.problems)


def test_plan_that_no_scope_allows_at_any_length_names_no_length() -> None:
    (problem,) = plan(snapshot(), who="root").problems
    assert "no access scope allows it" in problem.detail
    assert "(111111111111)" in problem.detail
    assert "(ps-00000000000000ad)" in problem.detail


@pytest.fixture
async def ann(service: Service, issuer: DevelopmentIssuer) -> AsyncIterator[httpx2.AsyncClient]:
    async with api(service, issuer, "ann") as client:
        yield client


def body(**changes: Any) -> dict[str, Any]:
    return {
        "targets": [{"account": "prod-payments", "set": "Administrator"}],
        "reason": "restart the payment workers",
        "duration": "PT1H",
    } | changes


async def test_submit_in_names_stores_ids_and_lists_by_name(
    service: Service, ann: httpx2.AsyncClient
) -> None:
    answer = await ann.post("/v1/tickets", json=body(beneficiaries=["ANN@example.com"]))
    assert answer.status_code == 201, answer.text
    ticket = answer.json()
    (target,) = ticket["targets"]
    assert (target["account_id"], target["account_name"]) == (org.P, "prod-payments")
    assert (target["set_id"], target["set_name"]) == (org.ADMIN, "Administrator")
    assert [person["user_id"] for person in ticket["beneficiaries"]] == ["user-ann"]
    for text, found in (("prod-payments", True), (org.P, True), ("dev-web", False), ("0" * 12, False)):
        listed = await ann.get("/v1/tickets", params={"account_id": text})
        assert (ticket["id"] in [one["id"] for one in listed.json()["items"]]) == found


async def test_preview_tells_who_may_not_look_for_people_nothing_of_them(ann: httpx2.AsyncClient) -> None:
    """Whether somebody is there, disabled or not there: only what was written comes back."""
    told = []
    for text in ("bob", "bob@example.com", "user-bob", "gone", "nobody"):
        answer = await ann.post("/v1/tickets/preview", json=body(beneficiaries=["ann", text]))
        shown = answer.json()
        assert [one["user_name"] for one in shown["beneficiaries"]] == ["ann", text]
        assert shown["beneficiaries"][1] == {
            "user_id": "",
            "user_name": text,
            "display_name": "",
            "email": None,
        }
        told.append(answer.text.replace(text, "somebody"))
        submitted = await ann.post("/v1/tickets", json=body(beneficiaries=[text]))
        assert [one["code"] for one in submitted.json()["errors"]] == ["beneficiary_unknown"]
    assert len(set(told)) == 1


async def test_preview_tells_who_may_look_for_people_of_them(
    service: Service, issuer: DevelopmentIssuer
) -> None:
    async with api(service, issuer, "bob") as bob:
        answer = await bob.post("/v1/tickets/preview", json=body(beneficiaries=["ann"]))
    assert [one["user_id"] for one in answer.json()["beneficiaries"]] == ["user-ann"]


async def test_list_by_a_name_that_is_none_is_refused_with_the_nearest(
    service: Service, ann: httpx2.AsyncClient
) -> None:
    publish(service.context.policy, MERGER)
    answer = await ann.get("/v1/tickets", params={"account_id": "prod-paymnets"})
    assert answer.status_code == 422
    (problem,) = answer.json()["errors"]
    assert (problem["field"], problem["code"]) == ("account_id", "account_unknown")
    assert "did you mean prod-payments (111111111111)?" in problem["detail"]
    hidden = await ann.get("/v1/tickets", params={"account_id": "merger"})
    assert hidden.status_code == 422, "a name that they may not know is no name"


async def test_preview_in_names_answers_ids_and_names(ann: httpx2.AsyncClient) -> None:
    shown = (await ann.post("/v1/tickets/preview", json=body())).json()
    assert shown["acceptable"]
    (target,) = shown["targets"]
    assert target["account"] == {"id": org.P, "name": "prod-payments"}
    assert (target["set"]["id"], target["set"]["name"]) == (org.ADMIN, "Administrator")


@pytest.mark.parametrize("text", ["", " ", "a\u0000b", "x" * 257])
async def test_a_name_without_form_is_refused_by_its_field(ann: httpx2.AsyncClient, text: str) -> None:
    targets = [{"account": text, "set": org.ADMIN}]
    answer = await ann.post("/v1/tickets/preview", json=body(targets=targets))
    assert answer.status_code in {400, 422}
    if answer.status_code == 422:
        assert answer.json()["errors"][0]["field"] == "/targets/0/account"


async def test_stops_take_ids_only(ann: httpx2.AsyncClient) -> None:
    answer = await ann.post("/v1/tickets/prod-payments/withdraw", json={"reason": "not needed"})
    assert answer.status_code == 422

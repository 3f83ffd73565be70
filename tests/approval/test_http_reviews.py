from datetime import timedelta

import pytest

from services.approval.background import refresh_reviews
from services.approval.domain.review import Review
from shared.configuration.kinds.sensitive_mark import SensitiveMark
from shared.contracts.configuration import AuthzDenied
from shared.foundation.clock import ManualClock, new_id
from shared.runtime.service import Service
from tests.approval.builders import put_documents, replace_rules, target, ticket
from tests.approval.requests import Desk
from tests.support import organisation as org
from tests.support.harness import publish, said


async def listed(desk: Desk, who: str, **params: object) -> list[str]:
    answer = await desk.get(who, "/v1/reviews", **params)
    assert answer.status_code == 200, answer.text
    return [item["id"] for item in answer.json()["items"]]


def members_of_owners(service: Service, *names: str) -> None:
    """Let the inventory say who owns production from now on."""
    shards = org.members(org.group_id("owners-prod"), *map(org.user_id, names), revision=99)
    put_documents(service.context.tables, "provisioner", org.replaced("provisioner", *shards))


# one review


async def test_show_review_has_stages_votes_and_who_may_decide(desk: Desk) -> None:
    (review,) = await desk.submitted()
    await desk.decide("carl", review.id, comment="go ahead")
    answer = await desk.get("dora", f"/v1/reviews/{review.id}")
    assert (answer.status_code, answer.headers["ETag"]) == (200, '"4"')
    assert answer.json()["sensitive"] == []
    body = answer.json()
    assert [(one["state"], one["approvals"]) for one in body["stage_list"]] == [("met", 1), ("open", 0)]
    assert [(vote["voter"]["user_name"], vote["comment"]) for vote in body["votes"]] == [("carl", "go ahead")]
    assert [person["user_name"] for person in body["may_decide"]] == ["dora"]
    assert (body["stage"], body["stages"], body["you_may_decide"]) == (2, 2, True)
    assert (body["account_name"], body["set_name"], body["duration"]) == (
        "prod-payments", "Administrator", "PT1H",
    )  # fmt: skip
    assert "proof" not in body["votes"][0]


async def test_review_shows_the_marks_of_its_account_and_its_set(desk: Desk, service: Service) -> None:
    (review,) = await desk.submitted()
    publish(service.context.policy, SensitiveMark(id=org.P, why="Holds the card numbers"))
    whole = (await desk.get("carl", f"/v1/reviews/{review.id}")).json()
    (listed_one,) = (await desk.get("carl", "/v1/reviews")).json()["items"]
    for shown in (whole, listed_one):
        (mark,) = shown["sensitive"]
        assert (mark["id"], mark["name"], mark["why"]) == (org.P, "prod-payments", "Holds the card numbers")


async def test_show_closed_review_has_nobody_to_decide(desk: Desk) -> None:
    (review,) = await desk.submitted()
    await desk.decide("carl", review.id, "reject", "not today")
    body = (await desk.get("ann", f"/v1/reviews/{review.id}")).json()
    assert (body["state"], body["code"], body["stage"], body["may_decide"]) == (
        "rejected",
        "rejected",
        None,
        [],
    )
    assert [one["state"] for one in body["stage_list"]] == ["refused", "void"]


@pytest.mark.parametrize(("early", "names"), [(timedelta(seconds=1), ["carl", "cora"]), (timedelta(0), [])])
async def test_show_review_out_of_time_names_nobody_to_decide(
    desk: Desk, clock: ManualClock, early: timedelta, names: list[str]
) -> None:
    (review,) = await desk.submitted()
    clock.advance(review.expires_at - clock.now() - early)
    body = (await desk.get("carl", f"/v1/reviews/{review.id}")).json()
    assert [person["user_name"] for person in body["may_decide"]] == names
    assert (body["state"], body["you_may_decide"]) == ("open", bool(names))
    assert await listed(desk, "carl") == ([review.id] if names else [])


@pytest.mark.parametrize(
    ("who", "status"),
    [
        ("ann", 200),  # requester
        ("bob", 200),  # beneficiary
        ("carl", 200),  # approver of the open stage
        ("dora", 200),  # approver of a later one
        ("root", 200),
        ("aud", 200),
        ("eve", 404),
        ("gone", 403),  # disabled
    ],
)
async def test_show_review_is_for_those_it_concerns(desk: Desk, who: str, status: int) -> None:
    (review,) = await desk.submitted(ticket(beneficiaries=("bob",)))
    assert (await desk.get(who, f"/v1/reviews/{review.id}")).status_code == status
    assert (await desk.get(who, f"/v1/tickets/{review.ticket_id}/reviews")).status_code == status


async def test_show_review_to_nobody_in_particular_needs_a_token(desk: Desk) -> None:
    (review,) = await desk.submitted()
    assert (await desk.get(None, f"/v1/reviews/{review.id}")).status_code == 401


async def test_show_hidden_and_unknown_reviews_look_the_same_and_only_one_is_told(
    desk: Desk, service: Service
) -> None:
    (review,) = await desk.submitted()
    hidden = await desk.get("eve", f"/v1/reviews/{review.id}")
    unknown = await desk.get("eve", f"/v1/reviews/{new_id()}")
    assert hidden.json() == unknown.json()
    (denied,) = await said(service, AuthzDenied)
    assert isinstance(denied, AuthzDenied)
    assert (denied.object_id, denied.actor.name) == (review.id, "eve")


async def test_show_review_to_a_former_approver_only_if_they_have_voted(desk: Desk, service: Service) -> None:
    (review,) = await desk.submitted()
    await desk.decide("carl", review.id)
    members_of_owners(service)
    assert (await desk.get("carl", f"/v1/reviews/{review.id}")).status_code == 200
    assert (await desk.get("cora", f"/v1/reviews/{review.id}")).status_code == 404


@pytest.mark.parametrize("path", ["/v1/reviews/7", "/v1/tickets/x/reviews"])
async def test_show_with_an_id_that_is_none_is_a_bad_request(desk: Desk, path: str) -> None:
    assert (await desk.get("ann", path)).status_code == 422


async def test_list_of_a_ticket_has_its_voided_reviews_too(desk: Desk, service: Service) -> None:
    (review,) = await desk.submitted()
    replace_rules(service.context.tables, *org.rules()[1:])
    await refresh_reviews(service.context)
    answer = await desk.get("ann", f"/v1/tickets/{review.ticket_id}/reviews")
    assert [item["state"] for item in answer.json()["items"]] == ["voided", "rejected"]


async def test_list_of_a_ticket_shows_an_approver_their_accounts_only(desk: Desk) -> None:
    prod, dev = await desk.submitted(ticket(target(org.P), target(org.D)))
    answer = await desk.get("bob", f"/v1/tickets/{prod.ticket_id}/reviews")
    assert [item["id"] for item in answer.json()["items"]] == [dev.id]


# waiting for me


async def test_waiting_is_for_the_approvers_of_the_open_stage(desk: Desk) -> None:
    (review,) = await desk.submitted()
    waiting = {who: await listed(desk, who) for who in ("carl", "cora", "dora", "ann", "root", "aud")}
    assert waiting == {
        "carl": [review.id], "cora": [review.id], "dora": [], "ann": [], "root": [], "aud": [],
    }  # fmt: skip
    await desk.decide("carl", review.id)
    assert await listed(desk, "cora") == []
    assert await listed(desk, "dora") == [review.id]


async def test_waiting_leaves_out_what_one_has_voted_on(desk: Desk, service: Service) -> None:
    rule = org.rules()[0].model_copy(update={"stages": (org.stage("owners-prod", needed=2),)})
    replace_rules(service.context.tables, rule, *org.rules()[1:])
    (review,) = await desk.submitted()
    await desk.decide("carl", review.id)
    assert (await listed(desk, "carl"), await listed(desk, "cora")) == ([], [review.id])


async def test_waiting_asks_the_policy_again_before_a_row_is_shown(desk: Desk, service: Service) -> None:
    (review,) = await desk.submitted()
    members_of_owners(service, "cora", "bob")
    assert await listed(desk, "carl") == []
    assert await listed(desk, "cora") == [review.id]
    assert await listed(desk, "bob") == []  # not written down yet
    await refresh_reviews(service.context)
    assert await listed(desk, "bob") == [review.id]


async def test_waiting_pages_are_full_although_rows_are_left_out(desk: Desk, service: Service) -> None:
    mine: list[Review] = []
    for number in range(7):
        of = ticket() if number % 2 == 0 else ticket(requester="carl")
        (review,) = await desk.submitted(of)
        if number % 2 == 0:
            mine.append(review)
    await service.context.pool.execute(
        "INSERT INTO review_person (user_id, review_id, waits) SELECT 'user-carl', id, true FROM review"
        " ON CONFLICT (user_id, review_id) DO UPDATE SET waits = true"
    )
    first = (await desk.get("carl", "/v1/reviews", limit=2)).json()
    second = (await desk.get("carl", "/v1/reviews", limit=2, cursor=first["next_cursor"])).json()
    assert [item["id"] for item in first["items"] + second["items"]] == [review.id for review in mine]
    assert second["next_cursor"] is None


async def test_waiting_in_another_state_than_open_is_empty(desk: Desk) -> None:
    await desk.submitted()
    assert await listed(desk, "carl", state="approved") == []
    assert len(await listed(desk, "carl", state="open")) == 1


# all


async def test_all_shows_what_one_has_to_do_with_newest_first(desk: Desk) -> None:
    (first,) = await desk.submitted()
    (second,) = await desk.submitted(ticket(target(org.D), requester="eve", beneficiaries=("eve",)))
    everything = [second.id, first.id]
    seen = {who: await listed(desk, who, waiting_for="all") for who in ("ann", "eve", "bob", "carl", "root")}
    assert seen == {
        "ann": [first.id], "eve": [second.id], "bob": [second.id], "carl": [first.id], "root": everything,
    }  # fmt: skip
    assert await listed(desk, "aud", waiting_for="all") == everything


async def test_all_by_state_and_in_pages(desk: Desk) -> None:
    reviews = [(await desk.submitted())[0] for _ in range(3)]
    await desk.decide("carl", reviews[1].id, "reject", "not today")
    assert await listed(desk, "ann", waiting_for="all", state="rejected") == [reviews[1].id]
    page = (await desk.get("aud", "/v1/reviews", waiting_for="all", limit=2)).json()
    assert [item["id"] for item in page["items"]] == [reviews[2].id, reviews[1].id]
    rest = await listed(desk, "aud", waiting_for="all", limit=2, cursor=page["next_cursor"])
    assert rest == [reviews[0].id]


@pytest.mark.parametrize(
    "params", [{"cursor": "x"}, {"limit": 0}, {"limit": 201}, {"state": "x"}, {"waiting_for": "carl"}]
)
async def test_list_with_a_bad_parameter_names_it(desk: Desk, params: dict[str, object]) -> None:
    answer = await desk.get("ann", "/v1/reviews", **params)
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == list(params)

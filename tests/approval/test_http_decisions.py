import asyncio
from datetime import timedelta

import pytest

from shared.contracts.approval import (
    ReviewApproved,
    ReviewDecided,
    ReviewFact,
    ReviewRejected,
    ReviewStageOpened,
)
from shared.contracts.configuration import AuthzDenied
from shared.contracts.documents import ApprovalRule
from shared.foundation.clock import ManualClock, new_id
from shared.runtime.service import Service
from tests.approval.builders import replace_rules, target, ticket
from tests.approval.requests import Desk
from tests.support import organisation as org
from tests.support.bindings import DAY, rebound
from tests.support.harness import NOW, publish, said


async def denials(service: Service) -> list[AuthzDenied]:
    return [event for event in await said(service, AuthzDenied) if isinstance(event, AuthzDenied)]


async def test_decide_in_two_stages_approves_with_the_proof_of_each_vote(
    desk: Desk, service: Service
) -> None:
    (review,) = await desk.submitted()
    first = await desk.decide("carl", review.id, If_Match='"2"')
    assert (first.status_code, first.headers["ETag"]) == (201, '"4"')
    assert first.json() | {"vote_id": ""} == {
        "review_id": review.id, "vote_id": "", "state": "open", "stage": 2, "stages": 2, "version": 4,
    }  # fmt: skip
    second = await desk.decide("dora", review.id, If_Match='"4"')
    assert second.json()["state"] == "approved"
    facts = await said(service, ReviewFact)
    assert [event.version for event in facts] == list(range(1, 7))
    approved = facts[-1]
    assert isinstance(approved, ReviewApproved)
    assert [vote.voter.user_name for vote in approved.votes] == ["carl", "dora"]
    assert approved.votes[0].proof == ("rule/prod allow group:group-owners-prod approve/prod/1 ou:ou-prod *",)
    assert approved.votes[0].revisions == service.context.policy.known().revisions
    assert approved.actor.user_id == org.user_id("dora")
    assert (await desk.review(review.id)).votes == approved.votes


async def test_decide_rejects_with_the_comment(desk: Desk, service: Service) -> None:
    (review,) = await desk.submitted()
    answer = await desk.decide("carl", review.id, "reject", "  use the read role  ")
    assert (answer.status_code, answer.json()["state"]) == (201, "rejected")
    (fact,) = await said(service, ReviewRejected)
    assert isinstance(fact, ReviewRejected)
    assert (fact.code, fact.why, fact.votes[0].comment) == (
        "rejected", "use the read role", "use the read role",
    )  # fmt: skip


async def test_decide_after_an_earlier_rejection_counts_it_for_the_next_approver(desk: Desk) -> None:
    (review,) = await desk.submitted()
    await desk.decide("carl", review.id, "reject", "not today")
    (again,) = await desk.submitted()
    fact = (await said(desk.service, ReviewStageOpened))[-1]
    assert isinstance(fact, ReviewStageOpened)
    assert (fact.review_id, fact.earlier_rejections) == (again.id, 1)
    (listed,) = fact.earlier_rejections_listed
    assert (listed.comment, listed.at) == ("not today", NOW)


@pytest.mark.parametrize("comment", ["", "no", "   no  "])
async def test_decide_to_reject_without_a_comment_names_the_field(desk: Desk, comment: str) -> None:
    (review,) = await desk.submitted()
    answer = await desk.decide("carl", review.id, "reject", comment)
    assert (answer.status_code, answer.json()["code"]) == (422, "comment_required")
    assert answer.json()["errors"][0]["field"] == "/comment"


@pytest.mark.parametrize("bad", ["a\x07b", "a\ud800b", "a\u202eb", "x" * 2001])
async def test_decide_with_a_comment_that_cannot_be_stored_or_shown_is_refused(desk: Desk, bad: str) -> None:
    (review,) = await desk.submitted()
    answer = await desk.post_raw("carl", review.id, {"verdict": "approve", "comment": bad})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "/comment"


async def test_decide_on_ones_own_is_self_approval(desk: Desk) -> None:
    (review,) = await desk.submitted()
    answer = await desk.decide("ann", review.id)
    assert (answer.status_code, answer.json()["code"]) == (403, "self_approval")


@pytest.mark.parametrize(("requester", "beneficiary"), [("carl", "ann"), ("ann", "carl")])
async def test_decide_as_a_party_who_is_an_approver_is_self_approval(
    desk: Desk, service: Service, requester: str, beneficiary: str
) -> None:
    (review,) = await desk.submitted(ticket(requester=requester, beneficiaries=(beneficiary,)))
    answer = await desk.decide("carl", review.id)
    assert (answer.status_code, answer.json()["code"]) == (403, "self_approval")
    (denied,) = await denials(service)
    assert (denied.code, denied.subject, denied.object_id) == ("self_approval", review.ticket_id, review.id)
    assert denied.verb == "approve/prod/1"


async def test_decide_twice_is_already_acted(desk: Desk) -> None:
    (review,) = await desk.submitted()
    await desk.decide("carl", review.id)
    answer = await desk.decide("carl", review.id)
    assert (answer.status_code, answer.json()["code"]) == (409, "already_acted")


async def test_decide_after_the_decision_is_refused_even_with_an_old_etag(desk: Desk) -> None:
    (review,) = await desk.submitted()
    await desk.decide("carl", review.id, "reject", "not today")
    answer = await desk.decide("cora", review.id, If_Match='"2"')
    assert (answer.status_code, answer.json()["code"]) == (409, "review_decided")


async def test_decide_after_the_time_is_over_is_refused(desk: Desk, clock: ManualClock) -> None:
    (review,) = await desk.submitted()
    clock.advance(timedelta(hours=24))
    answer = await desk.decide("carl", review.id)
    assert (answer.status_code, answer.json()["code"]) == (409, "state")


@pytest.mark.parametrize("who", ["carl", "dora", "eve"])
async def test_decide_on_another_accounts_review_finds_nothing_and_is_told(
    desk: Desk, service: Service, who: str
) -> None:
    (review,) = await desk.submitted(ticket(target(org.D)))
    answer = await desk.decide(who, review.id)
    unknown = await desk.decide(who, new_id())
    assert (answer.status_code, answer.json()["code"]) == (404, "review_unknown")
    assert answer.json() == unknown.json()
    (denied,) = await denials(service)
    assert (denied.actor.name, denied.code, denied.object_id) == (who, "review_unknown", review.id)


async def test_decide_in_a_stage_that_is_not_open_yet_is_forbidden(desk: Desk, service: Service) -> None:
    (review,) = await desk.submitted()
    answer = await desk.decide("dora", review.id)
    assert (answer.status_code, answer.json()["code"]) == (403, "no_rule")
    (denied,) = await denials(service)
    assert (denied.verb, denied.code) == ("approve/prod/1", "no_rule")


async def test_decide_within_a_day_of_a_rebinding_is_refused_and_later_counts(
    desk: Desk, service: Service, clock: ManualClock
) -> None:
    (review,) = await desk.submitted(ticket(expires_at=NOW + timedelta(hours=25)))
    publish(service.context.policy, rebound("s", org.user_id("carl"), at=NOW))
    clock.advance(DAY - timedelta(seconds=1))
    refused = await desk.decide("carl", review.id)
    assert (refused.status_code, refused.json()["code"]) == (403, "recently_rebound")
    assert "GET /v1/me" in refused.json()["detail"]
    assert [(one.code, one.verb) for one in await denials(service)] == [
        ("recently_rebound", "approve/prod/1")
    ]
    assert not (await desk.get("carl", f"/v1/reviews/{review.id}")).json()["you_may_decide"]
    clock.advance(timedelta(seconds=1))
    assert (await desk.get("carl", f"/v1/reviews/{review.id}")).json()["you_may_decide"]
    assert (await desk.decide("carl", review.id)).status_code == 201


@pytest.mark.parametrize("who", ["root", "aud"])
async def test_decide_as_somebody_who_may_only_read_is_forbidden(desk: Desk, who: str) -> None:
    (review,) = await desk.submitted()
    answer = await desk.decide(who, review.id)
    assert (answer.status_code, answer.json()["code"]) == (403, "no_rule")


@pytest.mark.parametrize(
    ("if_match", "status", "code"),
    [
        ("", 428, "if_match_missing"),
        ('"1"', 412, "review_changed"),
        ('"3"', 412, "review_changed"),
        ("2", 400, "if_match_invalid"),
        ('W/"2"', 400, "if_match_invalid"),
        ('"1", "2"', 400, "if_match_invalid"),
        ('"2"', 201, None),
        ("*", 428, "if_match_star"),
        (" * ", 428, "if_match_star"),
    ],
)
async def test_decide_needs_the_version_that_was_read(
    desk: Desk, if_match: str, status: int, code: str | None
) -> None:
    (review,) = await desk.submitted()
    answer = await desk.decide("carl", review.id, If_Match=if_match)
    assert (answer.status_code, answer.json().get("code")) == (status, code)
    assert len((await desk.review(review.id)).votes) == (status == 201)


async def test_decide_two_at_once_with_one_version_counts_one(desk: Desk, service: Service) -> None:
    two_of_them(service, needed=2)
    (review,) = await desk.submitted()
    answers = await asyncio.gather(
        desk.decide("carl", review.id, If_Match='"2"'), desk.decide("cora", review.id, If_Match='"2"')
    )
    assert sorted(answer.status_code for answer in answers) == [201, 412]


async def test_decide_again_after_losing_a_race_counts_with_the_version_read_anew(
    desk: Desk, service: Service
) -> None:
    two_of_them(service, needed=2)
    (review,) = await desk.submitted()
    first = await desk.decide("carl", review.id, If_Match='"2"')
    lost = await desk.decide("cora", review.id, If_Match='"2"')
    again = await desk.decide("cora", review.id, If_Match=first.headers["ETag"])
    assert [answer.status_code for answer in (first, lost, again)] == [201, 412, 201]
    assert again.json()["state"] == "approved"


async def test_decide_the_same_person_at_once_counts_once(desk: Desk) -> None:
    (review,) = await desk.submitted()
    answers = await asyncio.gather(*(desk.decide("carl", review.id, If_Match='"2"') for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]
    assert {answer.json().get("code") for answer in answers} == {None, "already_acted"}
    assert len((await desk.review(review.id)).votes) == 1


async def test_decide_approval_and_rejection_at_once_decide_once(desk: Desk, service: Service) -> None:
    two_of_them(service, needed=1)
    (review,) = await desk.submitted()
    answers = await asyncio.gather(
        desk.decide("carl", review.id, If_Match='"2"'),
        desk.decide("cora", review.id, "reject", "not today", If_Match='"2"'),
    )
    assert sorted(answer.status_code for answer in answers) == [201, 409]
    assert len(await said(service, ReviewDecided)) == 1


async def test_decide_again_with_the_same_key_gets_the_same_answer(desk: Desk) -> None:
    (review,) = await desk.submitted()
    first = await desk.decide("carl", review.id, If_Match='"2"', Idempotency_Key="k1")
    again = await desk.decide("carl", review.id, If_Match='"2"', Idempotency_Key="k1")
    assert again.json() == first.json()
    assert again.headers["Idempotency-Replayed"] == "true"
    assert len((await desk.review(review.id)).votes) == 1


async def test_decide_that_would_leave_a_later_stage_without_people_is_refused(
    desk: Desk, service: Service
) -> None:
    only_carl = org.stage().model_copy(update={"approvers": (f"user:{org.user_id('carl')}",)})
    replace_rules(service.context.tables, prod_rule(org.stage("owners-prod"), only_carl), *org.rules()[1:])
    (review,) = await desk.submitted()
    answer = await desk.decide("carl", review.id)
    assert (answer.status_code, answer.json()["code"]) == (409, "would_block")
    assert (await desk.decide("cora", review.id)).status_code == 201
    assert (await desk.decide("carl", review.id)).json()["state"] == "approved"


async def test_decide_between_a_rule_change_and_its_reopening_is_refused(
    desk: Desk, service: Service
) -> None:
    (review,) = await desk.submitted()
    replace_rules(service.context.tables, prod_rule(org.stage("owners-prod", needed=2)), *org.rules()[1:])
    answer = await desk.decide("carl", review.id)
    assert (answer.status_code, answer.json()["code"]) == (409, "state")
    assert "rules have just changed" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"verdict": "maybe"}, "/verdict"),
        ({}, "/verdict"),
        ({"verdict": "approve", "acting_for": "user-carl"}, "/acting_for"),
        ({"verdict": "approve", "comment": None}, "/comment"),
    ],
)
async def test_decide_with_a_bad_body_names_the_field(desk: Desk, body: object, field: str) -> None:
    (review,) = await desk.submitted()
    answer = await desk.post_raw("carl", review.id, body)
    assert answer.status_code == 422
    assert field in [error["field"] for error in answer.json()["errors"]]


async def test_decide_without_a_token_or_as_a_disabled_user_is_refused(desk: Desk) -> None:
    (review,) = await desk.submitted()
    assert (await desk.decide(None, review.id)).status_code == 401
    assert (await desk.decide("gone", review.id)).status_code == 403


def prod_rule(*stages: object) -> ApprovalRule:
    rule = org.rules()[0]
    assert isinstance(rule, ApprovalRule)
    return rule.model_copy(update={"stages": stages})


def two_of_them(service: Service, *, needed: int) -> None:
    """One stage of carl and cora on production."""
    rule = prod_rule(org.stage("owners-prod", needed=needed))
    replace_rules(service.context.tables, rule, *org.rules()[1:])

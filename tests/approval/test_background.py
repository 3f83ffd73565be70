"""What approvers are told besides the ticket: in each stage that opens, and asked for nowhere else."""

import pytest

from services.approval.background import refresh_reviews
from shared.contracts.approval import ReviewStageOpened
from shared.runtime.service import Service
from tests.approval.builders import target, ticket
from tests.approval.requests import Desk
from tests.approval.test_lost_votes import owners
from tests.support import organisation as org
from tests.support.harness import said
from tests.support.statements import statements

ASKED = ("FROM live_grant g", "code = 'rejected'")
"""How the two statements are known."""


def asked(sent: list[str]) -> int:
    return sum(part in statement for statement in sent for part in ASKED)


async def with_a_past(desk: Desk) -> str:
    """Ann's review, who has another live grant and was refused the same before; returns its id."""
    (refused,) = await desk.submitted()
    await desk.decide("carl", refused.id, "reject", "not today")
    await desk.submitted(ticket(target(org.D, org.READ)))
    (review,) = await desk.submitted()
    return review.id


async def last_opened(service: Service) -> ReviewStageOpened:
    fact = (await said(service, ReviewStageOpened))[-1]
    assert isinstance(fact, ReviewStageOpened)
    return fact


async def test_vote_that_opens_a_stage_tells_its_approvers_of_other_grants_and_rejections(
    desk: Desk, service: Service
) -> None:
    review_id = await with_a_past(desk)
    await desk.decide("carl", review_id)
    fact = await last_opened(service)
    assert (fact.review_id, fact.stage) == (review_id, 2)
    assert (fact.other_grants, fact.earlier_rejections) == (1, 1)
    assert [one.set_name for one in fact.other_grants_listed] == ["ReadOnly"]
    assert [one.comment for one in fact.earlier_rejections_listed] == ["not today"]


async def test_refresh_that_opens_a_stage_again_tells_it_too(desk: Desk, service: Service) -> None:
    review_id = await with_a_past(desk)
    await desk.decide("carl", review_id)
    owners(service, "cora", revision=98)
    await refresh_reviews(service.context)
    fact = await last_opened(service)
    assert (fact.review_id, fact.stage) == (review_id, 1)
    assert (fact.other_grants, fact.earlier_rejections) == (1, 1)


@pytest.mark.parametrize(("verdict", "comment"), [("approve", ""), ("reject", "not today")])
async def test_vote_that_decides_asks_for_neither(desk: Desk, verdict: str, comment: str) -> None:
    review_id = await with_a_past(desk)
    pool = desk.service.context.pool
    async with statements(pool) as opening:
        await desk.decide("carl", review_id)
    async with statements(pool) as deciding:
        answer = await desk.decide("dora", review_id, verdict, comment)
    assert answer.json()["state"] in {"approved", "rejected"}
    assert (asked(opening), asked(deciding)) == (2, 0)


async def test_review_that_a_rule_approves_asks_for_neither(desk: Desk) -> None:
    of = ticket(target(org.D, org.READ))
    async with statements(desk.service.context.pool) as sent:
        (review,) = await desk.submitted(of)
    assert (review.state, asked(sent)) == ("approved", 0)

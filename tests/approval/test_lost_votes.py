"""Votes of people who have lost the right since: kept, shown, and not counted."""

from typing import Any

import pytest

from services.approval.background import refresh_reviews
from services.approval.domain.review import Review, ReviewState
from services.approval.domain.votes import approve_complete
from shared.contracts.approval import ReviewApproved, ReviewFact, ReviewStageOpened
from shared.contracts.change import Change
from shared.contracts.event import Revisions
from shared.foundation.clock import ManualClock
from shared.foundation.errors import Conflict
from shared.runtime.service import Service
from tests.approval.builders import (
    CARLS,
    cast,
    electorate,
    next_stage,
    opened,
    origin,
    put_documents,
    replace_rules,
    stage,
)
from tests.approval.requests import Desk
from tests.support import organisation as org
from tests.support.harness import ready_tables, said

TWO_STAGES = (stage(), stage(index=2))
TWO_GROUPS = electorate(CARLS, ("dora", "eve"))
CARL_LEFT = electorate(("cora",), ("dora", "eve"))


def follow(change: Change[Review], people: Any) -> Change[Review]:
    """What a refresh does once the documents say this."""
    decided = approve_complete(Change(change.state), people, origin(), revisions=Revisions())
    return next_stage(decided, people)


# the pure domain


def test_vote_in_a_later_stage_goes_back_to_the_one_that_lost_a_vote() -> None:
    first = cast(opened(TWO_STAGES, TWO_GROUPS).state, "carl", TWO_GROUPS)
    second = cast(first.state, "dora", CARL_LEFT)
    assert (second.state.state, second.state.stage) == (ReviewState.OPEN, 1)
    again = second.events[-1]
    assert isinstance(again, ReviewStageOpened)
    assert [one.user_name for one in again.approvers] == ["cora"]
    assert again.why == "stage 1 of 2 waits for votes again: a vote that it had counts no longer"


def test_vote_that_replaces_a_lost_one_approves_with_the_votes_given_meanwhile() -> None:
    review = opened(TWO_STAGES, TWO_GROUPS).state
    for name, people in (("carl", TWO_GROUPS), ("dora", CARL_LEFT), ("cora", CARL_LEFT)):
        change = cast(review, name, people)
        review = change.state
    approved = change.events[-1]
    assert isinstance(approved, ReviewApproved)
    assert [vote.voter.user_name for vote in approved.votes] == ["dora", "cora"]
    assert [vote.voter.user_name for vote in review.votes] == ["carl", "dora", "cora"]


def test_vote_of_somebody_who_may_now_vote_in_another_stage_only_counts_in_neither() -> None:
    """Carl was moved from the first stage's group to the second's: the vote stays in the first."""
    review = cast(opened(TWO_STAGES, TWO_GROUPS).state, "carl", TWO_GROUPS).state
    moved = electorate(("cora",), ("carl", "dora", "eve"))
    assert (review.counting(moved), review.approvals(moved), review.waiting_stage(moved)) == ((), [0, 0], 1)
    back = follow(Change(review), moved)
    assert (back.state.state, back.state.stage) == (ReviewState.OPEN, 1)


def test_vote_of_one_of_two_who_left_is_asked_for_again_in_the_same_stage() -> None:
    both = electorate(("carl", "cora", "root"))
    review = cast(opened((stage(needed=2),), both).state, "carl", both).state
    without = electorate(("cora", "root"))
    review = cast(review, "cora", without).state
    assert (review.state, review.approvals(without)) == (ReviewState.OPEN, [1])
    assert cast(review, "root", without).state.state is ReviewState.APPROVED


def test_vote_again_by_whose_vote_was_lost_is_already_acted() -> None:
    first = cast(opened(TWO_STAGES, TWO_GROUPS).state, "carl", TWO_GROUPS)
    back = follow(first, CARL_LEFT)
    with pytest.raises(Conflict) as caught:
        cast(back.state, "carl", TWO_GROUPS)
    assert caught.value.code == "already_acted"


def test_vote_by_whom_the_stage_that_lost_one_needs_would_block() -> None:
    """Cora alone can now stand in for carl in the first stage: her vote in the second would end it."""
    both = electorate(CARLS, ("dora", "cora"))
    review = cast(opened(TWO_STAGES, both).state, "carl", both).state
    left = electorate(("cora",), ("dora", "cora"))
    with pytest.raises(Conflict) as caught:
        cast(review, "cora", left)
    assert caught.value.code == "would_block"
    assert cast(review, "dora", left).state.stage == 1


def test_follow_without_anybody_to_take_the_place_waits_unsolvable() -> None:
    first = cast(opened(TWO_STAGES, TWO_GROUPS).state, "carl", TWO_GROUPS)
    nobody = electorate((), ("dora", "eve"))
    back = follow(first, nobody)
    assert (back.state.stage, back.state.can_be_filled(nobody)) == (1, False)
    assert back.state.can_be_filled(TWO_GROUPS)


def test_follow_when_the_voter_is_back_opens_the_later_stage_again_or_approves() -> None:
    review = cast(opened(TWO_STAGES, TWO_GROUPS).state, "carl", TWO_GROUPS).state
    back = follow(Change(review), CARL_LEFT).state
    assert follow(Change(back), TWO_GROUPS).state.stage == 2
    whole = follow(Change(cast(review, "dora", CARL_LEFT).state), TWO_GROUPS)
    assert whole.state.state is ReviewState.APPROVED
    assert follow(Change(review), TWO_GROUPS).events == (), "nothing moved"


def test_reject_of_somebody_who_left_still_counts() -> None:
    review = opened((stage(denials=2),), electorate(CARLS)).state
    review = cast(review, "carl", electorate(CARLS), verdict="reject").state
    assert cast(review, "cora", electorate(("cora",)), verdict="reject").state.state is ReviewState.REJECTED


# the service


def owners(service: Service, *names: str, revision: int) -> None:
    """Let the inventory say who owns production from now on."""
    shards = org.members(org.group_id("owners-prod"), *map(org.user_id, names), revision=revision)
    put_documents(service.context.tables, "provisioner", org.replaced("provisioner", *shards))


async def test_refresh_goes_back_to_a_stage_that_lost_its_vote(desk: Desk, service: Service) -> None:
    (review,) = await desk.submitted()
    await desk.decide("carl", review.id)
    owners(service, "cora", revision=98)
    await refresh_reviews(service.context)
    before = len(await said(service, ReviewFact))
    await refresh_reviews(service.context)
    assert len(await said(service, ReviewFact)) == before, "once is enough"
    shown = (await desk.get("dora", f"/v1/reviews/{review.id}")).json()
    assert [(one["state"], one["approvals"]) for one in shown["stage_list"]] == [("open", 0), ("waiting", 0)]
    assert [(one["voter"]["user_name"], one["counts"]) for one in shown["votes"]] == [("carl", False)]
    assert [one["user_name"] for one in shown["may_decide"]] == ["cora"]
    assert (await desk.decide("dora", review.id)).status_code == 403
    assert (await desk.decide("cora", review.id)).json()["stage"] == 2
    assert (await desk.decide("dora", review.id)).json()["state"] == "approved"
    (approved,) = await said(service, ReviewApproved)
    assert isinstance(approved, ReviewApproved)
    assert [vote.voter.user_name for vote in approved.votes] == ["cora", "dora"]
    shown = (await desk.get("dora", f"/v1/reviews/{review.id}")).json()
    assert [one["counts"] for one in shown["votes"]] == [None, None, None]


async def test_refresh_approves_once_a_voter_is_back_whose_vote_was_missing(
    desk: Desk, service: Service
) -> None:
    (review,) = await desk.submitted()
    await desk.decide("carl", review.id)
    owners(service, "cora", revision=98)
    assert (await desk.decide("dora", review.id)).json() | {"vote_id": ""} == {
        "review_id": review.id, "vote_id": "", "state": "open", "stage": 1, "stages": 2, "version": 6,
    }  # fmt: skip
    owners(service, "carl", "cora", revision=99)
    await refresh_reviews(service.context)
    (approved,) = await said(service, ReviewApproved)
    assert approved.actor.name == "approval"
    assert (await desk.review(review.id)).state is ReviewState.APPROVED


async def test_replica_on_older_documents_than_a_vote_turns_nothing_back(
    desk: Desk, service: Service, clock: ManualClock
) -> None:
    """Who has not heard yet that carl is an owner must not throw that vote away, nor count another."""
    renamed = [rule.model_copy(update={"name": "renamed"}) for rule in org.rules()]
    (review,) = await desk.submitted()
    replace_rules(service.context.tables, *renamed)
    await desk.decide("carl", review.id)
    service.context.tables = ready_tables(clock)
    owners(service, "cora", revision=98)
    await refresh_reviews(service.context)
    assert (await desk.review(review.id)).stage == 2
    answer = await desk.decide("dora", review.id)
    assert (answer.status_code, answer.json()["code"]) == (503, "tables_behind")

"""The approval service's word alone opens nothing: its votes are weighed by the provisioner's own policy."""

from datetime import timedelta
from typing import Any

import pytest

from shared.contracts import documents as doc
from shared.contracts.event import Revisions
from shared.contracts.windows import WindowAsked
from shared.foundation.clock import new_id
from tests.support.builders import vote
from tests.support.provisioner_lab import Lab

CREATE = "CreateAccountAssignment"


def by(lab: Lab, name: str, **changes: Any) -> Any:
    return vote(lab.user(name), at=lab.now, **changes)


NOT_ENOUGH: dict[str, Any] = {
    "no vote": lambda _lab: {"votes": ()},
    "an outsider's vote": lambda lab: {"votes": (by(lab, "eve"),)},
    "the requester's vote": lambda lab: {"votes": (by(lab, "ann"),)},
    "a vote in another stage": lambda lab: {"votes": (by(lab, "carl", stage=2),)},
    "a rejection": lambda lab: {"votes": (by(lab, "carl", verdict="reject"),)},
    "a rule that asks for votes": lambda _lab: {"votes": (), "auto_approved_by": "all"},
    "a rule that is not there": lambda _lab: {"votes": (), "auto_approved_by": "none"},
}


def rule(lab: Lab, **changes: Any) -> doc.Document:
    found = lab.context.policy.known().get(doc.ApprovalRule, "all")
    assert found is not None
    return found.model_copy(update=changes)


@pytest.mark.parametrize("order", ["witness first", "approval first"])
@pytest.mark.parametrize("why", NOT_ENOUGH)
async def test_approval_without_enough_votes_opens_nothing_and_alerts(lab: Lab, why: str, order: str) -> None:
    ticket = lab.ticket(seconds=600)
    both = [lab.witness(ticket, **NOT_ENOUGH[why](lab)), lab.approval(ticket)]
    await lab.take(*(both if order == "witness first" else reversed(both)))
    await lab.run(70)
    assert await lab.story() == ["failed(witness_invalid)"]
    assert lab.alerts() == {"witness_invalid"}
    assert not lab.aws.records.calls


async def test_vote_of_a_requester_who_is_no_beneficiary_does_not_count(lab: Lab) -> None:
    ticket = lab.ticket("ann", seconds=600)
    carl = ticket.requester.model_copy(update={"user_id": lab.user("carl"), "user_name": "carl"})
    await lab.approve(ticket.model_copy(update={"requester": carl}))
    assert await lab.story() == ["failed(witness_invalid)"]


async def test_vote_of_who_has_lost_the_right_since_does_not_count(lab: Lab) -> None:
    lab.replace_members("group-owners")
    await lab.approve(lab.ticket(seconds=600))
    assert await lab.story() == ["failed(witness_invalid)"]


async def test_rule_that_approves_by_itself_needs_no_vote(lab: Lab) -> None:
    here = {"accounts": f"acct:{lab.account()}", "stages": (), "auto_approve_up_to": timedelta(minutes=10)}
    lab.replace_document("approval", rule(lab, **here))
    for seconds in (600, 601):
        ticket = lab.ticket(seconds=seconds)
        await lab.take(lab.witness(ticket, votes=(), auto_approved_by="all"), lab.approval(ticket))
    assert await lab.story() == ["scheduled", "failed(witness_invalid)"]


async def test_length_that_ticket_calls_shorter_than_what_is_given_is_not_believed(lab: Lab) -> None:
    here = {"accounts": f"acct:{lab.account()}", "stages": (), "auto_approve_up_to": timedelta(minutes=10)}
    lab.replace_document("approval", rule(lab, **here))
    ticket = lab.ticket(seconds=3600)
    asked = WindowAsked(duration=timedelta(minutes=5))
    short = ticket.model_copy(update={"targets": (ticket.targets[0].model_copy(update={"asked": asked}),)})
    await lab.take(lab.witness(ticket, votes=(), auto_approved_by="all"), lab.approval(short))
    assert await lab.story() == ["failed(witness_invalid)"]


# while nobody can tell


async def test_votes_are_weighed_before_the_grant_where_the_policy_was_not_ready(lab: Lab) -> None:
    copy = lab.context.policy._copies["approval"]
    good, bad = lab.ticket("ann", seconds=600), lab.ticket("bob", seconds=600)
    copy.verified = False
    await lab.approve(good)
    await lab.take(lab.witness(bad, votes=()), lab.approval(bad))
    await lab.run(20)
    assert await lab.story(good) == await lab.story(bad) == ["scheduled"]
    assert not lab.aws.records.calls
    copy.verified = True
    await lab.run(20)
    assert (await lab.story(good))[-1] == "granted"
    assert await lab.story(bad) == ["scheduled", "failed(witness_invalid)"]
    assert lab.alerts() == {"witness_invalid"}


@pytest.mark.parametrize(("arrives", "outcome"), [(True, "granted"), (False, "failed(witness_invalid)")])
async def test_documents_it_was_decided_on_are_waited_for_but_not_for_ever(
    lab: Lab, arrives: bool, outcome: str
) -> None:
    ticket = lab.ticket(seconds=600)
    newest = max(known.revision for known in lab.documents["approval"])
    decided_on = Revisions(rules=newest + 1)
    votes = (by(lab, "carl"), by(lab, "bob"))
    lab.replace_members("group-owners")
    await lab.take(lab.witness(ticket, votes=votes, revisions=decided_on), lab.approval(ticket))
    await lab.run(20)
    assert await lab.story() == ["scheduled"]
    if arrives:
        stages = (doc.RuleStage(approvers=(f"user:{lab.user('carl')}",)),)
        lab.replace_document("approval", rule(lab, stages=stages))
    await lab.run(60)
    assert (await lab.story())[-1] == outcome


async def test_votes_once_found_to_be_enough_are_not_weighed_again_at_the_start(lab: Lab) -> None:
    """Who approved may leave before the window opens; whether the approval stands is not asked here."""
    await lab.approve(lab.ticket(seconds=600, starts_in=60))
    lab.replace_members("group-owners")
    await lab.run(80)
    assert lab.holds()


async def test_first_word_of_an_approval_is_the_one_that_is_weighed(lab: Lab) -> None:
    ticket = lab.ticket(seconds=600)
    await lab.take(
        lab.witness(ticket, votes=()), lab.witness(ticket, review_id=new_id()), lab.approval(ticket)
    )
    assert await lab.story() == ["failed(witness_invalid)"]
    assert lab.calls(CREATE) == 0

"""What is listed after a deletion of ours: late news of what is gone, or somebody else's doing."""

from dataclasses import replace
from itertools import product

import pytest

from services.provisioner.domain import call_outcomes
from services.provisioner.domain.assignments import Assignment, Observed, Op
from services.provisioner.domain.claims import ClaimState
from shared.contracts import access
from tests.support.harness import NOW
from tests.support.provisioner_domain import TIMING, Decided, S, claim, decided, row
from tests.support.provisioner_lab import Lab
from tests.support.sampling import some

CREATE = "CreateAccountAssignment"
GRANTING = claim(ClaimState.GRANTING, starts_at=NOW - S, ends_at=NOW + 600 * S)
ROW = row(ours=True, request_id="creation")
CREATING = replace(ROW, op=Op("create", NOW))
DELETING = replace(ROW, op=Op("delete", NOW))


def found(before: Assignment, *, after: float = 1, may_send: bool = True) -> Decided:
    return decided(before, GRANTING, found=True, may_send=may_send, at=after * S)


# lists that are late


@pytest.mark.more
@pytest.mark.parametrize(("lag", "starts_after"), some([*product([0, 5, 10, 15], [5, 7, 12])]))
async def test_granted_is_never_said_of_what_our_deletion_took_away(
    lab: Lab, lag: float, starts_after: float
) -> None:
    """Fails when a list is believed that still shows what was deleted a moment ago."""
    lab.aws.change_settings(list_lag_seconds=lag)
    await lab.approve(lab.ticket(seconds=60))
    await lab.run(50)
    again = await lab.approve(lab.ticket(seconds=120, starts_in=10 + starts_after))
    for _ in range(60):
        await lab.run(1, step=1)
        if "granted" in await lab.story(again):
            break
    assert "granted" in await lab.story(again)
    assert lab.holds()
    await lab.run(10, step=1)
    assert lab.holds()
    await lab.run(200)
    assert not lab.holds()


@pytest.mark.parametrize(
    "deletion",
    [
        call_outcomes.succeeded(DELETING, NOW),
        call_outcomes.refused(DELETING, "not_found", "no", now=NOW, jitter=0, timing=TIMING),
        call_outcomes.failed(DELETING, "partial", now=NOW, jitter=0, timing=TIMING),
        call_outcomes.forgotten(replace(DELETING, op=Op("delete", NOW - 9 * S)), NOW, TIMING),
    ],
    ids=["succeeded", "nothing there", "failed", "forgotten"],
)
def test_decide_listed_right_after_a_deletion_is_created_again(deletion: Assignment) -> None:
    decision = found(deletion)
    assert (decision.send, decision.facts) == ("create", ())


def test_decide_listed_right_after_a_deletion_without_a_slot_waits_for_one() -> None:
    decision = found(call_outcomes.succeeded(DELETING, NOW), may_send=False)
    assert (decision.send, decision.facts, decision.row.next_at) == (None, (), NOW)
    assert found(decision.row, after=2).send == "create"


def test_decide_listed_after_a_deletion_and_our_next_creation_is_granted() -> None:
    deleted = call_outcomes.succeeded(DELETING, NOW)
    created = call_outcomes.succeeded(replace(deleted, op=Op("create", NOW)), NOW)
    [(after, _)] = found(created).moved
    assert after.state is ClaimState.ACTIVE


@pytest.mark.parametrize(("after", "send"), [(29.9, "create"), (30, None)])
def test_decide_listed_long_after_a_deletion_is_believed(after: float, send: str | None) -> None:
    seen = replace(call_outcomes.succeeded(DELETING, NOW), observed=Observed.ABSENT)
    assert found(seen, after=after).send == send


# whose request


async def test_facts_name_the_creation_and_the_deletion_each_by_its_own_id(lab: Lab) -> None:
    await lab.approve(lab.ticket(seconds=20))
    revoked = await lab.run_until(access.AccessRevoked)
    [granted] = await lab.said(access.AccessGranted)
    ids = {
        row["operation"]: row["async_request_id"]
        for row in lab.aws.records.calls
        if row.get("async_request_id")
    }
    assert granted.request_id == ids[CREATE]
    assert revoked.request_id == ids["DeleteAccountAssignment"]


async def test_failed_names_the_creation_that_failed(lab: Lab) -> None:
    lab.aws.fault(operation=CREATE, kind="fail_async", partial=True)
    await lab.approve(lab.ticket(seconds=600))
    failed = await lab.run_until(access.AccessFailed)
    created = [row["async_request_id"] for row in lab.aws.records.calls if row["operation"] == CREATE]
    assert failed.request_id == created[-1]


async def test_access_made_by_hand_long_after_our_revoke_is_already_held_and_stays(lab: Lab) -> None:
    await lab.approve(lab.ticket(seconds=20))
    await lab.run_until(access.AccessRevoked)
    await lab.run(1200, step=60)
    lab.aws.edit(action="add_assignment", user="ann", account="orders-prod", permission_set="ReadOnly")
    await lab.approve(lab.ticket(seconds=60))
    granted = await lab.run_until(access.AccessGranted)
    assert (granted.request_id, granted.already_held) == (None, True)
    released = await lab.run_until(access.AccessReleased)
    assert released.kept_by == ("not_ours",)
    assert lab.holds()


async def test_access_made_by_hand_soon_after_our_revoke_is_granted_without_an_id_and_ends(lab: Lab) -> None:
    await lab.approve(lab.ticket(seconds=20))
    await lab.run_until(access.AccessRevoked)
    await lab.run(50)
    lab.aws.edit(action="add_assignment", user="ann", account="orders-prod", permission_set="ReadOnly")
    await lab.approve(lab.ticket(seconds=60))
    granted = await lab.run_until(access.AccessGranted)
    assert (granted.request_id, granted.already_held) == (None, False)
    assert "not known" in granted.why
    assert lab.calls(CREATE) == 1
    await lab.run_until(access.AccessRevoked)
    assert not lab.holds()


def test_decide_second_claim_names_the_creation_that_still_stands() -> None:
    standing = replace(ROW, observed=Observed.PRESENT)
    [(after, _)] = found(standing).moved
    assert after.request_id == "creation"


@pytest.mark.parametrize(
    "deletion",
    [call_outcomes.accepted(DELETING, "deletion", NOW, TIMING), call_outcomes.succeeded(DELETING, NOW)],
)
def test_creation_is_forgotten_once_aws_deletes(deletion: Assignment) -> None:
    assert deletion.request_id is None


def test_deletion_that_aws_refused_leaves_the_creation_known() -> None:
    after = call_outcomes.refused(DELETING, "denied", "no", now=NOW, jitter=0, timing=TIMING)
    assert (after.request_id, after.deletion_ended) == ("creation", None)

"""What is listed after a deletion of ours: late news of what is gone, or somebody else's doing."""

from dataclasses import replace
from datetime import timedelta

import pytest

from services.provisioner.domain import operations
from services.provisioner.domain.assignments import Assignment, Decision, Limits, Observed, Op, decide
from services.provisioner.domain.claims import Claim, ClaimState, Stamp
from shared.contracts import access
from shared.contracts.event import Actor
from tests.support.harness import NOW
from tests.support.provisioner_lab import Lab

S = timedelta(seconds=1)
CREATE = "CreateAccountAssignment"
STAMP = Stamp(NOW, Actor.service("provisioner"))
GRANTING = Claim(
    id="grant-1", assignment_id=1, instance="default", ticket_id="ticket", target_id="target", revision=1,
    user_id="user-ann", account_id="111111111111", set_id="ps-1", set_digest="digest", content_hash="hash",
    session_duration=timedelta(hours=1), starts_at=NOW - S, ends_at=NOW + 600 * S,
    state=ClaimState.GRANTING, received_at=NOW - S,
)  # fmt: skip
ROW = Assignment(
    id=1, instance="default", user_id="user-ann", account_id="111111111111", set_id="ps-1", set_arn="arn",
    ever_operated=True, request_id="creation",
)  # fmt: skip
CREATING = replace(ROW, op=Op("create", NOW))
DELETING = replace(ROW, op=Op("delete", NOW))


def found(row: Assignment, *, after: float = 1, may_send: bool = True) -> Decision:
    stamp = replace(STAMP, at=NOW + after * S)
    return decide(row, [GRANTING], found=True, may_send=may_send, stamp=stamp, limits=Limits())


# lists that are late


@pytest.mark.parametrize("lag", [0, 5, 10, 15])
@pytest.mark.parametrize("starts_after", [5, 7, 12])
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
        operations.succeeded(DELETING, STAMP),
        operations.refused(DELETING, "not_found", "no", stamp=STAMP, jitter=0, limits=Limits()),
        operations.failed(DELETING, "partial", stamp=STAMP, jitter=0, limits=Limits()),
        operations.forgotten(DELETING, STAMP),
    ],
    ids=["succeeded", "nothing there", "failed", "forgotten"],
)
def test_decide_listed_right_after_a_deletion_is_created_again(deletion: Assignment) -> None:
    decision = found(deletion)
    assert (decision.send, decision.said) == ("create", ())


def test_decide_listed_right_after_a_deletion_without_a_slot_waits_for_one() -> None:
    decision = found(operations.succeeded(DELETING, STAMP), may_send=False)
    assert (decision.send, decision.said, decision.row.next_at) == (None, (), NOW + S)
    assert found(decision.row, after=2).send == "create"


def test_decide_listed_after_a_deletion_and_our_next_creation_is_granted() -> None:
    deleted = operations.succeeded(DELETING, STAMP)
    created = operations.succeeded(replace(deleted, op=Op("create", NOW)), STAMP)
    [(after, _)] = found(created).said
    assert after.state is ClaimState.ACTIVE


@pytest.mark.parametrize(("after", "send"), [(29.9, "create"), (30, None)])
def test_decide_listed_long_after_a_deletion_is_believed(after: float, send: str | None) -> None:
    seen = replace(operations.succeeded(DELETING, STAMP), observed=Observed.ABSENT)
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


async def test_access_made_by_hand_after_our_revoke_is_granted_without_an_id_and_ends(lab: Lab) -> None:
    await lab.approve(lab.ticket(seconds=20))
    await lab.run_until(access.AccessRevoked)
    await lab.run(1200, step=60)
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
    [(after, _)] = found(standing).said
    assert after.request_id == "creation"


@pytest.mark.parametrize(
    "deletion",
    [operations.accepted(DELETING, "deletion", STAMP, Limits()), operations.succeeded(DELETING, STAMP)],
)
def test_creation_is_forgotten_once_aws_deletes(deletion: Assignment) -> None:
    assert deletion.request_id is None


def test_deletion_that_aws_refused_leaves_the_creation_known() -> None:
    after = operations.refused(DELETING, "denied", "no", stamp=STAMP, jitter=0, limits=Limits())
    assert (after.request_id, after.deletion_ended) == ("creation", None)

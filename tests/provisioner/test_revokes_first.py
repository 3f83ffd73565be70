"""What takes access away does not wait for others that wait for their turn with AWS."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import pytest

from services.provisioner.domain.assignments import Observed
from services.provisioner.domain.claims import ClaimState
from services.provisioner.reconcile.looking import _priority
from shared.contracts import access
from tests.support.aws_turns import Queue, queued
from tests.support.provisioner_domain import TIMING, claim, decided, row
from tests.support.provisioner_lab import Lab, Premises, laboratory
from tests.support.waiting import until

S = timedelta(seconds=1)
CREATE, DELETE = "CreateAccountAssignment", "DeleteAccountAssignment"


@asynccontextmanager
async def bob_waits(lab: Lab, priority: str, *, account: str = "orders-prod") -> AsyncIterator[Queue]:
    """Bob's grant waits for its turn with a call of that priority, until the end."""
    await lab.approve(lab.ticket("bob", account=account, seconds=600))
    with queued(lab, priority) as queue:
        stepping = asyncio.ensure_future(lab.run(0))
        await queue.waiting.wait()
        yield queue
        queue.go.set()
        await stepping


async def end_of_anns(lab: Lab) -> "asyncio.Future[None]":
    """The round in which ann's window is over; it goes on as long as anybody waits."""
    lab.clock.advance(4 * S)
    await lab.current.lease.renew()
    await lab.current.expiry.step()
    return asyncio.ensure_future(lab.current.engine.step())


async def until_sent(lab: Lab, operation: str) -> None:
    async def sent() -> bool:
        return lab.calls(operation) == 1

    await until(sent, 5, what=f"{operation} is sent")


async def granted_for(lab: Lab, *, left: float) -> None:
    """Ann has access with `left` seconds to its end."""
    await lab.approve(lab.ticket(seconds=60))
    await lab.run_until(access.AccessGranted)
    [fact] = await lab.said(access.AccessGranted)
    await lab.run((fact.ends_at - lab.now).total_seconds() - left)


async def test_deletion_does_not_wait_for_a_look_before_a_creation_on_its_account(lab: Lab) -> None:
    await granted_for(lab, left=3)
    async with bob_waits(lab, "grant") as queue:
        round_ = await end_of_anns(lab)
        await until_sent(lab, DELETE)
        queue.go.set()
        await round_
    await lab.run(60)
    assert not lab.holds("ann")
    assert lab.holds("bob"), "it comes after the deletion"


async def test_creation_that_lost_its_slot_is_not_sent_beside_the_deletion(lab: Lab) -> None:
    await granted_for(lab, left=3)
    async with bob_waits(lab, "grant") as queue:
        creations = lab.calls(CREATE)
        round_ = await end_of_anns(lab)
        await until_sent(lab, DELETE)
        queue.go.set()
        await round_
        assert lab.calls(CREATE) == creations
    assert await lab.story() == ["scheduled", "granting", "granted", "scheduled", "revoke_due(expired)"]


async def test_deletion_does_not_wait_for_room_among_visits_of_others(shared_premises: Premises) -> None:
    async with laboratory(shared_premises, concurrency=1) as lab:
        await granted_for(lab, left=3)
        async with bob_waits(lab, "grant", account="orders-dev") as queue:
            round_ = await end_of_anns(lab)
            await until_sent(lab, DELETE)
            queue.go.set()
            await round_


async def test_other_visits_keep_to_their_number(shared_premises: Premises) -> None:
    async with (
        laboratory(shared_premises, concurrency=1) as lab,
        bob_waits(lab, "grant", account="orders-dev"),
    ):
        await lab.approve(lab.ticket("eve", seconds=600))
        lists = lab.calls("ListAccountAssignments")
        await lab.current.engine._round()
        assert lab.calls("ListAccountAssignments") == lists
        assert len(lab.current.engine._visits) == 1


# the order of looks

OURS = {"ours": True, "set_arn": "arn"}


@pytest.mark.parametrize(
    ("observed", "ours", "priority"),
    [
        (Observed.UNKNOWN, {}, "grant"),
        (Observed.UNKNOWN, OURS, "verify"),
        (Observed.CREATED, OURS, "verify"),
        (Observed.DOUBTFUL, OURS, "verify"),
        (Observed.ABSENT, OURS, "grant"),
        (Observed.DELETED, OURS, "grant"),
        (Observed.PRESENT, OURS, "grant"),
    ],
)
@pytest.mark.parametrize("beginning", [False, True])
def test_look_at_what_we_may_have_made_goes_before_those_before_a_creation(
    observed: Observed, ours: dict[str, object], priority: str, beginning: bool
) -> None:
    wanted = row(claim(ClaimState.GRANTING), observed=observed, desired="present", **ours)
    assert _priority(wanted, beginning=beginning) == priority


def test_look_for_a_new_grant_does_not_wait_behind_drift_because_an_earlier_one_was_closed() -> None:
    closed = row(observed=Observed.ABSENT, closed_at=row().next_at, **OURS)
    assert _priority(closed, beginning=False) == "drift"
    assert _priority(closed, beginning=True) == "grant"


# attempts

TIRED = {"attempt": TIMING.attempts, "last_code": "failed", "last_error": "internal", **OURS}


def test_deletions_that_failed_do_not_count_against_the_next_creation() -> None:
    before = row(observed=Observed.ABSENT, desired="absent", **TIRED)
    decision = decided(before, claim(ClaimState.GRANTING), found=False)
    assert (decision.send, decision.names) == ("create", [])
    assert decision.row.attempt == 0


def test_creations_that_failed_do_not_count_against_the_deletion() -> None:
    before = row(observed=Observed.CREATED, desired="present", **TIRED)
    decision = decided(before, claim(ClaimState.REVOKING), found=True)
    assert (decision.send, decision.row.attempt) == ("delete", 0)
    again = decided(replace(before, desired="absent"), claim(ClaimState.REVOKING), found=True)
    assert (again.send, again.row.attempt) == ("delete", TIMING.attempts)

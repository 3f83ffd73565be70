"""What the table in docs/limits.md says of AWS and of the provisioner being away, for a good while each."""

from datetime import timedelta

import pytest

from shared.contracts import access
from tests.support.provisioner_lab import Lab

S, HOUR = timedelta(seconds=1), timedelta(hours=1)
IDENTITY_CENTER = (
    "ListInstances", "ListAccountAssignments", "CreateAccountAssignment", "DeleteAccountAssignment",
    "ListAccountAssignmentCreationStatus", "ListAccountAssignmentDeletionStatus",
    "DescribeAccountAssignmentCreationStatus", "DescribeAccountAssignmentDeletionStatus",
)  # fmt: skip
ORGANIZATIONS = ("DescribeAccount", "ListAccounts", "DescribeOrganization", "ListRoots")
IDENTITY_STORE = ("DescribeUser", "ListUsers", "ListGroups", "ListGroupMemberships")


def take_away(lab: Lab, *operations: str) -> None:
    for operation in operations:
        lab.aws.fault(operation=operation, kind="http500")


async def test_access_stays_while_identity_center_is_away_loudly_and_ends_within_a_minute_of_its_return(
    lab: Lab,
) -> None:
    await lab.approve(lab.ticket(seconds=60))
    granted = await lab.run_until(access.AccessGranted)
    take_away(lab, *IDENTITY_CENTER)
    await lab.run(900, step=15)
    assert lab.holds(), "nobody can take away what AWS does not let go"
    assert (await lab.story())[2:] == ["granted", "revoke_due(expired)", "revoke_overdue"]
    [overdue] = await lab.said(access.AccessRevokeOverdue)
    assert overdue.at - granted.ends_at <= 135 * S
    assert {"revoke_overdue", "unreadable"} <= lab.alerts()
    lab.aws.faults.clear()
    back = lab.now
    await lab.run_until(access.AccessRevoked)
    [(_, _, ended)] = lab.presence()
    assert ended is not None
    assert ended - back <= 60 * S
    await lab.run(1)
    assert lab.alerts() == set()


async def test_grant_while_identity_center_is_away_waits_and_begins_when_it_is_back(lab: Lab) -> None:
    take_away(lab, *IDENTITY_CENTER)
    await lab.approve(lab.ticket(seconds=7200))
    await lab.run(900, step=15)
    assert await lab.story() == ["scheduled"]
    lab.aws.faults.clear()
    await lab.run_until(access.AccessGranted, within=60)
    assert lab.holds()


@pytest.mark.parametrize("away", [ORGANIZATIONS, IDENTITY_STORE], ids=["Organizations", "Identity Store"])
async def test_ends_do_not_need_organizations_or_the_identity_store_and_grants_wait_for_them(
    lab: Lab, away: tuple[str, ...]
) -> None:
    await lab.approve(lab.ticket("ann", seconds=60))
    await lab.run_until(access.AccessGranted)
    take_away(lab, *away)
    revoked = await lab.run_until(access.AccessRevoked)
    assert revoked.late_by <= 60 * S
    await lab.approve(lab.ticket("bob", seconds=7200))  # later than an answer serves
    await lab.run(900, step=15)
    assert not lab.holds("ann")
    assert not lab.holds("bob")
    lab.aws.faults.clear()
    await lab.run_until(access.AccessGranted, within=60)
    assert lab.holds("bob")


async def test_access_stays_while_the_provisioner_is_away_in_silence_and_ends_at_once_when_it_is_back(
    lab: Lab,
) -> None:
    await lab.approve(lab.ticket(seconds=60))
    granted = await lab.run_until(access.AccessGranted)
    lab.clock.advance(HOUR)  # nothing steps meanwhile
    assert lab.holds()
    assert lab.alerts() == set(), "who is away tells nobody: that is the monitoring's part"
    back = lab.now
    revoked = await lab.run_until(access.AccessRevoked)
    [due] = await lab.said(access.AccessRevokeDue)
    assert due.late_by == back - granted.ends_at
    [(_, _, ended)] = lab.presence()
    assert ended is not None
    assert ended - back <= 10 * S
    assert revoked.late_by >= HOUR - 120 * S


async def test_grant_whose_window_was_over_when_the_provisioner_came_back_is_never_made(lab: Lab) -> None:
    await lab.approve(lab.ticket(seconds=60))
    lab.clock.advance(HOUR)
    await lab.run(60)
    assert await lab.story() == ["scheduled", "revoke_due(expired)", "failed(expired)"]
    assert lab.calls("CreateAccountAssignment") == 0

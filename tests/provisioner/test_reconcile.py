"""Grants and ends in virtual time against the simulator; the judge is the simulator's own record."""

from datetime import timedelta

import pytest

from shared.contracts import access
from shared.contracts import documents as doc
from tests.support.provisioner_lab import Lab

LIFE = ["scheduled", "granting", "granted", "revoke_due(expired)", "revoked(expired)"]
S = timedelta(seconds=1)


async def test_grant_from_approval_to_end_is_made_read_back_and_taken_away(lab: Lab) -> None:
    ticket = await lab.approve(lab.ticket())
    granted = await lab.run_until(access.AccessGranted)
    assert lab.holds()
    assert granted.request_id is not None
    assert granted.credentials_until == granted.ends_at + timedelta(hours=1)
    revoked = await lab.run_until(access.AccessRevoked)
    assert await lab.story(ticket) == LIFE
    assert not lab.holds()
    assert timedelta(0) < revoked.late_by < 10 * S
    [(_, began, ended)] = lab.presence()
    window = ticket.targets[0].window
    assert window is not None
    assert ended is not None
    assert window.starts_at <= began < ended < window.ends_at + 10 * S


async def test_grant_versions_count_the_facts_of_the_claim(lab: Lab) -> None:
    await lab.approve(lab.ticket())
    await lab.run_until(access.AccessRevoked)
    assert [fact.version for fact in await lab.said(access.AccessFact)] == [1, 2, 3, 4, 5]


async def test_grant_in_the_future_waits_for_its_start(lab: Lab) -> None:
    await lab.approve(lab.ticket(starts_in=300))
    await lab.run(290, step=10)
    assert await lab.story() == ["scheduled"]
    assert lab.calls("CreateAccountAssignment") == 0
    await lab.run(30)
    assert lab.holds()


async def test_grant_of_three_beneficiaries_on_one_account_never_conflicts(lab: Lab) -> None:
    lab.aws.change_settings(account_serialisation="conflict")
    await lab.approve(lab.ticket("ann", "bob", "eve"))
    await lab.run(40)
    assert all(lab.holds(user) for user in ("ann", "bob", "eve"))
    assert lab.aws.records.outcomes["CreateAccountAssignment ConflictException"] == 0


async def test_granted_is_said_only_when_aws_shows_it(lab: Lab) -> None:
    """Fails when the read-back is left out: lists lag ten seconds behind the operation's success."""
    lab.aws.change_settings(list_lag_seconds=10)
    await lab.approve(lab.ticket())
    granted = await lab.run_until(access.AccessGranted)
    [(_, began, _)] = lab.presence()
    assert granted.at >= began + 10 * S
    assert lab.calls("CreateAccountAssignment") == 1


async def test_granted_is_never_said_of_a_success_that_aws_does_not_show(lab: Lab) -> None:
    """Fails when the read-back is left out: somebody takes the assignment away as soon as it is made."""
    await lab.approve(lab.ticket(seconds=20))
    while not lab.holds():
        await lab.run(1)
        lab.clock.advance(S)
        if lab.holds():
            lab.aws.edit(
                action="remove_assignment", user="ann", account="orders-prod", permission_set="ReadOnly"
            )
            break
    await lab.run(2, step=0.5)
    assert "granted" not in await lab.story()


async def test_revoked_is_not_said_before_absence_was_seen_for_the_settle_time(lab: Lab) -> None:
    await lab.approve(lab.ticket(seconds=30))
    revoked = await lab.run_until(access.AccessRevoked)
    [(_, _, ended)] = lab.presence()
    assert ended is not None
    assert revoked.at >= ended + 20 * S


# overlap


async def test_end_of_one_of_two_claims_releases_it_and_leaves_the_access(lab: Lab) -> None:
    """Fails when claims are not counted."""
    short = await lab.approve(lab.ticket(seconds=30))
    long = await lab.approve(lab.ticket(seconds=90))
    await lab.run(60)
    assert await lab.story(short) == [
        "scheduled", "granting", "granted", "revoke_due(expired)", "released(expired)",
    ]  # fmt: skip
    [released] = await lab.said(access.AccessReleased)
    assert released.kept_by == (long.grants[0].id,)
    assert lab.holds()
    await lab.run(80)
    assert await lab.story(long) == LIFE
    assert len(lab.presence()) == 1
    assert not lab.holds()


async def test_second_claim_during_the_first_grants_without_a_second_creation(lab: Lab) -> None:
    await lab.approve(lab.ticket(seconds=90))
    await lab.run_until(access.AccessGranted)
    await lab.approve(lab.ticket(seconds=60))
    second = await lab.run_until(access.AccessGranted)
    assert not second.already_held
    assert lab.calls("CreateAccountAssignment") == 1


async def test_claim_that_comes_while_the_last_one_is_revoked_is_granted_again(lab: Lab) -> None:
    await lab.approve(lab.ticket(seconds=20))
    await lab.run(21)
    again = await lab.approve(lab.ticket(seconds=60))
    await lab.run(20)
    assert lab.holds()
    assert (await lab.story(again))[-1] == "granted"
    await lab.run(100)
    assert not lab.holds()


# not ours


async def test_grant_of_what_is_there_already_says_so_and_never_deletes_it(lab: Lab) -> None:
    lab.aws.edit(action="add_assignment", user="ann", account="orders-prod", permission_set="ReadOnly")
    await lab.approve(lab.ticket())
    granted = await lab.run_until(access.AccessGranted)
    assert granted.already_held
    assert granted.request_id is None
    released = await lab.run_until(access.AccessReleased)
    assert released.kept_by == ("not_ours",)
    await lab.run(1000, step=30)
    assert lab.holds()
    assert lab.calls("CreateAccountAssignment") == lab.calls("DeleteAccountAssignment") == 0


async def test_assignment_of_ours_found_again_after_a_lost_creation_is_ours(lab: Lab) -> None:
    lab.aws.fault(operation="CreateAccountAssignment", kind="reset_after_accept", times=1)
    lab.aws.fault(
        operation="ListAccountAssignmentCreationStatus", kind="error", code="ValidationException", times=4
    )
    await lab.approve(lab.ticket())
    granted = await lab.run_until(access.AccessGranted)
    assert not granted.already_held
    await lab.run_until(access.AccessRevoked)
    assert not lab.holds()


# the same access through a group


@pytest.mark.parametrize("member", [True, False])
async def test_revoked_names_the_groups_through_which_the_access_goes_on(lab: Lab, member: bool) -> None:
    group = lab.aws.directory.find_group("dev").id
    members = (lab.user(),) if member else (lab.user("bob"),)
    lab.replace_document("provisioner", doc.Group(id=group, name="dev-of-aws"))
    lab.replace_members(group, *members)
    lab.aws.edit(action="add_assignment", group="dev", account="orders-prod", permission_set="ReadOnly")
    await lab.approve(lab.ticket(seconds=20))
    revoked = await lab.run_until(access.AccessRevoked)
    assert revoked.also_through == ((group,) if member else ())
    assert not lab.holds()


# ends by others


async def test_window_over_while_creating_waits_for_the_creation_and_revokes(lab: Lab) -> None:
    lab.aws.fault(operation="CreateAccountAssignment", kind="duration", seconds=40, times=1)
    await lab.approve(lab.ticket(seconds=10))
    failed = await lab.run_until(access.AccessFailed)
    assert failed.at - failed.ends_at > 30 * S
    assert not lab.holds()
    assert all(ended is not None for _, _, ended in lab.presence())


async def test_creation_that_never_finishes_is_alerted_and_never_called_revoked(lab: Lab) -> None:
    lab.aws.fault(operation="CreateAccountAssignment", kind="never_finishes", times=1)
    await lab.approve(lab.ticket(seconds=30))
    await lab.run(400, step=5)
    assert await lab.story() == ["scheduled", "granting", "revoke_due(expired)", "revoke_overdue"]
    assert {"operation", "revoke_overdue"} <= lab.alerts()
    [request] = lab.aws.world.requests.running()
    lab.aws.world.requests.finish(request.id, now=lab.now.timestamp())
    assert lab.holds()
    await lab.run_until(access.AccessFailed)
    assert not lab.holds()
    assert "operation" not in lab.alerts()


async def test_reappearance_after_revoked_is_revoked_again_and_alerted(lab: Lab) -> None:
    await lab.approve(lab.ticket(seconds=20))
    await lab.run_until(access.AccessRevoked)
    lab.aws.edit(action="add_assignment", user="ann", account="orders-prod", permission_set="ReadOnly")
    await lab.run(90, step=2)
    assert not lab.holds()
    assert "reappeared" in lab.alerts()
    assert await lab.story() == LIFE


async def test_closed_assignment_is_looked_at_again_for_a_quarter_of_an_hour_only(lab: Lab) -> None:
    await lab.approve(lab.ticket(seconds=20))
    await lab.run_until(access.AccessRevoked)
    looks = lab.calls("ListAccountAssignments")
    await lab.run(3600, step=30)
    assert lab.calls("ListAccountAssignments") == looks + 4
    assert (await lab.row())["next_at"] is None


# run again, and again


async def test_steps_run_ten_times_at_one_moment_change_nothing_more(lab: Lab) -> None:
    await lab.approve(lab.ticket(seconds=30))
    for _ in range(60):
        for _ in range(3):
            await lab.run(0)
        lab.clock.advance(S)
    assert await lab.story() == LIFE
    assert lab.calls("CreateAccountAssignment") == lab.calls("DeleteAccountAssignment") == 1

"""A grant that was promised and never made is somebody's business, and so is an AWS that cannot be read."""

import pytest

from shared.contracts import access
from tests.support.provisioner_lab import Lab

CREATE, LIST = "CreateAccountAssignment", "ListAccountAssignments"


def details(lab: Lab, key: str) -> list[str]:
    return [alert.detail for alert in lab.context.alerts.active if alert.key.startswith(f"{key}/")]


async def test_window_that_ends_while_aws_cannot_be_read_alerts_with_the_last_error(lab: Lab) -> None:
    lab.aws.fault(operation=LIST, kind="error", code="AccessDeniedException", message="not this role")
    await lab.approve(lab.ticket(seconds=60))
    await lab.run(70)
    assert await lab.story() == ["scheduled", "revoke_due(expired)", "failed(expired)"]
    [detail] = details(lab, "grant_failed")
    assert "not this role" in detail


async def test_window_that_ends_while_the_policy_is_not_ready_alerts_with_that_reason(lab: Lab) -> None:
    await lab.approve(lab.ticket(seconds=30))
    lab.context.tables._copies["ticket"].verified = False
    await lab.run(60)
    [detail] = details(lab, "grant_failed")
    assert "policy not ready" in detail


@pytest.mark.parametrize("engine_first", [False, True])
async def test_window_that_ends_while_aws_refuses_for_now_alerts_whoever_ends_it(
    lab: Lab, engine_first: bool
) -> None:
    lab.aws.fault(operation=CREATE, kind="error", code="ConflictException", message="busy")
    await lab.approve(lab.ticket(seconds=30))
    await lab.run(29)
    lab.clock.advance((await lab.said(access.AccessGranting))[0].ends_at - lab.now)
    if engine_first:
        for _ in range(2):
            await lab.machinery.engine.step()
    await lab.run(60)
    assert "granted" not in await lab.story()
    [detail] = details(lab, "grant_failed")
    assert "busy" in detail


async def test_window_that_ends_without_any_engine_alerts(lab: Lab) -> None:
    await lab.approve(lab.ticket(seconds=30))
    lab.clock.advance((await lab.said(access.AccessScheduled))[0].ends_at - lab.now)
    await lab.machinery.expiry.step()
    [detail] = details(lab, "grant_failed")
    assert "no active engine" in detail


async def test_window_that_ends_after_its_grant_alerts_nobody(lab: Lab) -> None:
    await lab.approve(lab.ticket(seconds=30))
    await lab.run_until(access.AccessRevoked)
    assert lab.alerts() == set()


async def test_grant_that_is_stopped_before_it_was_made_alerts_nobody(lab: Lab) -> None:
    ticket = await lab.approve(lab.ticket(seconds=600, starts_in=30))
    await lab.take(lab.stop(ticket))
    await lab.run(60)
    assert lab.alerts() == set()


async def test_assignment_that_cannot_be_read_alerts_after_some_attempts_until_it_can(lab: Lab) -> None:
    rule = lab.aws.fault(operation=LIST, kind="error", code="AccessDeniedException", message="not this role")
    await lab.approve(lab.ticket(seconds=600))
    await lab.run(6)
    assert "unreadable" not in lab.alerts()
    await lab.run(60)
    [detail] = details(lab, "unreadable")
    assert "not this role" in detail
    lab.aws.faults.remove(rule.id)
    await lab.run_until(access.AccessGranted)
    assert lab.alerts() == set()

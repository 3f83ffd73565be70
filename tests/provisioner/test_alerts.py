"""A grant that was promised and never made is somebody's business, and so is an AWS that cannot be read."""

import pytest

from services.provisioner import views
from services.provisioner.domain.sentences import sentence_of
from services.provisioner.driver import DriverProblem
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
    lab.context.policy._copies["ticket"].verified = False
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
            await lab.current.engine.step()
    await lab.run(60)
    assert "granted" not in await lab.story()
    [detail] = details(lab, "grant_failed")
    assert "busy" in detail


async def test_window_that_ends_without_any_engine_alerts(lab: Lab) -> None:
    await lab.approve(lab.ticket(seconds=30))
    lab.clock.advance((await lab.said(access.AccessScheduled))[0].ends_at - lab.now)
    await lab.current.expiry.step()
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


# AWS's own words


SECRET = "arn:aws:sts::999999999999:assumed-role/jit-provisioner/i-0abc is not authorized"


async def test_aws_words_go_to_the_alert_and_not_to_the_people(lab: Lab) -> None:
    lab.aws.fault(operation=CREATE, kind="error", code="AccessDeniedException", message=SECRET)
    ticket = await lab.approve(lab.ticket(seconds=600))
    failed = await lab.run_until(access.AccessFailed)
    assert failed.code == "aws_denied"
    assert "does not let JIT give this access" in failed.detail
    facts = "".join(fact.model_dump_json() for fact in await lab.said(access.AccessFact))
    assert "999999999999" not in facts
    [detail] = details(lab, "grant_failed")
    assert SECRET in detail
    async with lab.context.pool.acquire() as conn:
        shown = await views.grant(conn, ticket.grants[0].id)
    assert "999999999999" not in str(shown)


async def test_grant_that_waits_says_so_in_our_words_and_operations_in_those_of_aws(lab: Lab) -> None:
    lab.aws.fault(operation=LIST, kind="error", code="AccessDeniedException", message=SECRET)
    ticket = await lab.approve(lab.ticket(seconds=600))
    await lab.run(5)
    async with lab.context.pool.acquire() as conn:
        shown = await views.grant(conn, ticket.grants[0].id)
        running = await views.operations(conn, now=lab.now)
    assert shown is not None
    assert shown["last_error"] == "JIT waits for AWS or for its policy; it is tried again"
    assert SECRET in running["failing"][0]["last_error"]


@pytest.mark.parametrize("problem", DriverProblem)
def test_every_problem_has_a_sentence(problem: DriverProblem) -> None:
    assert sentence_of(problem.value) != sentence_of("")

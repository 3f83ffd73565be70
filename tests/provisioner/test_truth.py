"""What is said of AWS is true: docs/assignment-rules.md, rule by rule, against the simulator's own record."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from services.provisioner.identity_center.types import Instance
from services.provisioner.reconcile.set_digests import FRESH_FOR, SetDigests
from services.provisioner.store import claims, schedule
from shared.contracts import access
from tests.support.provisioner_lab import Lab, connected

S = timedelta(seconds=1)
CREATE, DELETE = "CreateAccountAssignment", "DeleteAccountAssignment"
LIST_SET, DESCRIBE_SET = "ListAccountAssignments", "DescribePermissionSet"
FINAL = ("revoked", "released", "failed")


class LateRecords:
    """The real driver, whose records of operations say nothing of them for so long after the first call."""

    def __init__(self, lab: Lab, *, seconds: float) -> None:
        self._inner: Any = lab.current.engine.parts.driver
        self._lab = lab
        self._until = lab.now + timedelta(seconds=seconds)
        object.__setattr__(lab.current.engine.parts, "driver", self)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def outstanding(self, kind: Any) -> Any:
        return [] if self._lab.now < self._until else await self._inner.outstanding(kind)

    async def newest(self, kind: Any) -> Any:
        return [] if self._lab.now < self._until else await self._inner.newest(kind)


async def said_over(lab: Lab, *, within: float) -> access.AccessFact:
    """The claim's last fact, once it is over; AWS holds nothing from then on."""
    ends = lab.now + timedelta(seconds=within)
    while lab.now < ends:
        await lab.run(1, step=1)
        over = [fact for fact in await lab.said(access.AccessFact) if fact.TYPE.split(".")[1] in FINAL]
        if over:
            return over[0]
    raise AssertionError(f"not over within {within} s: {await lab.story()}")


async def judged_gone(lab: Lab, over: access.AccessFact) -> None:
    """Nothing was there when it was called over, nor is it for ten minutes after."""
    await lab.run(700, step=20)
    spans = lab.presence()
    assert all(ended is not None and ended <= over.at for _, _, ended in spans), f"{over.at}: {spans}"


# 6.2 ours, and perhaps running


@pytest.mark.parametrize("late", [0, 3, 30])
async def test_not_over_while_a_creation_whose_answer_was_lost_still_runs(lab: Lab, late: float) -> None:
    lab.aws.fault(operation=CREATE, kind="reset_after_accept", times=1)
    lab.aws.change_settings(create_seconds={"low": 60, "high": 60})
    LateRecords(lab, seconds=late)
    await lab.approve(lab.ticket(seconds=10))
    over = await said_over(lab, within=400)
    assert len(lab.presence()) == 1
    await judged_gone(lab, over)


async def test_not_over_while_a_creation_whose_record_aws_has_lost_still_runs(lab: Lab) -> None:
    lab.aws.change_settings(create_seconds={"low": 60, "high": 60})
    missing = "DescribeAccountAssignmentCreationStatus"
    lab.aws.fault(operation=missing, kind="error", code="ResourceNotFoundException", message="no")
    LateRecords(lab, seconds=1000)
    await lab.approve(lab.ticket(seconds=10))
    over = await said_over(lab, within=400)
    assert len(lab.presence()) == 1
    await judged_gone(lab, over)


@pytest.mark.parametrize("ahead", [-90, 90])
async def test_a_lost_creation_is_found_whatever_the_two_clocks_say(lab: Lab, ahead: float) -> None:
    """Fails where AWS's dates are compared with our clock, and where the request is never looked for."""
    lab.aws.fault(operation=CREATE, kind="reset_after_accept", times=1)
    lab.aws.change_settings(create_seconds={"low": 20, "high": 20})
    await lab.approve(lab.ticket(seconds=300))
    await lab.run(0)
    for request_id, request in list(lab.aws.world.requests.all.items()):
        moved = request.model_copy(update={"created_at": request.created_at + ahead})
        lab.aws.world.requests.all[request_id] = lab.aws.world.requests._running[request_id] = moved
    granted = await lab.run_until(access.AccessGranted)
    assert granted.request_id is not None
    assert lab.calls(CREATE) == 1


async def test_a_call_that_never_reached_aws_is_waited_out_before_it_is_called_over(lab: Lab) -> None:
    """Nobody can tell it from one that AWS took. A deletion that AWS takes would end the wait."""
    lab.aws.fault(operation=CREATE, kind="reset_before", times=1)
    LateRecords(lab, seconds=1000)
    await lab.approve(lab.ticket(seconds=3))
    over = await said_over(lab, within=900)
    assert timedelta(minutes=10) <= over.at - (await lab.said(access.AccessGranting))[0].at
    assert lab.calls(DELETE) > 3
    assert lab.calls(DELETE) < 60
    await judged_gone(lab, over)


async def test_access_whose_calls_were_both_lost_and_over_before_anybody_looked_ends_soon(lab: Lab) -> None:
    """It was granted by a creation made anew, which says that the lost one is not running behind it."""
    for operation in (CREATE, DELETE):
        lab.aws.fault(operation=operation, kind="reset_after_accept", times=1)
    at_once = {"low": 0.1, "high": 0.1}
    lab.aws.change_settings(create_seconds=at_once, delete_seconds=at_once)
    await lab.approve(lab.ticket(seconds=60))
    await lab.run_until(access.AccessGranted)
    revoked = await lab.run_until(access.AccessRevoked, within=180)
    assert revoked.late_by < timedelta(seconds=60)
    assert not lab.holds()


async def test_a_deletion_that_aws_takes_ends_the_wait_for_a_lost_creation(lab: Lab) -> None:
    lab.aws.fault(operation=CREATE, kind="reset_before", times=1)
    lab.aws.change_settings(missing_assignment_deletion="succeeded")
    LateRecords(lab, seconds=1000)
    await lab.approve(lab.ticket(seconds=3))
    over = await said_over(lab, within=90)
    await judged_gone(lab, over)


async def test_granted_is_not_said_of_what_a_lost_deletion_may_still_take_away(lab: Lab) -> None:
    await lab.approve(lab.ticket(seconds=30))
    await lab.run_until(access.AccessGranted)
    lab.aws.fault(operation=DELETE, kind="reset_after_accept", times=1)
    lab.aws.change_settings(delete_seconds={"low": 60, "high": 60})
    LateRecords(lab, seconds=1000)
    again = await lab.approve(lab.ticket(seconds=300, starts_in=50))
    while "granted" not in await lab.story(again):
        await lab.run(1, step=1)
    assert lab.holds()
    await lab.run(60, step=5)
    assert lab.holds()
    assert "revoke_due" not in " ".join(await lab.story(again))


# 6.10 being listed is no proof


async def test_what_a_lost_creation_left_half_made_is_made_anew_before_it_is_called_granted(lab: Lab) -> None:
    """AWS says FAILED, and lists it; nobody knows the request that failed."""
    lab.aws.fault(operation=CREATE, kind="reset_after_accept", times=1)
    LateRecords(lab, seconds=1000)
    await lab.approve(lab.ticket(seconds=300))
    await lab.run(0)
    [request_id] = lab.aws.world.requests._running
    running = lab.aws.world.requests._running[request_id]
    broken = running.model_copy(update={"planned_failure": "internal", "partial": True})
    lab.aws.world.requests.all[request_id] = lab.aws.world.requests._running[request_id] = broken
    granted = await lab.run_until(access.AccessGranted)
    assert lab.calls(CREATE) == 2
    assert granted.request_id not in {None, request_id}


# 6.3 what proves absence


async def test_another_instance_is_never_believed(lab: Lab) -> None:
    """As after a start with the wrong Region: whatever it says, it says nothing of our assignments."""
    await lab.approve(lab.ticket(seconds=20))
    await lab.run_until(access.AccessGranted)
    right = lab.current
    centre = connected(lab.aws, right.engine.parts.driver._calls._limiter)  # type: ignore[attr-defined]
    centre._instance = Instance("arn:aws:sso:::instance/ssoins-0000000000000000", "d-0000000000")
    lab.current = lab.replica("one", centre=centre)
    await lab.run(600, step=5)
    assert lab.holds()
    assert await lab.story() == ["scheduled", "granting", "granted", "revoke_due(expired)", "revoke_overdue"]
    assert "unreadable" in lab.alerts()
    lab.current = lab.replica("one", centre=right.identity_center)
    await lab.run_until(access.AccessRevoked)
    assert not lab.holds()
    await centre.close()


async def test_not_found_is_no_absence_while_set_and_account_are_there(lab: Lab) -> None:
    await lab.approve(lab.ticket(seconds=20))
    await lab.run_until(access.AccessGranted)
    rule = lab.aws.fault(operation=LIST_SET, kind="error", code="ResourceNotFoundException", message="no")
    await lab.run(300, step=5)
    assert lab.holds()
    assert "revoked" not in " ".join(await lab.story())
    assert "unreadable" in lab.alerts()
    lab.aws.faults.remove(rule.id)
    await lab.run_until(access.AccessRevoked)
    assert not lab.holds()


# 6.4 what an operation of ours explains


@pytest.mark.parametrize("code", ["AccessDeniedException", "ValidationException", "ThrottlingException"])
async def test_what_aws_refused_makes_nothing_ours(lab: Lab, code: str) -> None:
    lab.aws.fault(operation=CREATE, kind="error", code=code, message="no")
    await lab.approve(lab.ticket(seconds=20))
    await lab.run(5)
    lab.aws.edit(action="add_assignment", user="ann", account="orders-prod", permission_set="ReadOnly")
    await lab.run(1800, step=30)
    assert lab.holds()
    assert lab.calls(DELETE) == 0


async def test_a_creation_that_was_not_sent_makes_nothing_ours(lab: Lab) -> None:
    ticket = await lab.approve(lab.ticket(seconds=300))
    gate: Any = lab.current.identity_center._calls._limiter
    bucket = gate.buckets["sso-admin"]
    take = bucket.take

    async def stopped_meanwhile(priority: str) -> None:
        await take(priority)
        if priority == "create":
            await lab.take(lab.stop(ticket))

    bucket.take = stopped_meanwhile
    await lab.run(1)
    assert lab.calls(CREATE) == 0
    assert not (await lab.row())["ours"]
    lab.aws.edit(action="add_assignment", user="ann", account="orders-prod", permission_set="ReadOnly")
    await lab.run(120, step=5)
    assert lab.holds()


@pytest.mark.parametrize(("minutes", "kept"), [(10, False), (16, True)])
async def test_an_operation_of_ours_explains_what_appears_up_to_the_last_look(
    lab: Lab, minutes: float, kept: bool
) -> None:
    await lab.approve(lab.ticket(seconds=20))
    await lab.run_until(access.AccessRevoked)
    await lab.run(60 * minutes)
    lab.aws.edit(action="add_assignment", user="ann", account="orders-prod", permission_set="ReadOnly")
    await lab.run(1800)
    assert lab.holds() is kept
    assert (await lab.row())["ours"] is False


# 6.7 what keeps access alive


async def test_released_is_not_said_before_what_keeps_it_was_seen(lab: Lab) -> None:
    """The second creation fails: the first claim was kept by nothing."""
    first = await lab.approve(lab.ticket(seconds=3))
    lab.aws.fault(operation=CREATE, kind="duration", seconds=6, times=1)
    second = await lab.approve(lab.ticket(seconds=15, starts_in=5))
    await lab.run(6)
    lab.aws.fault(operation=CREATE, kind="error", code="AccessDeniedException", message="no")
    lab.aws.edit(action="remove_assignment", user="ann", account="orders-prod", permission_set="ReadOnly")
    await lab.run(200)
    assert not any("released" in fact for fact in await lab.story())
    assert (await lab.story(first))[-1].startswith("failed")
    assert (await lab.story(second))[-1].startswith(("failed", "revoked"))
    failed = [fact for fact in await lab.said(access.AccessFailed) if fact.ticket_id == first.id]
    assert failed[0].kept_by == ()


async def test_released_is_not_said_of_what_somebody_took_away(lab: Lab) -> None:
    """It is made again for the one who keeps it, and only then the other's is over."""
    first = await lab.approve(lab.ticket(seconds=20))
    kept = await lab.approve(lab.ticket(seconds=120))
    await lab.run(18)
    lab.aws.edit(action="remove_assignment", user="ann", account="orders-prod", permission_set="ReadOnly")
    await lab.run(4, step=1)
    assert (await lab.story(first))[-1] == "revoke_due(expired)"
    released = await lab.run_until(access.AccessReleased)
    assert released.kept_by == (kept.grants[0].id,)
    assert lab.holds()


# 6.12 loud until it is over


async def test_reappeared_access_is_told_until_it_is_gone(lab: Lab) -> None:
    await lab.approve(lab.ticket(seconds=20))
    await lab.run_until(access.AccessRevoked)
    rule = lab.aws.fault(operation=DELETE, kind="error", code="AccessDeniedException", message="no")
    lab.aws.edit(action="add_assignment", user="ann", account="orders-prod", permission_set="ReadOnly")
    await lab.run(300, step=5)
    told = {one.once: one for one in lab.context.alerts.active if one.key.startswith("reappeared/")}
    assert set(told) == {True, False}
    assert "AccessDenied" in told[False].detail
    lab.aws.faults.remove(rule.id)
    await lab.run(120, step=5)
    assert not lab.holds()
    assert told[False].key not in {alert.key for alert in lab.context.alerts.active}


async def test_the_next_holder_of_the_lease_tells_of_reappeared_access_too(lab: Lab) -> None:
    await lab.approve(lab.ticket(seconds=20))
    await lab.run_until(access.AccessRevoked)
    lab.aws.fault(operation=DELETE, kind="error", code="AccessDeniedException", message="no")
    lab.aws.edit(action="add_assignment", user="ann", account="orders-prod", permission_set="ReadOnly")
    await lab.run(100, step=5)
    for alert in lab.context.alerts.active:
        await lab.context.alerts.clear(alert.key)
    lab.current = lab.replica("one")
    await lab.run(60, step=5)
    assert "reappeared" in lab.alerts()


async def test_a_success_that_is_never_listed_is_given_up_loudly(lab: Lab) -> None:
    lab.aws.change_settings(list_lag_seconds=100_000)
    await lab.approve(lab.ticket(seconds=1200))
    await lab.run(600, step=5)
    assert lab.calls(CREATE) == 5
    assert "grant_failed" in lab.alerts()
    [failed] = await lab.said(access.AccessFailed)
    assert failed.code == "aws_not_visible"
    assert not lab.holds()


async def test_a_second_claim_on_what_is_not_listed_yet_asks_aws_no_more_often(lab: Lab) -> None:
    """It has no slot to wait for, and was looked at again at once: twenty lists a second."""
    lab.aws.change_settings(list_lag_seconds=10)
    await lab.approve(lab.ticket(seconds=60))
    await lab.approve(lab.ticket(starts_in=5, seconds=60))
    await lab.run(12, step=0.1)
    assert lab.calls(LIST_SET) < 16
    await lab.run(6, step=0.1)
    assert len(await lab.said(access.AccessGranted)) == 2


@pytest.mark.parametrize("code", ["ConflictException", "ThrottlingException"])
async def test_what_aws_puts_off_is_asked_again_at_growing_intervals(lab: Lab, code: str) -> None:
    lab.aws.fault(operation=CREATE, kind="error", code=code, message="no")
    await lab.approve(lab.ticket(seconds=290))
    await lab.run(280, step=1)
    assert 10 < lab.calls(CREATE) < 30
    row = await lab.row()
    assert (row["attempt"], row["put_off"]) == (0, lab.calls(CREATE))


# 6.15 what the set allows now


async def test_a_set_that_was_widened_since_the_last_reading_is_not_given(lab: Lab) -> None:
    """The tables here still say what was approved."""
    await lab.approve(lab.ticket(seconds=60, starts_in=30))
    lab.aws.edit(action="edit_set", permission_set="ReadOnly", inline_policy='{"Statement": []}')
    failed = await lab.run_until(access.AccessFailed)
    assert failed.code == "set_changed"
    assert lab.calls(CREATE) == 0


async def test_a_set_that_is_gone_is_not_given(lab: Lab) -> None:
    await lab.approve(lab.ticket(name="BreakGlass", seconds=60, starts_in=30))
    lab.aws.edit(action="delete_set", permission_set="BreakGlass")
    assert (await lab.run_until(access.AccessFailed)).code == "set_unknown"


async def test_one_reading_of_a_set_serves_a_burst(lab: Lab) -> None:
    await lab.approve(lab.ticket("ann", "bob", "eve", seconds=60))
    await lab.run(20)
    assert lab.calls(CREATE) == 3
    assert lab.calls(DESCRIBE_SET) == 1


async def test_set_digests_are_read_again_once_they_are_old_and_after_a_failure(lab: Lab) -> None:
    answers: list[str | Exception | None] = [RuntimeError("away"), "one", "two", None]
    reads = 0

    async def read(_arn: str) -> str | None:
        nonlocal reads
        reads += 1
        await asyncio.sleep(0)
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    digests, now = SetDigests(read), lab.now
    with pytest.raises(RuntimeError):
        await digests.read("arn", now=now)
    assert await asyncio.gather(*(digests.read("arn", now=now) for _ in range(3))) == ["one"] * 3
    assert reads == 2
    assert await digests.read("arn", now=now + FRESH_FOR - S) == "one"
    assert await digests.read("arn", now=now + FRESH_FOR) == "two"
    assert await digests.read("arn", now=now - S) is None


# 6.19 between "still wanted" and the send


async def test_nothing_is_sent_where_the_lease_ran_out_while_the_database_was_asked(lab: Lab) -> None:
    await lab.approve(lab.ticket(seconds=300))
    pool = lab.context.pool

    class SlowPool:
        """The last look before a creation takes longer than the lease lasts."""

        def acquire(self) -> Any:
            if lab.calls(DESCRIBE_SET) and asking[0]:
                lab.clock.advance(20 * S)
                asking[0] = False
            return pool.acquire()

        def __getattr__(self, name: str) -> Any:
            return getattr(pool, name)

    gate: Any = lab.current.identity_center._calls._limiter
    bucket = gate.buckets["sso-admin"]
    asking, take = [False], bucket.take

    async def then_slow(priority: str) -> None:
        await take(priority)
        asking[0] = priority == "create"

    bucket.take = then_slow
    lab.context.set_pool(SlowPool())  # type: ignore[arg-type]
    try:
        await lab.current.engine.step()
    finally:
        lab.context.set_pool(pool)
        del bucket.take
    assert lab.calls(CREATE) == 0
    row = await lab.row()
    assert (row["op_kind"], row["ours"]) == (None, False), "it is known that nothing was sent"
    await lab.run_until(access.AccessGranted)


# 6.9 a clock that is set back


@pytest.mark.parametrize("at", [0, 1, 2, 3, 4, 8, 14])
async def test_access_ends_in_time_although_the_clock_is_set_back_meanwhile(lab: Lab, at: int) -> None:
    """Whatever moved at that moment; the end itself is by the clock that everybody goes by."""
    await lab.approve(lab.ticket(seconds=30))
    await lab.run_until(access.AccessGranted)
    [granted] = await lab.said(access.AccessGranted)
    await lab.run((granted.ends_at - lab.now).total_seconds())
    for _ in range(at):
        await lab.run(1, step=1)
    lab.clock.step(-120 * S)
    await lab.run(40, step=1)
    assert not lab.holds()
    assert (await lab.story())[-1] == "revoked(expired)"


@pytest.mark.parametrize("at", [0, 1, 2, 3, 4])
async def test_access_begins_although_the_clock_is_set_back_meanwhile(lab: Lab, at: int) -> None:
    """By less than a minute: a clock that is further from AWS's holds grants."""
    await lab.approve(lab.ticket(seconds=900))
    for _ in range(at):
        await lab.run(1, step=1)
    lab.clock.step(-50 * S)
    await lab.run(75, step=1)
    assert lab.holds()
    assert (await lab.story())[-1] == "granted"


async def test_what_was_begun_is_wanted_although_the_clock_was_set_back_before_its_start(lab: Lab) -> None:
    lab.aws.fault(operation=CREATE, kind="error", code="ConflictException", message="no", times=1)
    ticket = await lab.approve(lab.ticket(seconds=300))
    await lab.run(0)
    assert (await lab.story())[-1] == "granting"
    window, row = ticket.targets[0].window, await lab.row()
    assert window is not None
    for moment, wanted in ((window.starts_at - 120 * S, True), (window.ends_at, False)):
        async with lab.context.pool.acquire() as conn:
            assert await claims.any_holds(conn, row["id"], now=moment) is wanted
            await conn.execute("UPDATE assignment SET next_at = $1", window.starts_at - 120 * S)
            [due] = await schedule.due_assignments(conn, now=moment)
        assert due.wanted is wanted

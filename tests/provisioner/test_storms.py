"""Many grants and ends at once, and operations of others: nobody is kept waiting by what is not theirs."""

import asyncio
from datetime import timedelta

import pytest

from services.provisioner.background import Expiry
from services.provisioner.domain.assignments import Observed
from services.provisioner.domain.timing import Objectives
from services.provisioner.limits import STUCK_AFTER, Slot, Slots
from services.provisioner.reconcile.reads import KEPT_FOR
from services.provisioner.reconcile.turns import FAIR_AFTER, GATHERED_FOR, LOOKED_AHEAD, Turns
from services.provisioner.store import schedule
from services.provisioner.store.schedule import Due
from shared.contracts import access
from tests.support.harness import NOW
from tests.support.provisioner_lab import Lab
from tests.support.waiting import until

S = timedelta(seconds=1)
CREATE, DELETE = "CreateAccountAssignment", "DeleteAccountAssignment"
LIST = "ListAccountAssignments"
DESCRIBE = "DescribeAccountAssignmentCreationStatus"


# operations that do not end


async def test_delete_is_sent_though_somebody_elses_operation_on_the_account_never_ends(lab: Lab) -> None:
    await lab.approve(lab.ticket("bob", name="Administrator", seconds=40))
    await lab.run_until(access.AccessGranted)
    lab.aws.fault(operation=CREATE, kind="never_finishes", user="ann", times=1)
    await lab.approve(lab.ticket("ann", seconds=600))
    await lab.run(40 + STUCK_AFTER.total_seconds() + 5)
    assert lab.calls(DELETE) >= 1, "AWS queues or refuses it; it is not for us to hold it back"


async def test_deletes_are_sent_though_every_slot_is_stuck(lab: Lab) -> None:
    lab.current.engine.slots.total = 2
    await lab.approve(lab.ticket("bob", account="sandbox-01", seconds=40))
    await lab.run_until(access.AccessGranted)
    lab.aws.fault(operation=CREATE, kind="never_finishes", times=2)
    for account in ("orders-prod", "orders-dev"):
        await lab.approve(lab.ticket("ann", account=account, seconds=600))
    await lab.run(40 + STUCK_AFTER.total_seconds() + 10)
    assert not lab.holds("bob", "sandbox-01")


# polling


async def test_one_request_that_cannot_be_followed_keeps_nobody_else_waiting(lab: Lab) -> None:
    """AWS answers no Describe, and the one grant needs one: its request FAILED."""
    lab.aws.fault(operation=CREATE, kind="fail_async", user="ann", times=1)
    lab.aws.fault(operation=DESCRIBE, kind="http500")
    await lab.approve(lab.ticket("ann", seconds=600))
    await lab.approve(lab.ticket("bob", account="orders-dev", seconds=600))
    granted = await lab.run_until(access.AccessGranted, within=20)
    assert granted.user_id == lab.user("bob")


async def test_results_are_read_from_one_list_and_nothing_is_described(lab: Lab) -> None:
    await lab.approve(lab.ticket("ann", seconds=600))
    await lab.run_until(access.AccessGranted)
    assert lab.calls(DESCRIBE) == 0


async def test_requests_are_asked_for_one_by_one_where_no_list_answers(lab: Lab) -> None:
    lab.aws.fault(operation="ListAccountAssignmentCreationStatus", kind="http500")
    await lab.approve(lab.ticket("ann", seconds=600))
    await lab.run_until(access.AccessGranted)
    assert lab.calls(DESCRIBE) >= 1


async def test_request_whose_id_was_lost_is_not_forgotten_while_no_list_answers(lab: Lab) -> None:
    lab.aws.fault(operation=CREATE, kind="reset_after_accept", times=1)
    lab.aws.fault(operation="ListAccountAssignmentCreationStatus", kind="http500")
    await lab.approve(lab.ticket("ann", seconds=600))
    await lab.run(30)
    assert (await lab.row())["op_kind"] == "create"


async def test_requests_that_do_not_fit_on_the_first_page_are_found_in_progress(lab: Lab) -> None:
    lab.aws.change_settings(page_limit=1)
    await lab.approve(lab.ticket("ann", seconds=600))
    await lab.approve(lab.ticket("bob", account="orders-dev", seconds=600))
    await lab.run(30)
    assert len(await lab.said(access.AccessGranted)) == 2


async def test_slots_that_a_poll_has_freed_are_given_away_before_the_next_round_is_due(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.provisioner.reconcile.engine._BETWEEN_ROUNDS_S", 60.0)
    lab.current.engine._poll_ended(freed=True)
    await asyncio.wait_for(lab.current.engine._until_next_round(60.0), 5)


# what is shared


async def test_read_backs_of_one_account_and_set_share_a_list_which_was_sent_after_both_had_ended(
    lab: Lab,
) -> None:
    await lab.approve(lab.ticket("ann", "bob", seconds=600))
    await lab.run(40)
    assert len(await lab.said(access.AccessGranted)) == 2
    lists = [call["time"] for call in lab.aws.records.calls if call["operation"] == LIST]
    ended = [one.ended_at or 0 for one in lab.aws.world.requests.all.values()]
    assert len(lists) <= 3
    assert lists[-1] >= max(ended)


async def test_grants_on_one_account_are_not_slower_than_their_operations_and_a_moment(lab: Lab) -> None:
    await lab.approve(lab.ticket("ann", "bob", "eve", seconds=600))
    await lab.run(40)
    granted = await lab.said(access.AccessGranted)
    ended = sorted(one.ended_at or 0 for one in lab.aws.world.requests.all.values())
    told = sorted(fact.at.timestamp() for fact in granted)
    assert len(told) == len(ended) == 3
    waits = [at - end for at, end in zip(told, ended, strict=True)]
    assert max(waits) <= GATHERED_FOR.total_seconds() + 2


# what is due


async def test_due_revokes_of_a_busy_account_do_not_hide_those_of_an_idle_one(lab: Lab) -> None:
    """The busy account's are the most overdue, and more than are looked at together."""
    await lab.context.pool.execute(
        """
        WITH made AS (
            INSERT INTO assignment (instance, user_id, account_id, set_id, set_arn, observed, ours,
                next_at)
            SELECT 'default', 'user-' || n, CASE WHEN n <= 600 THEN 'busy' ELSE 'idle' END, 'ps-1', 'arn',
                'present', true, $1::timestamptz - interval '1 hour' + n * interval '1 second'
            FROM generate_series(1, 601) n RETURNING id, user_id, account_id, next_at
        )
        INSERT INTO claim (id, assignment_id, instance, ticket_id, target_id, revision, subject_id, user_id,
            account_id, set_id, set_digest, content_hash, session_duration, starts_at, ends_at, state,
            received_at, ended_at)
        SELECT 'claim-' || id, id, 'default', 'ticket', 'target', 1, 'subject', user_id, account_id, 'ps-1',
            'd', 'h', interval '1 hour', next_at - interval '1 hour', next_at, 'revoking', next_at, next_at
        FROM made
        """,
        lab.now,
    )
    async with lab.context.pool.acquire() as conn:
        due = await schedule.due_assignments(conn, now=lab.now)
    assert "idle" in {one.account_id for one in due}


async def test_grant_for_which_aws_was_read_ahead_keeps_its_place_in_line(lab: Lab) -> None:
    engine = lab.current.engine
    engine.slots.for_grants = 1
    lab.aws.fault(operation=CREATE, kind="never_finishes", user="ann", times=1)
    await lab.approve(lab.ticket("ann", seconds=600))
    await lab.run(1)
    await lab.approve(lab.ticket("bob", account="orders-dev", seconds=600))
    since, lists = (await lab.row("bob", "orders-dev"))["next_at"], lab.calls(LIST)
    lab.clock.advance(2 * S)
    await lab.current.lease.renew()
    engine._in_steps = False
    await engine._round()
    await engine._settled()
    assert lab.calls(LIST) == lists + 1, "it was read"
    assert (await lab.row("bob", "orders-dev"))["next_at"] == since


# ends and chores


async def test_end_does_not_wait_for_a_late_revoke_whose_assignment_is_locked(lab: Lab) -> None:
    ticket = await lab.approve(lab.ticket("ann", seconds=30))
    await lab.run_until(access.AccessGranted)
    lab.aws.fault(operation=DELETE, kind="error", code="ConflictException", user="ann")
    await lab.run(40)
    await lab.approve(lab.ticket("bob", account="orders-dev", seconds=200))
    await lab.run(160)
    await lab.context.pool.execute("UPDATE claim SET overdue_at = NULL WHERE ticket_id = $1", ticket.id)
    lab.clock.advance(50 * S)
    expiry = Expiry(lab.context, objectives=Objectives())
    async with lab.context.pool.acquire() as conn, conn.transaction():
        await conn.execute("SELECT FROM assignment WHERE user_id = $1 FOR UPDATE", lab.user("ann"))
        running = asyncio.ensure_future(expiry.run())

        async def bobs_is_over() -> bool:
            state = await conn.fetchval("SELECT state FROM claim WHERE user_id = $1", lab.user("bob"))
            return bool(state == "revoking")

        try:
            await until(bobs_is_over, 5, what="the end of bob's window")
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


# whose turn it is


def due(
    number: int, *, account: str = "", revoke: bool = False, look: bool = False, late_s: float = 0
) -> Due:
    observed = {
        (True, False): Observed.PRESENT,
        (True, True): Observed.DELETED,
        (False, True): Observed.CREATED,
    }
    return Due(
        number,
        account or f"account-{number}",
        "ps-1",
        observed.get((revoke, look), Observed.UNKNOWN),
        NOW - timedelta(seconds=late_s),
        wanted=not revoke,
        revoking=revoke,
    )


def ids(found: list[Due]) -> list[int]:
    return [one.id for one in found]


def test_ends_go_first_then_who_has_waited_longest_then_looks() -> None:
    turns = Turns(Slots(10, 7))
    wanted = [
        due(1),
        due(2, late_s=5),
        due(3, revoke=True),
        due(4, look=True, late_s=9),
        due(5, revoke=True, late_s=1),
    ]
    assert ids(turns.in_order(wanted, NOW)) == [5, 3, 2, 1, 4]


def test_next_on_the_account_that_was_just_worked_on_goes_before_what_has_not_waited_much_longer() -> None:
    turns = Turns(Slots(10, 7))
    turns.began(due(1, account="warm"), NOW)
    kept = KEPT_FOR.total_seconds()
    wanted = [due(2, late_s=kept - 1), due(3, account="warm"), due(4, late_s=kept + 1)]
    assert ids(turns.in_order(wanted, NOW)) == [4, 3, 2]


def test_account_with_more_than_its_share_goes_first_since_it_takes_one_at_a_time() -> None:
    """Ten slots and 20 ends: three on one account take as long as all others together."""
    turns = Turns(Slots(10, 7))
    spread = [due(number, revoke=True) for number in range(17)]
    crowded = [due(number, account="crowded", revoke=True) for number in range(20, 23)]
    turns.began(due(0, revoke=True), NOW)
    assert ids(turns.in_order([*spread, *crowded], NOW))[:4] == [20, 21, 22, 0]
    assert ids(turns.in_order([*spread, *crowded[:1]], NOW))[:2] == [0, 1], "one is nobody's share too many"


def test_crowded_account_keeps_nobody_waiting_who_has_waited_much_longer() -> None:
    turns = Turns(Slots(10, 7))
    kept = KEPT_FOR.total_seconds()
    spread = [due(number, revoke=True) for number in range(15)]
    late = [due(15, revoke=True, late_s=2 * kept - 1), due(16, revoke=True, late_s=2 * kept + 1)]
    crowded = [due(number, account="crowded", revoke=True) for number in range(20, 23)]
    assert ids(turns.in_order([*spread, *late, *crowded], NOW))[:5] == [16, 20, 21, 22, 15]


def test_creations_are_crowded_by_the_slots_that_they_may_have() -> None:
    turns = Turns(Slots(10, 7))
    spread = [due(number) for number in range(12)]
    crowded = [due(number, account="crowded") for number in (20, 21)]
    assert ids(turns.in_order([*spread, *crowded], NOW))[:2] == [20, 21], "2 x 7 are all 14"
    assert ids(turns.in_order([*spread, due(12), *crowded], NOW))[0] == 0, "2 x 7 are not 15"


def test_creation_that_has_waited_long_gets_one_slot_though_ends_wait() -> None:
    slots = Slots(10, 7)
    turns = Turns(slots)
    wanted = [*(due(number, revoke=True) for number in range(20)), due(20), due(21)]
    assert ids(turns.in_order(wanted, NOW))[-2:] == [20, 21]
    later = NOW + FAIR_AFTER
    assert turns.in_order(wanted, later - S)[0].id == 0
    first, *others = turns.in_order(wanted, later)
    assert first.id == 20
    assert slots.reserve(20, turns.slot_for(first, "create", later))
    assert [slots.reserve(one.id, turns.slot_for(one, "delete", later)) for one in others[:10]] == [
        *[True] * 9, False,
    ]  # fmt: skip
    assert turns.in_order(wanted[:-2] + wanted[-1:], later)[0].id == 0, "only one at a time"


def test_creation_on_a_busy_account_takes_no_share_from_others() -> None:
    slots = Slots(10, 7)
    turns = Turns(slots)
    assert slots.reserve(9, Slot("busy", "ps-1", "delete", since=NOW))
    assert slots.take(9, now=NOW)
    wanted = [due(1, revoke=True), due(2, account="busy", late_s=60), due(3)]
    turns.in_order(wanted, NOW)
    assert ids(turns.in_order(wanted, NOW + FAIR_AFTER))[0] == 3


@pytest.mark.parametrize("revoke", [False, True])
def test_look_waits_for_an_operation_on_its_account_and_set_and_not_for_long(*, revoke: bool) -> None:
    slots = Slots(10, 7)
    turns = Turns(slots)
    one = due(1, account="a", revoke=revoke, look=True)
    assert not turns.waits_for_company(one, NOW)
    assert slots.reserve(2, Slot("a", "ps-1", "create", since=NOW))
    assert turns.waits_for_company(one, NOW)
    assert not turns.waits_for_company(one, NOW + GATHERED_FOR)
    assert not turns.waits_for_company(due(3, account="a"), NOW), "only looks do"
    assert not turns.waits_for_company(due(4, account="b", look=True), NOW)


def test_looks_that_waited_for_company_go_together_when_the_first_has_waited_enough() -> None:
    slots = Slots(10, 7)
    turns = Turns(slots)
    assert slots.reserve(9, Slot("a", "ps-1", "create", since=NOW))
    late = GATHERED_FOR.total_seconds()
    both = [due(1, account="a", look=True, late_s=late), due(2, account="a", look=True)]
    turns.in_order(both, NOW)
    assert [turns.waits_for_company(one, NOW) for one in both] == [False, False]


def test_nothing_is_looked_at_ahead_of_those_on_accounts_that_are_just_worked_on() -> None:
    turns = Turns(Slots(10, 7))
    warm = [due(number, account="warm") for number in range(1, LOOKED_AHEAD + 1)]
    turns.began(due(0, account="warm"), NOW)
    wanted = turns.in_order([due(9), *warm], NOW)
    assert not any(turns.may_look_ahead(one, NOW) for one in wanted)
    wanted = turns.in_order([due(9), *warm[1:]], NOW)
    assert [one.id for one in wanted if turns.may_look_ahead(one, NOW)] == [9]


def test_round_that_gives_slots_away_looks_at_nothing_ahead() -> None:
    turns = Turns(Slots(10, 7))
    first, second = turns.in_order([due(1), due(2)], NOW)
    turns.began(first, NOW)
    assert not turns.may_look_ahead(second, NOW)
    turns.in_order([second], NOW)
    assert turns.may_look_ahead(second, NOW)


def test_looks_ahead_are_few_and_once_for_each() -> None:
    turns = Turns(Slots(10, 7))
    wanted = [due(number) for number in range(LOOKED_AHEAD + 2)]
    turns.in_order(wanted, NOW)
    assert [turns.may_look_ahead(one, NOW) for one in wanted] == [*[True] * LOOKED_AHEAD, False, False]
    assert not turns.may_look_ahead(wanted[0], NOW)
    turns.in_order(wanted, NOW)
    assert not any(turns.may_look_ahead(one, NOW) for one in wanted), "these are still the next few"
    turns.in_order(wanted, NOW + KEPT_FOR)
    assert turns.may_look_ahead(wanted[0], NOW + KEPT_FOR), "what was read is too old by now"

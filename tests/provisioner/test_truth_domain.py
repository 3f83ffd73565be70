"""The rules of docs/assignment-rules.md as decisions: what is believed, and what the row then says."""

from dataclasses import replace
from datetime import timedelta

import pytest

from services.provisioner.domain import call_outcomes
from services.provisioner.domain.assignments import Assignment, CallKind, Observed, Op
from services.provisioner.domain.claims import ClaimState
from services.provisioner.domain.decisions import likely_call
from tests.support.harness import NOW
from tests.support.provisioner_domain import TIMING, Decided, S, claim, decided, row

GRANTING, ENDING = claim(ClaimState.GRANTING), claim(ClaimState.REVOKING)
LONGEST = TIMING.operation_longest
CALLED = NOW - 10 * S


def operating(kind: str, **changes: object) -> Assignment:
    op = Op(kind, CALLED)  # type: ignore[arg-type]
    return replace(row(op=op), **changes)  # type: ignore[arg-type]


def refused(before: Assignment, code: str) -> Assignment:
    return call_outcomes.refused(before, code, "text", now=NOW, jitter=0, timing=TIMING)


LOST = call_outcomes.forgotten(operating("create"), NOW, TIMING)


# whose operation


def test_about_to_be_asked_is_not_yet_ours() -> None:
    assert not decided(row(), GRANTING, found=False).row.ours


@pytest.mark.parametrize(
    "after",
    [
        call_outcomes.accepted(operating("create"), "request", NOW, TIMING),
        call_outcomes.lost(operating("create"), "cut off", NOW, TIMING),
        LOST,
    ],
    ids=["accepted", "lost", "forgotten"],
)
def test_what_aws_took_or_may_have_is_ours(after: Assignment) -> None:
    assert after.ours


@pytest.mark.parametrize("ours", [True, False])
@pytest.mark.parametrize("code", ["denied", "quota", "invalid", "conflict", "throttled", "not_found"])
def test_a_refusal_changes_nothing_about_whose_it_is(code: str, ours: bool) -> None:
    before = operating("create", ours=ours)
    assert refused(before, code).ours is ours
    assert call_outcomes.not_sent(before, NOW).ours is ours


@pytest.mark.parametrize(("minutes", "ours"), [(14.9, True), (15, False), (60, False)])
def test_ours_ends_with_the_last_look_after_a_closing(minutes: float, ours: bool) -> None:
    closed = NOW - timedelta(minutes=minutes)
    before = row(
        ours=True, observed=Observed.ABSENT, absent_seen=9, absent_first=closed - 30 * S, closed_at=closed
    )
    assert decided(before, found=False).row.ours is ours


def test_what_is_found_at_the_last_look_is_still_ours() -> None:
    """Nobody has looked since: it may be what a late call made."""
    before = row(ours=True, observed=Observed.ABSENT, closed_at=NOW - timedelta(hours=3))
    assert decided(before, found=True).send == "delete"


# ours, and perhaps running


@pytest.mark.parametrize(("after", "over"), [(4.9, False), (5, True), (-1, True)])
def test_what_nobody_knows_of_is_forgotten_after_a_few_seconds(after: float, over: bool) -> None:
    """Also where the clock was set back meanwhile."""
    before = row(op=Op("create", NOW))
    known = call_outcomes.forgotten(before, NOW + after * S, TIMING)
    assert (known.op is None) is over
    assert over or known == before


def test_a_forgotten_creation_may_come_true_for_the_longest_operation_from_its_call() -> None:
    assert LOST.creating_until == CALLED + LONGEST
    assert LOST.may_come_true(CALLED + LONGEST - S)
    assert not LOST.may_come_true(CALLED + LONGEST)
    assert LOST.observed is Observed.DOUBTFUL


def at(moment: timedelta, before: Assignment, *, found: bool, may_send: bool = True) -> Decided:
    return decided(before, ENDING, found=found, may_send=may_send, at=moment)


@pytest.mark.parametrize("observed", [Observed.ABSENT, Observed.DELETED, Observed.UNKNOWN, Observed.PRESENT])
def test_absence_proves_nothing_while_a_creation_may_come_true(observed: Observed) -> None:
    settled = replace(LOST, observed=observed, absent_seen=9, absent_first=NOW - 99 * S)
    before = at(0 * S, settled, found=False)
    assert (before.send, before.names) == ("delete", [])
    without = at(0 * S, settled, found=False, may_send=False).row
    assert likely_call(wanted=False, observed=without.observed) == "delete", "it would never get a slot"
    assert at(LONGEST, settled, found=False).names == ["revoked"]


def test_there_is_none_as_the_answer_to_a_deletion_ends_no_wait() -> None:
    deleting = replace(LOST, op=Op("delete", NOW))
    after = refused(deleting, "not_found")
    assert (after.observed, after.creating_until) == (Observed.DOUBTFUL, LOST.creating_until)
    assert after.next_at == NOW + TIMING.back_off(1, 0)
    late = call_outcomes.refused(deleting, "not_found", "no", now=CALLED + LONGEST, jitter=0, timing=TIMING)
    assert late.observed is Observed.DELETED


@pytest.mark.parametrize(("kind", "observed"), [("create", Observed.CREATED), ("delete", Observed.DELETED)])
def test_a_later_operation_that_aws_carried_out_ends_the_wait(kind: CallKind, observed: Observed) -> None:
    after = call_outcomes.succeeded(replace(LOST, op=Op(kind, NOW)), NOW)
    assert (after.observed, after.creating_until) == (observed, None)


@pytest.mark.parametrize("outcome", ["failed", "forgotten", "refused"])
def test_a_deletion_that_came_to_nothing_leaves_the_doubt(outcome: str) -> None:
    deleting = at(0 * S, replace(LOST, next_at=NOW), found=False).row
    assert deleting.op == Op("delete", NOW)
    later = NOW + 10 * S
    after = {
        "failed": call_outcomes.failed(deleting, "internal", now=later, jitter=0, timing=TIMING),
        "forgotten": call_outcomes.forgotten(deleting, later, TIMING),
        "refused": call_outcomes.refused(deleting, "conflict", "", now=later, jitter=0, timing=TIMING),
    }[outcome]
    assert (after.op, after.observed) == (None, Observed.DOUBTFUL)
    assert at(10 * S, after, found=False).send == "delete"


def test_a_creation_that_is_not_listed_stays_to_be_deleted_when_its_deletion_is_refused() -> None:
    created = row(ours=True, observed=Observed.CREATED, settled_at=NOW)
    after = refused(at(0 * S, created, found=False).row, "conflict")
    assert after.observed is Observed.CREATED
    assert at(30 * S, after, found=False).send == "delete"


def test_a_forgotten_deletion_is_feared_for_the_longest_operation() -> None:
    after = call_outcomes.forgotten(operating("delete", ours=True), NOW, TIMING)
    holding = replace(GRANTING, ends_at=NOW + timedelta(hours=1))
    for moment, send in (
        (LONGEST - 11 * S, "create"),
        (LONGEST + 19 * S, "create"),
        (LONGEST + 21 * S, None),
    ):
        seen = replace(after, observed=Observed.ABSENT)
        assert decided(seen, holding, found=True, at=moment).send == send
    created = call_outcomes.succeeded(replace(after, op=Op("create", NOW)), NOW)
    assert decided(created, holding, found=True, at=S).names == ["granted"]


# what keeps access alive


@pytest.mark.parametrize("observed", [Observed.ABSENT, Observed.CREATED, Observed.DOUBTFUL])
def test_a_claim_that_is_being_granted_keeps_nothing_before_it_is_seen(observed: Observed) -> None:
    before = row(ours=True, observed=observed, settled_at=NOW)
    other = replace(GRANTING, id="grant-2")
    decision = decided(before, ENDING, other, found=observed is Observed.DOUBTFUL)
    assert "released" not in decision.names


def test_a_claim_that_is_granted_in_the_same_step_keeps_it() -> None:
    before = row(ours=True, observed=Observed.CREATED, settled_at=NOW)
    assert decided(before, ENDING, replace(GRANTING, id="grant-2"), found=True).names == [
        "granted",
        "released",
    ]


def test_nothing_is_released_without_a_reading() -> None:
    over = claim(ends_at=NOW)
    decision = decided(row(ours=True, observed=Observed.PRESENT), over, claim(id="grant-2"), found=None)
    assert (decision.names, decision.row.next_at) == (["revoke_due"], NOW)


def test_what_was_not_ours_and_has_gone_keeps_nothing() -> None:
    before = row(pre_existing=True, observed=Observed.PRESENT)
    assert decided(before, ENDING, found=False).names == ["revoked"]


# loud until it is over


def test_reappeared_stands_until_it_is_gone() -> None:
    closed = row(ours=True, observed=Observed.ABSENT, closed_at=NOW - 60 * S)
    first = decided(closed, found=True)
    assert [(alert.key, alert.once) for alert in first.alerts] == [("reappeared/1", True)]
    again = decided(refused(first.row, "denied"), found=True)
    assert [(alert.key, alert.once) for alert in again.alerts] == [("reappeared/1/still", False)]
    gone = call_outcomes.succeeded(again.row, NOW)
    gone = replace(gone, absent_seen=5, absent_first=NOW - 60 * S)
    settled = decided(gone, found=False)
    assert (settled.alerts, settled.row.reappeared) == ((), False)


def test_an_end_that_was_never_closed_is_no_reappearance() -> None:
    decision = decided(row(ours=True, observed=Observed.PRESENT), ENDING, found=True)
    assert (decision.alerts, decision.row.reappeared) == ((), False)


def test_a_success_that_is_not_listed_in_time_is_an_attempt() -> None:
    created = row(ours=True, desired="present", observed=Observed.CREATED, settled_at=NOW - 30 * S)
    decision = decided(created, GRANTING, found=False)
    assert (decision.send, decision.row.attempt) == ("create", 1)
    tired = replace(created, attempt=4)
    assert {after.code for after, _ in decided(tired, GRANTING, found=False).moved} == {"aws_not_visible"}


def test_what_is_put_off_is_put_off_for_longer_each_time_until_aws_takes_it() -> None:
    before, pauses = operating("create"), []
    for _ in range(5):
        after = refused(before, "conflict")
        assert after.next_at is not None
        pauses.append((after.next_at - NOW) / S)
        before = replace(after, op=before.op)
    assert pauses == [2, 4, 8, 16, 20]
    assert before.attempt == 0
    assert call_outcomes.accepted(before, "request", NOW, TIMING).put_off == 0


# clocks


def test_moments_that_lie_ahead_of_a_clock_that_was_set_back_count_as_now() -> None:
    ahead = NOW + timedelta(hours=1)
    before = row(
        ours=True,
        observed=Observed.DELETED,
        settled_at=ahead,
        absent_first=ahead,
        closed_at=ahead,
        deletion_ended=ahead,
        creating_until=ahead,
    )
    after = before.not_ahead_of(NOW, TIMING)
    assert (after.settled_at, after.absent_first, after.closed_at) == (NOW, NOW, NOW)
    assert (after.deletion_ended, after.creating_until) == (NOW + LONGEST, NOW + LONGEST)
    assert row().not_ahead_of(NOW, TIMING) == row()


def test_a_clock_that_was_set_back_does_not_lengthen_the_settling() -> None:
    before = row(ours=True, observed=Observed.DELETED, absent_seen=2, absent_first=NOW + timedelta(hours=1))
    first = decided(before, ENDING, found=False)
    assert first.row.absent_first == NOW
    assert decided(first.row, ENDING, found=False, at=TIMING.settle_time).names == ["revoked"]

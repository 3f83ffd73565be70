"""Rules of the domain that only a mutant found untested (bench/mutations/): each test kills at least one."""

from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from services.provisioner.domain import call_outcomes, extensions
from services.provisioner.domain import lifecycle as life
from services.provisioner.domain.assignments import Assignment, Observed, Op, end_claims, move
from services.provisioner.domain.claims import NOT_OURS, TRANSITIONS, Claim, ClaimExtension, ClaimState
from services.provisioner.domain.judging import judge
from services.provisioner.domain.rechecks import Witness, content_of
from services.provisioner.domain.remaining import remaining
from services.provisioner.domain.sentences import sentence_of
from shared.contracts.access import EndCause
from shared.contracts.event import Revisions
from tests.support.harness import NOW
from tests.support.provisioner_domain import ORIGIN, TIMING, S, claim, decided, extension, row

CREATING = row(op=Op("create", NOW), desired="present")
DELETING = row(op=Op("delete", NOW), request_id="creation")


@pytest.mark.parametrize("closed", [ClaimState.REVOKED, ClaimState.RELEASED])
def test_only_what_is_being_revoked_is_closed(closed: ClaimState) -> None:
    assert [before for before, following in TRANSITIONS.items() if closed in following] == [
        ClaimState.REVOKING
    ]


def test_a_closed_state_is_left_by_no_way() -> None:
    over = (ClaimState.REVOKED, ClaimState.RELEASED, ClaimState.FAILED)
    assert [TRANSITIONS[state] for state in over] == [set(), set(), set()]


def test_end_of_what_was_asked_for_forgets_attempts_and_the_first_absence() -> None:
    before = row(claim(), absent_seen=3, absent_first=NOW, closed_at=NOW, attempt=4, next_at=None)
    after = end_claims(before, before.claims, ORIGIN, cause=EndCause.TERMINATED).state
    assert (after.attempt, after.absent_first, after.closed_at) == (0, None, None)


def test_revoke_that_is_late_is_called_so_once() -> None:
    late = life.mark_overdue(claim(ClaimState.REVOKING), ORIGIN, last_error="").state
    again = life.mark_overdue(late, replace(ORIGIN, at=NOW + S), last_error="")
    assert (again.state, again.events) == (late, ())


@pytest.mark.parametrize(
    ("code", "alarms"),
    [
        ("no_claim", True),
        ("no_witness", True),
        ("witness_mismatch", True),
        ("witness_invalid", True),
        ("too_late", False),
        ("stopped", False),
    ],
)
def test_extension_alarms_where_nobody_approved_it_and_not_where_it_came_too_late(
    code: str, alarms: bool
) -> None:
    before = claim(extensions=(extension(),))
    change = life.fail_extension(before, extension(), ORIGIN, code=code, detail="why")
    assert [alert.key for alert in move(row(before), [change]).alerts] == [f"{code}/extension-1"] * alarms


def test_votes_that_cannot_be_judged_yet_are_still_to_be_judged_before_the_grant() -> None:
    asked = claim(ClaimState.WAITING)
    agreed = replace(asked, content_hash=content_of(asked, [(asked.id, asked.user_id)]))
    word = Witness(agreed.content_hash, (), None, Revisions(), NOW)
    [judged] = judge(row(agreed), [agreed], word, None, origin=ORIGIN).state.claims
    assert (judged.state, judged.approval_holds) == (ClaimState.SCHEDULED, False)


def test_next_change_is_also_the_end_of_what_is_being_granted() -> None:
    assert row(claim(ClaimState.GRANTING)).next_change(NOW) == NOW + 60 * S


def test_next_change_leaves_out_what_waits_for_something_else_than_time() -> None:
    waiting = claim(ClaimState.SCHEDULED)
    later = claim(id="grant-2", ends_at=NOW + 90 * S)
    assert row(waiting, later).next_change(NOW, without={waiting.id}) == NOW + 90 * S


def test_start_that_came_after_its_window_is_no_start() -> None:
    assert row(claim(ClaimState.SCHEDULED, ends_at=NOW)).starting(NOW) == ()


@pytest.mark.parametrize(("at", "inside"), [(-60.1, False), (-60, True), (59.9, True), (60, False)])
def test_window_is_open_from_its_start_to_before_its_end(at: float, inside: bool) -> None:
    assert claim().in_window(NOW + at * S) is inside


def test_assignment_with_an_operation_in_flight_is_not_due() -> None:
    assert row().is_due(NOW)
    assert not CREATING.is_due(NOW)


def test_extended_claim_is_asked_for_from_its_first_start_with_who_asked_as_a_party() -> None:
    before = claim(parties=("user-ann",), approval_holds=True)
    after = before.extended_by(extension())
    assert after.duration_asked == extension().ends_at - before.starts_at
    assert after.parties == ("user-ann", "user-bob")
    assert not after.approval_holds


def test_accepted_call_is_asked_after_by_its_id() -> None:
    created = call_outcomes.accepted(CREATING, "r", NOW, TIMING)
    assert (created.op, created.request_id) == (Op("create", NOW, "r"), "r")
    deleted = call_outcomes.accepted(DELETING, "r", NOW, TIMING)
    assert (deleted.op, deleted.request_id, deleted.deletion_id) == (Op("delete", NOW, "r"), None, "r")


def test_creation_that_was_not_sent_is_over_and_looked_at() -> None:
    after = call_outcomes.not_sent(replace(CREATING, next_at=None), NOW)
    assert (after.op, after.next_at) == (None, NOW)


def refused(before: Assignment, code: str) -> Assignment:
    return call_outcomes.refused(before, code, "text", now=NOW, jitter=0, timing=TIMING)


def test_refused_creation_leaves_half_made_access_in_doubt() -> None:
    assert refused(replace(CREATING, observed=Observed.DOUBTFUL), "transient").observed is Observed.DOUBTFUL
    assert refused(replace(CREATING, observed=Observed.UNKNOWN), "transient").observed is Observed.ABSENT


def test_refused_creation_that_may_still_work_uses_up_one_attempt() -> None:
    assert refused(CREATING, "transient").attempt == 1


def test_creation_that_succeeded_ends_the_doubt_of_an_earlier_deletion() -> None:
    after = call_outcomes.succeeded(replace(CREATING, deletion_ended=NOW - S), NOW)
    assert after.deletion_ended is None
    assert call_outcomes.succeeded(DELETING, NOW).deletion_ended == NOW


def test_aws_that_cannot_be_read_is_read_again_after_a_pause() -> None:
    after = call_outcomes.unreadable(row(), "down", now=NOW, jitter=0, timing=TIMING)
    assert after.next_at == NOW + TIMING.back_off(2, 0)


def test_looks_from_first_to_last_take_the_settle_time() -> None:
    assert TIMING.between_checks * (TIMING.settle_checks - 1) == TIMING.settle_time
    assert replace(TIMING, settle_checks=1).between_checks == TIMING.settle_time


@pytest.mark.parametrize("code", ["", "SomethingNewException"])
def test_people_are_told_a_sentence_of_ours_whatever_aws_says(code: str) -> None:
    sentence = sentence_of(code)
    assert " " in sentence
    assert not code or code not in sentence


def test_pause_never_exceeds_its_longest() -> None:
    assert max(TIMING.back_off(attempt, 0) for attempt in range(100)) == timedelta(seconds=20)


# facts and alarms


def test_creation_given_up_alarms_and_says_why() -> None:
    before = row(claim(ClaimState.GRANTING), last_error="denied by IAM")
    step = life.give_up(before.claims[0], ORIGIN, code="aws_denied", detail="no", request_id="r")
    [alert] = move(before, [step]).alerts
    assert alert.key == "grant_failed/grant-1"
    assert "denied by IAM" in alert.detail


def test_credentials_of_a_grant_live_as_long_as_a_session_begun_at_its_end() -> None:
    before = claim(ClaimState.GRANTING)
    after = life.grant(before, ORIGIN, already_held=False, request_id="r").state
    assert after.credentials_until == before.ends_at + before.session_duration


def test_witness_of_something_else_refuses_the_claim() -> None:
    asked = claim(ClaimState.WAITING)
    word = Witness("of something else", (), None, Revisions(), NOW)
    [judged] = judge(row(asked), [asked], word, None, origin=ORIGIN).state.claims
    assert (judged.state, judged.code) == (ClaimState.FAILED, "witness_mismatch")


# extensions


def extension_of(before: Claim, wanted: ClaimExtension, *, overdue: timedelta = -S) -> ClaimExtension:
    """What becomes of it without a witness; `overdue` is what was received so long after now."""
    known: Any = {(wanted.subject_id, wanted.grant_id): SimpleNamespace(witness=None)}
    waiting = extensions.Waiting(ORIGIN, known, NOW + overdue)
    change = extensions.judge(row(replace(before, extensions=(wanted,))), waiting)
    return change.state.claims[0].extensions[0]


def test_extension_waits_for_its_witness_until_it_is_overdue() -> None:
    assert extension_of(claim(), extension()).waits
    assert extension_of(claim(), extension(), overdue=0 * S).code == "no_witness"


@pytest.mark.parametrize(
    ("before", "wanted", "code"),
    [
        (claim(ends_at=NOW), extension(), "too_late"),
        (claim(ends_at=NOW + 120 * S), extension(), "not_longer"),
        (claim(revision=2), extension(), "revision_mismatch"),
        (claim(), extension(revision=2), "revision_mismatch"),
        (claim(ClaimState.REVOKING), extension(), "stopped"),
    ],
)
def test_extension_that_nothing_can_mend_fails_at_once(
    before: Claim, wanted: ClaimExtension, code: str
) -> None:
    assert extension_of(before, wanted).code == code


@pytest.mark.parametrize(
    ("state", "holds", "why"),
    [
        (ClaimState.SCHEDULED, False, "still to be judged"),
        (ClaimState.SCHEDULED, True, None),
        (ClaimState.ACTIVE, False, None),
    ],
)
def test_extension_waits_for_the_approval_of_what_it_extends(
    state: ClaimState, holds: bool, why: str | None
) -> None:
    known: Any = {("extension-1", "grant-1"): SimpleNamespace(witness="there", instance="another")}
    before = claim(state, approval_holds=holds, extensions=(extension(),))
    [after] = extensions.judge(row(before), extensions.Waiting(ORIGIN, known, NOW - S)).state.claims
    # What gets as far as the re-check is refused there: it is another instance's.
    assert after.extensions[0].code == (None if why else "instance_unknown")


# what an operator is told


def test_remaining_is_what_others_hold_and_what_waits_for_its_revoke() -> None:
    ended, other = claim(ClaimState.REVOKING), claim(id="grant-2")
    assert remaining(row(claim()), ["grant-1"]) is None, "what was to end does not keep itself"
    kept = remaining(row(ended, other), ["grant-1"])
    assert kept is not None
    assert (kept.why, kept.kept_by, kept.grants) == ("kept", ("grant-2",), ("grant-1",))
    alone = remaining(row(ended), ["grant-1"])
    assert alone is not None
    assert (alone.why, alone.kept_by) == ("being_revoked", ())


def test_remaining_says_that_what_was_there_before_is_not_ours() -> None:
    kept = remaining(row(claim(ClaimState.REVOKING), pre_existing=True), ["grant-1"])
    assert kept is not None
    assert (kept.why, kept.kept_by) == ("kept", (NOT_OURS,))


# decisions

GRANTING = claim(ClaimState.GRANTING)
ENDING = claim(ClaimState.REVOKING)


def test_deletion_without_a_slot_keeps_its_place_in_line() -> None:
    waiting = row(observed=Observed.CREATED, next_at=NOW - S)
    decision = decided(waiting, ENDING, found=False, may_send=False)
    assert (decision.send, decision.row.next_at) == (None, NOW - S)


def test_attempts_to_make_it_do_not_lengthen_the_pauses_of_taking_it_away() -> None:
    tired = row(observed=Observed.CREATED, desired="present", attempt=4)
    assert decided(tired, ENDING, found=False, may_send=False).row.attempt == 0


def test_creation_carries_no_id_of_what_was_made_or_taken_away_before() -> None:
    decision = decided(row(request_id="old", deletion_id="old"), GRANTING, found=False)
    assert decision.send == "create"
    assert (decision.row.request_id, decision.row.deletion_id) == (None, None)


def test_creation_after_one_that_failed_leaves_what_is_listed_in_doubt() -> None:
    decision = decided(row(observed=Observed.DOUBTFUL), GRANTING, found=False)
    assert (decision.send, decision.row.observed) == ("create", Observed.DOUBTFUL)


@pytest.mark.parametrize(
    ("observed", "ended", "send"),
    [
        (Observed.DELETED, -300, "create"),
        (Observed.UNKNOWN, -29.9, "create"),
        (Observed.UNKNOWN, -30, None),
        (Observed.CREATED, -1, None),
    ],
)
def test_what_is_listed_right_after_a_deletion_is_made_again(
    observed: Observed, ended: float, send: str | None
) -> None:
    before = row(observed=observed, deletion_ended=NOW + ended * S, settled_at=NOW)
    decision = decided(before, GRANTING, found=True)
    assert decision.send == send
    assert decision.names == ([] if send else ["granted"])

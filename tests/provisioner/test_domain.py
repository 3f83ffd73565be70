"""Every transition of a claim, every decision about an assignment, every refusal of the re-check."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from services.provisioner.domain import claims as life
from services.provisioner.domain import operations
from services.provisioner.domain.assignments import (
    Assignment,
    Decision,
    Limits,
    Observed,
    Op,
    claim_ended,
    decide,
    likely_call,
    needs_reading,
    next_change,
)
from services.provisioner.domain.claims import OPEN, TRANSITIONS, Claim, ClaimState, Stamp
from services.provisioner.domain.rechecks import (
    Known,
    Live,
    NotYet,
    Passed,
    Refused,
    content_of,
    recheck,
    witness_verdict,
)
from shared.contracts import access
from shared.contracts import documents as doc
from shared.contracts.event import Actor
from shared.foundation.errors import Bug
from shared.policy.row import Answer
from tests.support.harness import NOW

S = timedelta(seconds=1)
LIMITS = Limits()
STAMP = Stamp(NOW, Actor.service("provisioner"))
STATES = list(ClaimState)


def claim(state: ClaimState = ClaimState.ACTIVE, **changes: Any) -> Claim:
    ended = state is ClaimState.REVOKING
    made = Claim(
        id="grant-1", assignment_id=1, instance="default", ticket_id="ticket", target_id="target", revision=1,
        user_id="user-ann", account_id="111111111111", set_id="ps-1", set_digest="digest",
        content_hash="hash", session_duration=timedelta(hours=1), starts_at=NOW - 60 * S,
        ends_at=NOW + 60 * S, state=state, received_at=NOW - 90 * S, version=7,
        ended_at=NOW - S if ended else None, end_cause="terminated" if ended else None,
        granted_at=NOW - 50 * S if ended or state is ClaimState.ACTIVE else None,
    )  # fmt: skip
    return replace(made, **changes)


def row(**changes: Any) -> Assignment:
    made = Assignment(
        id=1, instance="default", user_id="user-ann", account_id="111111111111", set_id="ps-1", set_arn="arn",
        next_at=NOW,
    )  # fmt: skip
    return replace(made, **changes)


def decided(
    before: Assignment, *claims: Claim, found: bool | None, may_send: bool = True, at: timedelta = 0 * S
) -> Decision:
    stamp = replace(STAMP, at=NOW + at)
    return decide(before, claims, found=found, may_send=may_send, stamp=stamp, limits=LIMITS)


def told(decision: Decision) -> list[str]:
    return [fact.TYPE.split(".")[1] for _, facts in decision.said for fact in facts]


# a claim's life


@pytest.mark.parametrize("state", STATES)
def test_schedule_from_waiting_only(state: ClaimState) -> None:
    if state is ClaimState.WAITING:
        after, [fact] = life.schedule(claim(state), STAMP, approval_holds=True)
        assert (after.state, after.version, fact.version) == (ClaimState.SCHEDULED, 8, 8)
    else:
        with pytest.raises(Bug, match="this is a bug"):
            life.schedule(claim(state), STAMP, approval_holds=True)


@pytest.mark.parametrize("state", STATES)
def test_begin_from_scheduled_only(state: ClaimState) -> None:
    if state is ClaimState.SCHEDULED:
        assert life.begin(claim(state), STAMP)[0].state is ClaimState.GRANTING
    else:
        with pytest.raises(Bug):
            life.begin(claim(state), STAMP)


@pytest.mark.parametrize("state", STATES)
def test_grant_from_granting_only(state: ClaimState) -> None:
    if state is ClaimState.GRANTING:
        after, _ = life.grant(claim(state), STAMP, already_held=False, request_id="r")
        assert (after.state, after.granted_at, after.request_id) == (ClaimState.ACTIVE, NOW, "r")
    else:
        with pytest.raises(Bug):
            life.grant(claim(state), STAMP, already_held=False, request_id="r")


@pytest.mark.parametrize("state", STATES)
def test_refuse_only_what_was_never_asked_for(state: ClaimState) -> None:
    if state in {ClaimState.WAITING, ClaimState.SCHEDULED}:
        after, [fact] = life.refuse(claim(state), STAMP, code="set_changed", detail="why")
        assert (after.state, after.code) == (ClaimState.FAILED, "set_changed")
        assert isinstance(fact, access.AccessFailed)
    else:
        with pytest.raises(Bug):
            life.refuse(claim(state), STAMP, code="set_changed", detail="why")


@pytest.mark.parametrize("state", STATES)
def test_end_of_every_state(state: ClaimState) -> None:
    after, facts = life.end(claim(state), STAMP, cause="terminated", why="stop")
    names = [fact.TYPE.split(".")[1] for fact in facts]
    if state not in OPEN:
        assert (after, names) == (claim(state), [])
    elif state in life.ASKED:
        assert (after.state, names) == (ClaimState.REVOKING, ["revoke_due"])
    else:
        assert (after.state, after.code, names) == (
            ClaimState.FAILED, "terminated", ["revoke_due", "failed"],
        )  # fmt: skip
        assert [fact.version for fact in facts] == [8, 9]


def test_end_by_time_counts_from_the_end_of_the_window() -> None:
    late = claim(ends_at=NOW - 5 * S)
    after, [fact] = life.end(late, STAMP, cause="expired", why="over")
    assert after.ended_at == NOW - 5 * S
    assert isinstance(fact, access.AccessRevokeDue)
    assert fact.late_by == 5 * S


def test_nothing_leaves_a_closed_state() -> None:
    closed = {ClaimState.REVOKED, ClaimState.RELEASED, ClaimState.FAILED}
    assert {state for state, ways in TRANSITIONS.items() if not ways} == closed
    assert set(TRANSITIONS) == set(ClaimState)


def test_close_absent_counts_lateness_to_the_first_reading_without_it() -> None:
    ending = claim(ClaimState.REVOKING, ended_at=NOW - 30 * S)
    after, [fact] = life.close_absent(ending, STAMP, absent_first=NOW - 20 * S, request_id="r")
    assert isinstance(fact, access.AccessRevoked)
    assert fact.late_by == 10 * S
    assert after.credentials_until == NOW - 20 * S + timedelta(hours=1)


@pytest.mark.parametrize(
    ("at", "state", "holds"),
    [
        (-61, ClaimState.ACTIVE, False),
        (-60, ClaimState.ACTIVE, True),
        (59.9, ClaimState.ACTIVE, True),
        (60, ClaimState.ACTIVE, False),
        (0, ClaimState.GRANTING, True),
        (0, ClaimState.SCHEDULED, False),
        (0, ClaimState.WAITING, False),
        (0, ClaimState.REVOKING, False),
    ],
)
def test_claim_holds_from_start_to_before_its_end_once_it_was_checked(
    at: float, state: ClaimState, holds: bool
) -> None:
    assert claim(state).holds(NOW + at * S) is holds


# granted, or never

CAUSES = [cause for cause in access.EndCause if cause is not access.EndCause.FAILED]
CREATED = row(observed=Observed.CREATED, settled_at=NOW, request_id="creation", ever_operated=True)
STAGES = {
    "before any call": row(),
    "call refused": row(observed=Observed.ABSENT, ever_operated=True),
    "creation in flight, and lost": operations.forgotten(
        row(op=Op("create", NOW), ever_operated=True), STAMP
    ),
    "creation failed": row(observed=Observed.DOUBTFUL, ever_operated=True),
    "created, not yet seen": CREATED,
}


def lived_out(before: Assignment, ending: Claim, *, shown: bool = False) -> tuple[Claim, int]:
    """The claim when it is over, and how many deletions that took; AWS obeys, and shows what is `shown`."""
    deletions = 0
    for at in range(0, 100, 10):
        decision = decided(before, ending, found=shown, at=at * S)
        ending = {claim.id: claim for claim, _ in decision.said}.get(ending.id, ending)
        before = decision.row
        if decision.send == "delete":
            deletions, shown = deletions + 1, False
            before = operations.succeeded(before, replace(STAMP, at=NOW + at * S))
        if ending.state is not ClaimState.REVOKING:
            return ending, deletions
    raise AssertionError("it does not end")


def ended(state: ClaimState, cause: access.EndCause, **changes: Any) -> Claim:
    return life.end(claim(state, **changes), STAMP, cause=cause, why="over")[0]


@pytest.mark.parametrize("cause", CAUSES)
@pytest.mark.parametrize("stage", STAGES)
def test_never_granted_is_failed_whatever_ended_it(stage: str, cause: access.EndCause) -> None:
    over, deletions = lived_out(STAGES[stage], ended(ClaimState.GRANTING, cause))
    assert (over.state, over.code, over.credentials_until) == (ClaimState.FAILED, cause, None)
    assert over.detail == "it ended before AWS was seen to give it"
    assert deletions == (STAGES[stage].observed in {Observed.CREATED, Observed.DOUBTFUL})


@pytest.mark.parametrize("cause", CAUSES)
def test_granted_is_revoked_whatever_ended_it(cause: access.EndCause) -> None:
    granted = ended(ClaimState.ACTIVE, cause, granted_at=NOW - 30 * S)
    over, deletions = lived_out(row(observed=Observed.PRESENT, **OURS), granted, shown=True)
    assert (over.state, over.code, deletions) == (ClaimState.REVOKED, cause, 1)
    assert over.credentials_until is not None


@pytest.mark.parametrize("cause", CAUSES)
def test_never_granted_but_shown_after_its_end_says_so_with_its_credentials(cause: access.EndCause) -> None:
    over, deletions = lived_out(CREATED, ended(ClaimState.GRANTING, cause), shown=True)
    assert (over.state, over.code, deletions) == (ClaimState.FAILED, cause, 1)
    assert (over.seen_at, over.request_id) == (NOW, "creation")
    assert over.credentials_until == NOW + 10 * S + timedelta(hours=1)
    assert "AWS showed it" in over.detail


@pytest.mark.parametrize("cause", CAUSES)
@pytest.mark.parametrize("granted", [True, False])
def test_ended_and_kept_by_another_is_released_only_if_it_was_granted(
    cause: access.EndCause, granted: bool
) -> None:
    ending = ended(ClaimState.GRANTING, cause, granted_at=NOW if granted else None)
    decision = decided(row(observed=Observed.PRESENT, **OURS), ending, claim(id="grant-2"), found=None)
    [(over, [fact])] = decision.said
    assert over.state is (ClaimState.RELEASED if granted else ClaimState.FAILED)
    assert (over.code, over.kept_by) == (cause, ("grant-2",))
    assert isinstance(fact, access.AccessReleased | access.AccessFailed)
    assert fact.kept_by == ("grant-2",)
    assert (fact.credentials_until is not None) is granted


def test_given_up_and_kept_by_another_has_failed_all_the_same() -> None:
    given_up, _ = life.give_up(GRANTING, STAMP, code="aws_denied", detail="no", request_id="r")
    decision = decided(row(observed=Observed.PRESENT, **OURS), given_up, claim(id="grant-2"), found=None)
    [(over, _)] = decision.said
    assert (over.state, over.code, over.detail) == (ClaimState.FAILED, "aws_denied", "no")
    assert over.kept_by == ("grant-2",)


# towards present

GRANTING = claim(ClaimState.GRANTING)
OURS = {"ever_operated": True}


def test_decide_wanted_and_absent_creates_and_writes_ahead_that_it_is_ours() -> None:
    decision = decided(row(), GRANTING, found=False)
    assert decision.send == "create"
    assert decision.row.op == Op("create", NOW)
    assert decision.row.ever_operated
    assert told(decision) == []


def test_decide_wanted_and_absent_without_a_slot_waits_due() -> None:
    decision = decided(row(), GRANTING, found=False, may_send=False)
    assert (decision.send, decision.row.op, decision.row.next_at) == (None, None, NOW)
    assert likely_call(wanted=True, observed=decision.row.observed) == "create"


def test_decide_present_after_our_operation_is_granted() -> None:
    decision = decided(row(observed=Observed.CREATED, request_id="r", **OURS), GRANTING, found=True)
    [(after, [fact])] = decision.said
    assert after.state is ClaimState.ACTIVE
    assert isinstance(fact, access.AccessGranted)
    assert (fact.request_id, fact.already_held) == ("r", False)
    assert decision.row.next_at == GRANTING.ends_at


def test_decide_present_without_any_operation_of_ours_is_already_held() -> None:
    decision = decided(row(), GRANTING, found=True)
    [(_, [fact])] = decision.said
    assert isinstance(fact, access.AccessGranted)
    assert fact.already_held
    assert decision.row.pre_existing


def test_decide_present_after_a_failed_creation_is_no_proof() -> None:
    decision = decided(row(observed=Observed.DOUBTFUL, attempt=1, **OURS), GRANTING, found=True)
    assert (decision.send, told(decision)) == ("create", [])


@pytest.mark.parametrize(("after", "send"), [(29.9, None), (30, "create")])
def test_decide_created_but_not_listed_is_waited_for_and_then_repeated(
    after: float, send: str | None
) -> None:
    created = row(observed=Observed.CREATED, settled_at=NOW, **OURS)
    decision = decided(created, GRANTING, found=False, at=after * S)
    assert decision.send == send


@pytest.mark.parametrize(("attempt", "gives_up"), [(4, False), (5, True)])
def test_decide_gives_up_creating_after_so_many_attempts(attempt: int, gives_up: bool) -> None:
    tired = row(
        observed=Observed.DOUBTFUL, attempt=attempt, last_code="failed", last_error="internal", **OURS
    )
    decision = decided(tired, GRANTING, claim(id="grant-2"), found=False)
    if gives_up:
        assert told(decision) == ["revoke_due", "revoke_due"]
        assert {after.code for after, _ in decision.said} == {"aws_failed"}
        assert decision.send is None
        assert decision.row.next_at == NOW
    else:
        assert decision.send == "create"


def test_decide_takes_over_what_was_not_ours_and_has_gone() -> None:
    decision = decided(row(pre_existing=True, observed=Observed.PRESENT), GRANTING, found=False)
    assert decision.send == "create"
    assert (decision.row.pre_existing, decision.row.ever_operated) == (False, True)


# claims that end while others live


def test_decide_ended_claim_is_released_while_another_holds() -> None:
    other = claim(id="grant-2")
    decision = decided(row(observed=Observed.PRESENT, **OURS), claim(ClaimState.REVOKING), other, found=None)
    [(after, [fact])] = decision.said
    assert (after.state, decision.send) == (ClaimState.RELEASED, None)
    assert isinstance(fact, access.AccessReleased)
    assert fact.kept_by == ("grant-2",)
    assert decision.row.next_at == other.ends_at


@pytest.mark.parametrize(
    "other",
    [
        claim(ClaimState.SCHEDULED, id="grant-2"),
        claim(ClaimState.WAITING, id="grant-2"),
        claim(id="grant-2", starts_at=NOW + 10 * S),
        claim(ClaimState.REVOKING, id="grant-2"),
    ],
    ids=["scheduled", "waiting", "before its start", "ended"],
)
def test_decide_ended_claim_is_not_kept_by_one_that_does_not_hold(other: Claim) -> None:
    decision = decided(row(observed=Observed.PRESENT, **OURS), claim(ClaimState.REVOKING), other, found=True)
    assert decision.send == "delete"
    assert "released" not in told(decision)


def test_decide_ends_claims_whose_window_is_over_although_nobody_has() -> None:
    over = claim(ends_at=NOW)
    decision = decided(row(observed=Observed.PRESENT, **OURS), over, found=True)
    assert told(decision) == ["revoke_due"]
    assert decision.send == "delete"


def test_decide_lapsed_without_a_reading_stays_due() -> None:
    decision = decided(row(observed=Observed.PRESENT, **OURS), claim(ends_at=NOW), found=None)
    assert decision.row.next_at == NOW


# towards absent

ENDING = claim(ClaimState.REVOKING)


def test_decide_unwanted_and_present_deletes() -> None:
    decision = decided(row(observed=Observed.PRESENT, **OURS), ENDING, found=True)
    assert decision.send == "delete"
    assert decision.row.op == Op("delete", NOW)
    assert decision.revoking_since == (NOW - S,)


def test_decide_never_deletes_what_was_never_ours() -> None:
    decision = decided(row(observed=Observed.PRESENT), ENDING, found=True)
    assert (decision.send, told(decision)) == (None, ["released"])
    assert decision.row.next_at is None


@pytest.mark.parametrize("observed", [Observed.CREATED, Observed.DOUBTFUL])
def test_decide_deletes_what_was_created_although_it_is_not_listed(observed: Observed) -> None:
    assert decided(row(observed=observed, **OURS), ENDING, found=False).send == "delete"


@pytest.mark.parametrize(
    ("seen", "since", "closes"),
    [(0, 0, False), (1, 20, False), (2, 19.9, False), (2, 20, True), (9, 5, False), (5, 300, True)],
)
def test_decide_absence_counts_when_seen_often_and_long_enough(seen: int, since: float, closes: bool) -> None:
    first = NOW - since * S if seen else None
    before = row(observed=Observed.DELETED, absent_seen=seen, absent_first=first, **OURS)
    decision = decided(before, ENDING, found=False)
    assert told(decision) == (["revoked"] if closes else [])
    assert decision.row.next_at is not None
    assert (decision.row.closed_at is not None) is closes


def test_decide_presence_in_between_begins_the_settling_anew() -> None:
    before = row(observed=Observed.ABSENT, absent_seen=2, absent_first=NOW - 19 * S, **OURS)
    decision = decided(before, ENDING, found=True)
    assert (decision.row.absent_seen, decision.row.absent_first, decision.send) == (0, None, "delete")


def test_decide_failed_claim_fails_only_when_absence_was_verified() -> None:
    given_up, _ = life.give_up(GRANTING, STAMP, code="aws_denied", detail="no", request_id="r")
    early = decided(row(observed=Observed.ABSENT, **OURS), given_up, found=False)
    assert told(early) == []
    settled = row(observed=Observed.ABSENT, absent_seen=4, absent_first=NOW - 60 * S, **OURS)
    assert told(decided(settled, given_up, found=False)) == ["failed"]


@pytest.mark.parametrize(
    ("minutes", "again"), [(0, 1), (0.9, 1), (1, 3), (5, 7), (7, 15), (14.9, 15), (15, None), (60, None)]
)
def test_decide_closed_is_looked_at_again_at_growing_intervals(minutes: float, again: int | None) -> None:
    closed = NOW - timedelta(minutes=minutes)
    before = row(
        observed=Observed.ABSENT, absent_seen=9, absent_first=closed - 30 * S, closed_at=closed, **OURS
    )
    expected = None if again is None else closed + timedelta(minutes=again)
    assert decided(before, found=False).row.next_at == expected


def test_decide_reappearance_is_deleted_and_told() -> None:
    before = row(observed=Observed.ABSENT, absent_seen=9, absent_first=NOW, closed_at=NOW, **OURS)
    decision = decided(before, found=True)
    assert (decision.reappeared, decision.send) == (True, "delete")


def test_reading_is_spared_where_active_claims_keep_what_they_have() -> None:
    assert not needs_reading(row(**OURS), [claim(), ENDING], NOW)
    assert needs_reading(row(**OURS), [claim(), GRANTING], NOW)
    assert needs_reading(row(**OURS), [ENDING], NOW)
    assert needs_reading(row(**OURS), [], NOW)
    assert not needs_reading(row(), [claim(ClaimState.SCHEDULED)], NOW)


def test_next_change_is_the_earliest_start_or_end() -> None:
    later = claim(ClaimState.SCHEDULED, starts_at=NOW + 30 * S)
    assert next_change([claim(), later], NOW) == NOW + 30 * S
    assert next_change([claim()], NOW) == NOW + 60 * S
    assert next_change([claim(ClaimState.SCHEDULED)], NOW) == NOW
    assert next_change([ENDING, claim(ClaimState.WAITING)], NOW) is None


def test_claim_ended_makes_due_and_forgets_earlier_absence() -> None:
    before = row(absent_seen=3, absent_first=NOW, closed_at=NOW, attempt=4, next_at=None)
    after = claim_ended(before, still_held=False, now=NOW)
    assert (after.desired, after.next_at, after.absent_seen, after.closed_at) == ("absent", NOW, 0, None)


# what becomes of calls

CREATING = row(op=Op("create", NOW), **OURS)
DELETING = row(op=Op("delete", NOW), **OURS)
SOFT = ("throttled", "slots_full", "conflict")
FINAL = ("not_found", "denied", "quota", "invalid", "kms")


def refused(before: Assignment, code: str) -> Assignment:
    return operations.refused(before, code, "text", stamp=STAMP, jitter=0, limits=LIMITS)


@pytest.mark.parametrize("code", SOFT)
def test_creation_refused_for_now_uses_up_no_attempt(code: str) -> None:
    after = refused(CREATING, code)
    assert (after.op, after.attempt) == (None, 0)
    assert after.next_at is not None
    assert after.next_at > NOW


@pytest.mark.parametrize("code", FINAL)
def test_creation_refused_for_good_is_given_up_at_the_next_look(code: str) -> None:
    after = refused(CREATING, code)
    decision = decided(after, GRANTING, found=False)
    assert {said.code for said, _ in decision.said} == {f"aws_{code}"}


@pytest.mark.parametrize("code", [*SOFT, *FINAL[1:], "transient"])
def test_deletion_refused_is_tried_again_however_often(code: str) -> None:
    after = refused(replace(DELETING, attempt=1000), code)
    assert after.next_at == NOW + LIMITS.back_off_longest
    assert decided(after, ENDING, found=True).send == "delete"


def test_deletion_of_nothing_is_read_back_at_once() -> None:
    after = refused(DELETING, "not_found")
    assert (after.observed, after.next_at) == (Observed.DELETED, NOW)


@pytest.mark.parametrize(
    ("attempt", "jitter", "seconds"), [(1, 0, 2), (1, 1, 1), (3, 0, 8), (9, 0, 20), (99, 0.5, 15)]
)
def test_back_off_doubles_to_its_longest_and_is_jittered(attempt: int, jitter: float, seconds: float) -> None:
    assert LIMITS.back_off(attempt, jitter) == seconds * S


def test_lost_call_stays_open_until_it_was_looked_for() -> None:
    after = operations.lost(CREATING, "cut off", STAMP, LIMITS)
    assert after.op == CREATING.op
    assert operations.forgotten(after, STAMP).op is None


@pytest.mark.parametrize(("before", "observed"), [(CREATING, Observed.CREATED), (DELETING, Observed.DELETED)])
def test_success_is_only_a_reason_to_look(before: Assignment, observed: Observed) -> None:
    after = operations.succeeded(before, STAMP)
    assert (after.op, after.observed, after.next_at) == (None, observed, NOW)


@pytest.mark.parametrize(
    ("before", "observed"), [(CREATING, Observed.DOUBTFUL), (DELETING, Observed.UNKNOWN)]
)
def test_failure_counts_an_attempt(before: Assignment, observed: Observed) -> None:
    after = operations.failed(before, "internal", stamp=STAMP, jitter=0, limits=LIMITS)
    assert (after.op, after.observed, after.attempt, after.last_code) == (None, observed, 1, "failed")


# the re-check

CLAIM = claim(ClaimState.SCHEDULED)
HASH = content_of(CLAIM, [CLAIM])
CHECKED = replace(CLAIM, content_hash=HASH)
ACCOUNT = doc.Account(id=CLAIM.account_id, name="a", state="ACTIVE")
SET = doc.PermissionSet(id="ps-1", arn="arn", name="s", digest="digest")
KNOWN = Known(
    instance="default", ready=True, account=ACCOUNT,
    registered_account=doc.RegisteredAccount(id=ACCOUNT.id), permission_set=SET,
    registered_set=doc.RegisteredSet(id="ps-1"), user=doc.User(id="user-ann", user_name="ann"),
    may_request=Answer(allowed=True, code="ALLOW"), witness=HASH, content=HASH,
    approval=Passed(),
)  # fmt: skip
WELL = Live(user_enabled=True, account_state="ACTIVE")


def test_recheck_of_what_still_holds_passes() -> None:
    assert isinstance(recheck(CHECKED, KNOWN, None), Passed)
    assert isinstance(recheck(CHECKED, KNOWN, WELL), Passed)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"instance": "other"}, "instance_unknown"),
        ({"witness": None}, "no_witness"),
        ({"witness": "other"}, "witness_mismatch"),
        ({"content": "other"}, "witness_mismatch"),
        ({"approval": Refused("witness_invalid", "one vote is missing")}, "witness_invalid"),
        ({"account": None}, "account_unknown"),
        ({"account": ACCOUNT.model_copy(update={"state": "SUSPENDED"})}, "account_not_active"),
        ({"registered_account": None}, "account_not_registered"),
        ({"account": ACCOUNT.model_copy(update={"management": True})}, "account_protected"),
        ({"account": ACCOUNT.model_copy(update={"delegated_administrator": True})}, "account_protected"),
        ({"permission_set": None}, "set_unknown"),
        ({"registered_set": None}, "set_not_registered"),
        ({"permission_set": SET.model_copy(update={"digest": "other"})}, "set_changed"),
        ({"permission_set": SET.model_copy(update={"session_duration": 3601 * S})}, "session_too_long"),
        ({"user": None}, "user_unknown"),
        ({"user": doc.User(id="user-ann", user_name="ann", enabled=False)}, "user_disabled"),
        ({"may_request": Answer(allowed=False, code="NO_RULE")}, "not_permitted"),
    ],
)
def test_recheck_refuses_what_does_not_hold_any_more(changes: dict[str, Any], code: str) -> None:
    verdict = recheck(CHECKED, replace(KNOWN, **changes), WELL)
    assert isinstance(verdict, Refused)
    assert verdict.code == code
    assert verdict.detail


@pytest.mark.parametrize(
    "accepted",
    [
        {
            "account": ACCOUNT.model_copy(update={"management": True}),
            "registered_account": doc.RegisteredAccount(id=ACCOUNT.id, protected_override=True),
        },
        {
            "permission_set": SET.model_copy(update={"session_duration": 12 * 3600 * S}),
            "registered_set": doc.RegisteredSet(id="ps-1", long_session_acknowledged=True),
        },
        {"permission_set": SET.model_copy(update={"session_duration": 3600 * S})},
    ],
    ids=["protected account", "long session", "session of an hour"],
)
def test_recheck_passes_what_an_administrator_has_accepted(accepted: dict[str, Any]) -> None:
    assert isinstance(recheck(CHECKED, replace(KNOWN, **accepted), WELL), Passed)


@pytest.mark.parametrize(
    ("live", "code"),
    [
        (Live(user_enabled=None, account_state="ACTIVE"), "user_unknown"),
        (Live(user_enabled=False, account_state="ACTIVE"), "user_disabled"),
        (Live(user_enabled=True, account_state=None), "account_unknown"),
        (Live(user_enabled=True, account_state="CLOSED"), "account_not_active"),
    ],
)
def test_recheck_believes_aws_more_than_the_tables(live: Live, code: str) -> None:
    verdict = recheck(CHECKED, KNOWN, live)
    assert isinstance(verdict, Refused)
    assert verdict.code == code


def test_recheck_without_the_tables_is_waited_out() -> None:
    unready = replace(KNOWN, ready=False, account=None, permission_set=None, user=None)
    assert isinstance(recheck(CHECKED, unready, None), NotYet)
    assert isinstance(recheck(CHECKED, replace(KNOWN, approval=NotYet("older here")), None), NotYet)


@pytest.mark.parametrize(
    ("witness", "said", "content", "verdict"),
    [
        (None, "h", "h", NotYet),
        ("h", "h", "h", Passed),
        ("x", "h", "h", Refused),
        ("h", "x", "h", Refused),
        ("h", "h", "x", Refused),
    ],
)
def test_witness_ticket_and_deed_must_agree(
    witness: str | None, said: str, content: str, verdict: type
) -> None:
    assert isinstance(witness_verdict(witness=witness, said=said, content=content), verdict)


def test_content_covers_every_beneficiary_and_the_window() -> None:
    two = [CLAIM, replace(CLAIM, id="grant-2", user_id="user-bob")]
    assert content_of(CLAIM, two) != HASH
    assert content_of(replace(CLAIM, ends_at=CLAIM.ends_at + S), [CLAIM]) != HASH
